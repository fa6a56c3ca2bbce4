"""``vqcodec sample``, with a tiny model."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vqcodec import Codec
from vqcodec.cli import main
from vqcodec.model.classifier import Classifier
from vqcodec.weights.classifier import write_classifier


@pytest.fixture
def run(tmp_path, monkeypatch, plain_weights):
    """Return a function that runs ``vqcodec sample`` in an empty folder; pictures have 32x32 pixels by default."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, size=("--size", "32x32"), model=("--model-path", str(plain_weights))):
        return CliRunner().invoke(main.main, ["sample", *arguments, *size, *model], prog_name="vqcodec")

    return invoke


def test_folder_of_pictures(run):
    result = run("out", "-n", "3", "--json", "--seed", "5")
    assert result.exit_code == 0
    assert sorted(os.listdir("out")) == ["0000.png", "0001.png", "0002.png"]
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["output"] for record in records] == [os.path.join("out", f"000{i}.png") for i in range(3)]
    with Image.open("out/0000.png") as first, Image.open("out/0001.png") as second:
        assert first.size == (32, 32) and first.tobytes() != second.tobytes()


def test_sheet_has_the_same_pictures(run):
    assert run("out", "-n", "2").exit_code == run("sheet.png", "-n", "2").exit_code == 0
    with Image.open("sheet.png") as sheet, Image.open("out/0001.png") as second:
        assert sheet.size == (66, 32)
        assert np.array_equal(np.asarray(sheet)[:, 34:], np.asarray(second))


def test_nothing_is_overwritten(run):
    Path("sheet.png").write_bytes(b"precious")
    result = run("sheet.png", "-n", "1")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: sheet.png: already exists; use -f to overwrite it\n")
    assert Path("sheet.png").read_bytes() == b"precious"
    assert run("sheet.png", "-n", "1", "-f").exit_code == 0


def test_from_a_stream(run, plain_weights):
    codec = Codec(model_path=plain_weights, device="cpu")
    Path("photo.vqc").write_bytes(codec.encode(Image.effect_noise((40, 24), 50), 30, lossless=False))
    assert run("sheet.png", "-n", "2", "--from", "photo.vqc", size=()).exit_code == 0
    with Image.open("sheet.png") as sheet:
        assert sheet.size == (82, 24)
    assert run("other.png", "--from", "photo.vqc").exit_code == 2
    assert run("other.png", "--from", "photo.vqc", "-q", "50", size=()).exit_code == 2
    result = run("other.png", "--from", "none.vqc", size=())
    assert (result.exit_code, result.stderr) == (1, "vqcodec: none.vqc: No such file or directory\n")


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["--class", "cat"], 1, "knows no class 'cat': it was trained without classes"),
        (["--keep", "0.5", "--classifier", "none.safetensors"], 1, "none.safetensors: No such file or directory"),
        (["--keep", "0.5", "--classifier", "no.such:thing"], 1, "no.such:thing: cannot import it"),
        (["--keep", "0.5", "--classifier", "os:sep"], 1, "must name a torch module"),
        (["--keep", "0"], 2, "--keep"),
        (["--temperature", "-1"], 2, "--temperature"),
        (["--temperature", "nan"], 1, "temperature must be from 0"),
        (["--size", "0x4"], 2, "--size"),
        (["--size", "20000x20000"], 1, "400000000 pixels"),
    ],
    ids=str,
)
def test_errors_are_one_line(run, arguments, code, message):
    result = run("sheet.png", "-n", "1", *arguments, size=("--size", "16x16") if "--size" not in arguments else ())
    assert result.exit_code == code and message in result.stderr and os.listdir() == []
    if code == 1:
        assert result.stderr.count("\n") == 1 and result.stderr.startswith("vqcodec: ")


def test_unknown_picture_format_is_a_usage_error(run):
    assert run("sheet.xyz", "-n", "1").exit_code == 2


def test_keep_uses_the_classifier_beside_the_weights(run, plain_weights):
    write_classifier(plain_weights.with_suffix(".classifier.safetensors"), Classifier(("a", "b")).eval(), {})
    assert run("kept", "-n", "2", "--keep", "0.5").exit_code == 0
    assert len(os.listdir("kept")) == 2


def test_keep_takes_a_module_by_its_import_path(run, monkeypatch):
    Path("own.py").write_text(
        "import torch\nclass Bright(torch.nn.Module):\n    def forward(self, x):\n"
        "        m = x.mean((1, 2, 3))\n        return torch.stack([m, -m], 1)\n"
    )
    monkeypatch.syspath_prepend(os.getcwd())
    assert (
        run("every", "-n", "4").exit_code
        == run("kept", "-n", "1", "--keep", "0.25", "--classifier", "own:Bright").exit_code
    )
    every = [Path(f"every/000{i}.png").read_bytes() for i in range(4)]
    assert Path("kept/0000.png").read_bytes() in every
