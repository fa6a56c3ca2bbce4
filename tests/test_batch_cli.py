"""``vqcodec batch`` on this machine, with a tiny model; tests of Ray are in test_distributed.py."""

import json
import os
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

import vqcodec
from tests.cli.conftest import Terminal
from vqcodec.batch.failures import FILE_NAME
from vqcodec.cli import main
from vqcodec.cli.console import Console


@pytest.fixture
def run(tmp_path, tiny_weights, monkeypatch):
    """Run ``vqcodec batch`` in a folder with two pictures and a damaged one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        Image.new("RGB", (40, 30), "teal").save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "bad.png").write_bytes(b"no picture")
    return lambda *arguments: CliRunner().invoke(
        main.main, ["batch", "-j", "1", "--model-path", str(tiny_weights), *arguments], prog_name="vqcodec"
    )


def test_a_target_that_cannot_be_written(run):
    os.makedirs(f"there/{FILE_NAME}")
    for target, why in (("there", "Is a directory"), ("photos/a.png/x", "Not a directory")):
        result = run("photos", target)
        assert (result.exit_code, result.stderr) == (1, f"vqcodec: {target}: {why}\n")


@pytest.mark.parametrize("option", ["--lossless", "--lossy"])
def test_exact_or_not_by_hand(run, option):
    assert run(option, "--quiet", "photos", "streams").exit_code == 1  # one picture is damaged
    assert vqcodec.info("streams/a.vqc").exact == vqcodec.info("streams/sub/b.vqc").exact == (option == "--lossless")


def test_failures_are_recorded_and_tried_again(run, tiny_codec, tmp_path):
    result = run("-q", "70", "photos", "streams")
    assert result.exit_code == 1
    assert result.stderr.startswith("vqcodec: photos/bad.png: ")
    data = (tmp_path / "streams" / "sub" / "b.vqc").read_bytes()
    assert data == tiny_codec.encode(tmp_path / "photos" / "sub" / "b.png", 70)
    bpp = 8 * len(data) / (40 * 30)
    assert result.stdout == f"2 encoded, {2 * len(data)} bytes, {bpp:.3f} bpp; 0 skipped; 1 failed\n"
    (line,) = (tmp_path / "streams" / FILE_NAME).read_text().splitlines()
    assert json.loads(line) == {
        "source": "photos/bad.png",
        "output": "streams/bad.vqc",
        "error": "InvalidImage",
        "message": "not a picture in a format that Pillow can read",
    }

    Image.new("RGB", (40, 30)).save(tmp_path / "photos" / "bad.png")
    result = run("--json", "photos", "streams")
    assert (result.exit_code, result.stderr) == (0, "")
    (record,) = map(json.loads, result.stdout.splitlines())
    assert {key: record[key] for key in ("source", "target", "quality", "encoded", "skipped", "failed", "pixels")} == {
        "source": "photos",
        "target": "streams",
        "quality": 50,
        "encoded": 1,
        "skipped": 2,
        "failed": 0,
        "pixels": 40 * 30,
    }
    assert record["bpp"] == 8 * record["bytes"] / (40 * 30)
    assert (tmp_path / "streams" / FILE_NAME).read_bytes() == b""


def test_options_that_need_ray(run):
    for arguments in (
        ("--format", "parquet", "photos", "table"),
        ("--address", "auto", "photos", "streams"),
        ("s3://bucket/photos", "streams"),
        ("photos", "gs://bucket/streams"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2 and "need --engine ray" in result.stderr
    assert os.listdir() == ["photos"]


def test_missing_folder(run):
    result = run("absent", "streams")
    assert (result.exit_code, os.listdir()) == (1, ["photos"])
    assert result.stderr == "vqcodec: absent: No such file or directory\n"


def test_bar_of_unknown_length(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Console().progress(None) as bar:
        assert bar is not None
        for _ in range(3):
            bar.advance()
    drawn = sys.stderr.getvalue()
    assert "images/s" in drawn and "3" in drawn and "3/" not in drawn and "%" not in drawn
