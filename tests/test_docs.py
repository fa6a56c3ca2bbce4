"""The guide's blocks run from top to bottom; the tests that the feature table names exist."""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image

from benchmarks.cli import main as benchmarks
from vqcodec.cli import main
from vqcodec.cli.train import group as training
from vqcodec.weights import registry

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "GUIDE.md"
FEATURES = ROOT / "docs" / "FEATURES.md"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line that it begins in."""

    language: str
    text: str
    line: int


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(match[1], match[2], text[: match.start()].count("\n") + 2)


def run_line(line: str) -> None:
    """Run a line of a shell block in this process; only parse what takes hours or needs a cluster."""
    program, *arguments = shlex.split(line)
    if program == "pip":
        return  # the tests run in what it installs
    if [program, *arguments[:2]] == ["python", "-m", "benchmarks"]:
        parse(benchmarks, arguments[2:])
    elif "ray" in arguments:
        parse(main.main, arguments)  # tests/test_distributed.py runs it
    elif arguments[0] == "train":
        parse(training, arguments[1:])
    else:
        assert program == "vqcodec"
        result = CliRunner().invoke(main.main, arguments, prog_name="vqcodec")
        assert result.exit_code == 0, f"{line}: {result.output}"


def parse(group: click.Group, arguments: list[str]) -> None:
    """Parse the arguments of a command; raise if they are wrong."""
    context = group.make_context("program", list(arguments), resilient_parsing=False)
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)


def prepare(folder: Path) -> None:
    """Create small versions of the files that the guide uses."""
    photo = Image.fromarray(skimage.data.chelsea()[:256, :384])
    logo = photo.crop((0, 0, 64, 48))
    logo.putalpha(Image.linear_gradient("L").resize(logo.size))
    (folder / "photos" / "more").mkdir(parents=True)
    for name in ("photo.png", "photos/a.png", "photos/more/b.jpg"):
        photo.save(folder / name)
    logo.save(folder / "logo.png")


@pytest.mark.slow
@pytest.mark.skipif("vqc-1" not in registry.model_ids(), reason="the guide needs the shipped model")
def test_the_guide_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(GUIDE):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, GUIDE, "exec"), names)
        else:
            assert block.language == "sh", f"line {block.line}: no way to run {block.language!r}"
            for line in block.text.splitlines():
                run_line(line)


def test_every_row_of_the_feature_table_names_tests_that_exist():
    rows = [line for line in FEATURES.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`((?:\w+/)*test_\w+)\.(test_\w+)`", row)
        assert named or row.split("|")[2].strip() == "no", f"no test in: {row}"
        for module, test in named:
            tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text(encoding="utf-8"))
            assert test in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, f"{module}.{test}"
