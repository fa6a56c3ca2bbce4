"""Files passed over, names that an encoding lacks, devices by name, stderr with this program's lines only."""

import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.cli.conftest import PIXELS
from tests.support import builders
from tests.support.odd_files import outside
from vqcodec.cli import main
from vqcodec.cli.console import Console
from vqcodec.errors import silence_libraries


@pytest.fixture
def folder(tmp_path, photo):
    """A folder with a picture, one in a format that nobody reads here, one without a suffix, and a link to a folder."""
    path = tmp_path / "photos"
    path.mkdir()
    (path / "IMG_0001.HEIC").write_bytes(builders.box(b"ftyp", b"heic"))
    (path / "scan").write_bytes(builders.png(PIXELS))
    (path / "linked").symlink_to(tmp_path)
    return path


def test_what_a_folder_run_passes_over_is_counted_and_named(run, folder):
    (folder / "plain.png").write_bytes(builders.png(PIXELS))
    result = run("encode", "-r", folder.name, "out")
    assert result.exit_code == 0 and os.listdir("out") == ["plain.vqc"]
    assert "vqcodec: 3 files were passed over because of the suffix; -v names them\n" in result.stderr
    result = run("encode", "-r", "-v", "-f", folder.name, "out")
    for name in ("IMG_0001.HEIC", "scan", "linked"):
        assert f"photos/{name}: passed over\n" in result.stderr
    assert "vqcodec: 3 files were passed over because of the suffix\n" in result.stderr
    assert run("encode", "-r", "-q", "50", "--quiet", "-f", folder.name, "out").stderr == ""


def test_a_run_that_finds_no_picture_says_so(run, folder):
    result = run("encode", "-r", folder.name, "out")
    assert result.exit_code == 1 and result.stderr.endswith("vqcodec: no matching files found\n")
    result = run("batch", "-j", "1", "-v", folder.name, "out")
    assert result.exit_code == 0
    assert "photos/scan: passed over\n" in result.stderr
    assert result.stderr.endswith("vqcodec: photos: no picture was found\n")
    result = run("batch", "-j", "1", "--json", folder.name, "out")
    assert json.loads(result.stdout)["passed_over"] == 3


def test_streams_are_found_and_others_passed_over(run, folder):
    assert "3 files were passed over" in run("decode", "-r", folder.name, "out").stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-16"])
def test_names_that_the_encoding_lacks_are_escaped(monkeypatch, encoding):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    console = Console(verbose=1)
    console.result({}, "写真.vqc: intact")
    console.detail("写真.png: seen")
    console.fail(ValueError("wrong"), "写真.png")
    texts = []
    for stream in streams:
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(encoding).replace("写真", "\\u5199\\u771f"))
    assert texts == [
        "\\u5199\\u771f.vqc: intact\n",
        "\\u5199\\u771f.png: seen\nvqcodec: \\u5199\\u771f.png: internal error: ValueError: wrong\n",
    ]


def test_names_of_other_scripts_end_no_run(tmp_path, tiny_weights):
    for name in ("a.png", "写真.png", "z.png"):
        (tmp_path / name).write_bytes(builders.png(PIXELS))
    runner = CliRunner(charset="ascii")
    model = ["--model-path", str(tiny_weights)]
    sources = [str(tmp_path / name) for name in ("a.png", "写真.png", "z.png")]
    assert runner.invoke(main.main, ["encode", *model, *sources, str(tmp_path / "out")]).exit_code == 0
    streams = [str(tmp_path / "out" / name) for name in ("a.vqc", "写真.vqc", "z.vqc")]
    for command in ("verify", "info"):
        result = runner.invoke(main.main, [command, *model, *streams])
        assert result.exit_code == 0, result.output
        assert result.stdout.count("\\u5199\\u771f.vqc") == 1 and "z.vqc" in result.stdout


def test_devices_are_named_as_outputs(run, photo, tmp_path):
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file:
        assert run("encode", photo, f"/dev/fd/{writer}").exit_code == 0
        os.close(writer)
        stream = file.read()
    Path("out.vqc").write_bytes(stream)
    log = tmp_path / "log"
    log.write_bytes(b"header\n")
    with log.open("ab") as file:
        assert run("decode", "--format", "ppm", "out.vqc", f"/dev/fd/{file.fileno()}").exit_code == 0
    assert log.read_bytes() == b"header\nP6\n8 6\n255\n" + PIXELS.tobytes()


@pytest.mark.slow
def test_nothing_but_our_own_lines_is_on_stderr(tmp_path, tiny_weights):
    """Pillow would warn of the value outside of the data, and libtiff would write of the strip that is cut."""
    (tmp_path / "odd.jpg").write_bytes(builders.jpeg(builders.quarters(16), outside()))
    whole = builders.saved(np.random.default_rng(0).integers(0, 9, (64, 64), np.uint8), "TIFF", compression="tiff_lzw")
    tags = builders.about(np.zeros((64, 64)), t259=5)
    (tmp_path / "cut.tif").write_bytes(builders.tiff(builders.Page(tags, [whole[8:300]])))
    command = [sys.executable, "-m", "vqcodec", "encode", "--quiet", "--model-path", str(tiny_weights)]
    done = subprocess.run(
        [*command, "odd.jpg", "cut.tif", "out"],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.splitlines() == [
        b"vqcodec: cut.tif: unreadable picture: decoder error -2",
        b"vqcodec: 1 of 2 failed: cut.tif",
    ]


def test_libraries_are_silenced_but_not_for_developers(monkeypatch, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        silence_libraries()
        warnings.warn("quiet", stacklevel=1)
        warnings.simplefilter("always")
        monkeypatch.setattr(sys, "warnoptions", ["default"])
        silence_libraries()
        with pytest.warns(UserWarning, match="shown"):
            warnings.warn("shown", stacklevel=1)
    assert "quiet" not in capsys.readouterr().err


def test_a_lost_thing_is_told_once_for_each_file(run, tmp_path):
    Image.new("RGBA", (4, 4), (9, 9, 9, 9)).save(tmp_path / "clear.png")
    (tmp_path / "deep.png").write_bytes(builders.png(PIXELS.astype("u2") * 257, depth=16))
    result = run("encode", "clear.png", "deep.png", "out")
    assert result.stderr.count("warning:") == 1
    assert "vqcodec: deep.png: warning: 16 bits per sample are reduced to 8\n" in result.stderr
