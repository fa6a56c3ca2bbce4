"""The guide runs from top to bottom; what the pages name exists; the API reference has every public name."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image

from benchmarks.cli import main as benchmarks
from tests.test_layout import LEVEL, MODULES, unit
from vqcodec.cli import main
from vqcodec.cli.train import group as training
from vqcodec.weights import registry

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "GUIDE.md"
FEATURES = ROOT / "docs" / "FEATURES.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


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
            (path,) = (ROOT / "tests").rglob(f"{module}.py")
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert test in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, f"{module}.{test}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_paths_of_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), f"no {target}"
    for path in re.findall(r"`((?:vqcodec|tests|benchmarks|docs|bin)/[\w./*-]+)", text):
        placeholder = {"ID", "MODULE"} & set(re.split(r"\W", path))
        assert placeholder or any(ROOT.glob(path)), f"no {path}"


def test_the_architecture_describes_every_part_of_the_package():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)(?:/|\.py)` \|", text, re.MULTILINE))
    assert rows == {unit(module) for module in MODULES} - {"vqcodec", "__main__"}
    for path in re.findall(r"`(\w+/\w+\.py)`", text):
        assert (ROOT / "vqcodec" / path).exists() or (ROOT / path).exists(), f"no {path}"
    tiers = text[text.index("## Who imports whom") :].split("```")[1].replace("(the public names)", "").splitlines()
    drawn = {name: level for level, line in enumerate(filter(None, tiers)) for name in line.split()}
    assert drawn == LEVEL


def test_the_api_reference_has_every_public_name(tmp_path):
    launcher = (ROOT / "bin" / "docs").read_text(encoding="utf-8")
    modules = re.findall(r"vqcodec\S*", launcher.splitlines()[-1])
    command = [
        sys.executable,
        "-P",
        "-m",
        "pdoc",
        "--docformat",
        "google",
        "--output-directory",
        str(tmp_path),
        *modules,
    ]
    subprocess.run(command, check=True, capture_output=True)
    for module in modules:
        page = tmp_path.joinpath(*module.split(".")).with_suffix(".html").read_text(encoding="utf-8")
        for name in getattr(importlib.import_module(module), "__all__", ()):
            section = page.split(f'<section id="{name}">', 1)[1].split("</section>", 1)[0]
            assert '<div class="docstring">' in section, f"{module}.{name} has no docstring"
    assert 'id="Codec.encode_batch"' in (tmp_path / "vqcodec.html").read_text(encoding="utf-8")
