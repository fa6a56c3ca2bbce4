"""``vqcodec demo``, ``completion`` and ``train``."""

import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from vqcodec.errors import UnwritableFile


def test_demo(run):
    result = run("demo", "--json")
    record = json.loads(result.stdout)
    assert result.exit_code == 0 and sorted(os.listdir()) == ["demo.png", "out.vqc"]
    assert record["vqcodec"]["bytes"] == os.path.getsize("out.vqc") >= record["jpeg"]["bytes"]
    assert record["vqcodec"]["psnr"] > record["jpeg"]["psnr"] > 30
    with Image.open("demo.png") as comparison:
        assert comparison.width > 3 * 512 and comparison.height > 512


def test_demo_overwrites_nothing(run):
    Path("demo.png").write_bytes(b"precious")
    result = run("demo")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: demo.png: already exists; use -f to overwrite it\n")
    assert os.listdir() == ["demo.png"] and Path("demo.png").read_bytes() == b"precious"
    text = run("demo", "-f").stdout
    assert "vqcodec: 786" in text and "JPEG: " in text and "encoded in" in text


def test_demo_output_that_cannot_be_written(run, monkeypatch):
    from vqcodec.cli import demo

    def fail(*arguments):
        raise UnwritableFile("Permission denied")

    monkeypatch.setattr(demo, "run", fail)
    result = run("demo")
    assert (result.exit_code, result.stderr) == (1, f"vqcodec: {demo.STREAM}: Permission denied\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run, shell):
    result = run("completion", shell)
    assert result.exit_code == 0 and "_VQCODEC_COMPLETE" in result.stdout


def test_train_passes_its_arguments_on(run, monkeypatch):
    seen = []
    module = type(sys)("vqcodec.cli.train")
    module.main = seen.append
    monkeypatch.setitem(sys.modules, "vqcodec.cli.train", module)
    monkeypatch.setattr("vqcodec.cli.train", module, raising=False)
    for arguments in (["stage1", "--lr", "1", "-h"], ["--help"], []):
        assert run("train", *arguments).exit_code == 0
        assert seen.pop() == arguments
