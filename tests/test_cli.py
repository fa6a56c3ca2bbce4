"""The command line with a stand-in for the codec: arguments, outputs, messages, exit codes."""

import dataclasses
import errno
import importlib.metadata
import io
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vqcodec
from tests.support.fake_codec import FakeCodec
from vqcodec import defaults, files
from vqcodec.batch import tasks
from vqcodec.cli import console, main
from vqcodec.cli.console import Console
from vqcodec.codec.results import Reached
from vqcodec.errors import DeviceUnavailable, UnwritableFile
from vqcodec.images.reading import ReadOptions
from vqcodec.stream import container

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call the program inside an empty folder; gives click's result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(vqcodec), "Codec", FakeCodec)
    monkeypatch.setattr(FakeCodec, "loads", 0)
    monkeypatch.setattr(FakeCodec, "calls", [])
    return lambda *arguments, **options: CliRunner().invoke(main.main, arguments, prog_name="vqcodec", **options)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    return "photo.png"


def pixels_of(path) -> np.ndarray:
    with Image.open(path) as reading:
        return np.asarray(reading)


# Encode and decode


def test_there_and_back(run, photo):
    result = run("encode", photo, "photo.vqc")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("photo.vqc: ")
    assert run("decode", "photo.vqc", "back.png").exit_code == 0
    np.testing.assert_array_equal(pixels_of("back.png"), PIXELS)
    assert sorted(os.listdir()) == ["back.png", "photo.png", "photo.vqc"]


def test_options_reach_the_codec(run, photo):
    run("encode", photo, "a.vqc")
    run(
        "encode",
        "-q",
        "12.5",
        "--effort",
        "3",
        "--max-pixels",
        "0",
        "--device",
        "cuda:1",
        "--strip",
        "--auto-orient",
        photo,
        "b.vqc",
    )
    keep = ("--metadata", "icc,xmp", "--alpha", "blend", "--background", "#123", "--strict")
    run("encode", *keep, photo, "c.vqc")
    most = {"quality": 50.0, "effort": 1, "max_pixels": defaults.MAX_PIXELS, "device": "auto"}
    assert FakeCodec.calls == [
        {**most, "options": ReadOptions()},
        {
            "quality": 12.5,
            "effort": 3,
            "max_pixels": 0,
            "device": "cuda:1",
            "options": ReadOptions(metadata=frozenset(), auto_orient=True),
        },
        {**most, "options": ReadOptions("blend", "#123", frozenset({"icc", "xmp"}), strict=True)},
    ]


def test_folders_become_mirrored_trees(run, photo):
    Path("in/deep").mkdir(parents=True)
    for name in ("in/a.png", "in/deep/b.PNG", "in/notes.txt"):
        Path(name).write_bytes(Path(photo).read_bytes())
    assert run("encode", "-r", "in", photo, "out").exit_code == 0
    assert run("decode", "-r", "--format", "bmp", "out", "back").exit_code == 0
    assert sorted(str(p) for p in Path().glob("[ob]*/**/*.*")) == [
        "back/a.bmp",
        "back/deep/b.bmp",
        "back/photo.bmp",
        "out/a.vqc",
        "out/deep/b.vqc",
        "out/photo.vqc",
    ]
    result = run("encode", "in", "new/")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: in: Is a directory; use -r to process its files\n")
    Path("empty").mkdir()
    assert run("encode", "-r", "empty", "new").stderr == "vqcodec: no files found in the source folders\n"


def test_existing_outputs_can_be_skipped(run, photo):
    Path("out.vqc").write_bytes(b"precious")
    result = run("encode", "--skip-existing", photo, "out.vqc")
    assert (result.exit_code, result.output) == (0, "") and FakeCodec.loads == 0
    assert json.loads(run("encode", "--skip-existing", "--json", photo, "out.vqc").stdout)["skipped"] is True
    assert Path("out.vqc").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--target-bpp", "0.5"], "quality 33.3"),
        (["--target-size", "1.5k"], "quality 33.3"),
        (["--target-psnr", "38"], "quality 33.3, 38.00 dB"),
    ],
)
def test_goals(run, photo, arguments, said):
    result = run("encode", *arguments, photo, "a.vqc")
    assert result.exit_code == 0 and said in result.stderr
    record = json.loads(run("encode", "-f", "--json", *arguments, photo, "a.vqc").stdout)
    assert record["quality"] == 33.3 and record.get("psnr") == (38 if "psnr" in arguments[0] else None)


def test_a_goal_out_of_reach(run, photo):
    result = run("encode", "--target-size", "5M", photo, "a.vqc")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: photo.png: cannot reach 5000000 bytes\n")


def test_preview_and_region(run, photo):
    run("encode", photo, "a.vqc")
    assert run("decode", "--region", "2,1,4,3", "a.vqc", "part.png").exit_code == 0
    np.testing.assert_array_equal(pixels_of("part.png"), PIXELS[1:4, 2:6])
    assert run("decode", "--preview", "a.vqc", "coarse.png").exit_code == 0
    assert pixels_of("coarse.png").shape == PIXELS.shape
    result = run("decode", "--region", "5,0,4,1", "a.vqc", "beyond.png")
    assert result.stderr == "vqcodec: a.vqc: region 5,0,4,1 does not fit into the 8x6 picture\n"


@pytest.mark.parametrize("how", [[], ["--preview"], ["--region", "0,0,30,20"]])
def test_partial_decoding_says_what_is_missing(tiny_codec, tiny_weights, tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    data = tiny_codec.encode(np.tile(PIXELS, (5, 6, 1)))
    Path("short.vqc").write_bytes(data[:-1])
    command = ["decode", *how, "--model-path", str(tiny_weights), "short.vqc", "a.png"]
    result = CliRunner().invoke(main.main, command, prog_name="vqcodec")
    assert result.exit_code == 1 and result.stderr.startswith("vqcodec: short.vqc: truncated: section 'bottom' needs")
    result = CliRunner().invoke(main.main, [*command, "--allow-partial"], prog_name="vqcodec")
    assert result.exit_code == 0 and pixels_of("a.png").shape == ((20, 30, 3) if "--region" in how else (30, 48, 3))
    assert result.stderr.startswith("vqcodec: short.vqc: warning: incomplete: truncated: section 'bottom' needs")


def test_what_is_lost_is_said(run):
    Image.new("I;16", (4, 4)).save("deep.png")
    assert run("encode", "deep.png", "a.vqc").stderr.startswith(
        "vqcodec: deep.png: warning: 16 bits per sample are reduced to 8\n"
    )
    assert run("encode", "--quiet", "deep.png", "b.vqc").output == ""
    result = run("encode", "--strict", "deep.png", "c.vqc")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: deep.png: 16 bits per sample are reduced to 8\n")
    Image.new("P", (4, 4)).save("palette.png")
    assert "palette" in run("encode", "-v", "palette.png", "d.vqc").stderr
    assert "converted" not in run("encode", "palette.png", "e.vqc").stderr


def test_several_sources_go_to_a_folder_with_one_load(run, photo):
    Path("sub").mkdir()
    Image.fromarray(PIXELS[:, :, 0]).save("sub/grey.pgm")
    assert run("encode", photo, "sub/grey.pgm", "streams").exit_code == 0
    assert FakeCodec.loads == 1
    assert sorted(os.listdir("streams")) == ["grey.vqc", "photo.vqc"]
    assert run("decode", "streams/grey.vqc", "streams/photo.vqc", "back/").exit_code == 0
    assert sorted(os.listdir("back")) == ["grey.png", "photo.png"]
    np.testing.assert_array_equal(pixels_of("back/grey.png"), PIXELS[:, :, 0])


def test_one_source_into_an_existing_folder(run, photo):
    Path("folder").mkdir()
    assert run("encode", photo, "folder").exit_code == 0
    assert run("decode", "--format", "tif", "folder/photo.vqc", "folder").exit_code == 0
    assert sorted(os.listdir("folder")) == ["photo.tif", "photo.vqc"]


def test_standard_input_and_output(run, photo):
    stream = run("encode", "-", "-", input=Path(photo).read_bytes())
    assert stream.exit_code == 0 and stream.stdout_bytes.startswith(container.MAGIC)
    for arguments, format in (([], "PNG"), (["--format", "ppm"], "PPM")):
        result = run("decode", *arguments, "-", "-", input=stream.stdout_bytes)
        with Image.open(io.BytesIO(result.stdout_bytes)) as reading:
            assert reading.format == format
            np.testing.assert_array_equal(np.asarray(reading), PIXELS)


@pytest.mark.parametrize("name, format", [("b.jpg", "JPEG"), ("b.webp", "WEBP"), ("b.TIF", "TIFF"), ("b.ppm", "PPM")])
def test_format_follows_the_suffix(run, photo, name, format):
    run("encode", photo, "a.vqc")
    assert run("decode", "a.vqc", name).exit_code == 0
    with Image.open(name) as reading:
        assert reading.format == format


def test_formats_whose_name_is_no_suffix(run, photo):
    run("encode", photo, "a.vqc")
    assert run("decode", "--format", "jpeg2000", "a.vqc", ".").exit_code == 0
    with Image.open("a.jp2") as reading:
        assert reading.format == "JPEG2000"


def test_format_option_wins_over_the_suffix(run, photo):
    run("encode", photo, "a.vqc")
    assert run("decode", "--format", "png", "a.vqc", "odd.name").exit_code == 0
    np.testing.assert_array_equal(pixels_of("odd.name"), PIXELS)


def test_json(run, photo):
    result = run("encode", "--json", "-q", "60", photo, "a.vqc")
    record = json.loads(result.stdout)
    assert result.stderr == ""
    assert record.pop("seconds") >= 0
    size = os.path.getsize("a.vqc")
    assert record == {
        "source": photo,
        "output": "a.vqc",
        "width": 8,
        "height": 6,
        "quality": 60,
        "bytes": size,
        "bpp": 8 * size / 48,
    }
    record = json.loads(run("decode", "--json", "a.vqc", "b.png").stdout)
    assert (record["output"], record["width"], record["height"]) == ("b.png", 8, 6)


def test_json_tells_what_failed(run, photo):
    Path("bad.png").write_bytes(b"not a picture")
    result = run("encode", "--json", "bad.png", photo, "absent.png", "out")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(r["source"], r.get("error")) for r in records] == [
        ("bad.png", "not a picture in a format that Pillow can read"),
        (photo, None),
        ("absent.png", "No such file or directory"),
    ]
    assert json.loads(run("info", "--json", "absent.vqc").stdout)["error"] == "No such file or directory"


def test_json_has_no_infinity(run, photo, monkeypatch):
    monkeypatch.setattr(FakeCodec, "encode_to_goal", lambda *_, **__: Reached(b"", 33.3, math.inf, 4))
    monkeypatch.setattr(tasks, "_deliver_stream", lambda job, data, done: dataclasses.replace(done, width=1, height=1))
    record = run("encode", "--json", "--target-psnr", "50", photo, "a.vqc").stdout
    assert json.loads(record, parse_constant=pytest.fail)["psnr"] is None


def test_quiet(run, photo):
    assert run("encode", "--quiet", photo, "a.vqc").output == ""


# What goes wrong


def test_existing_outputs_need_force(run, photo):
    Path("out.vqc").write_bytes(b"precious")
    result = run("encode", photo, "out.vqc")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: out.vqc: exists; use -f to replace it\n")
    assert Path("out.vqc").read_bytes() == b"precious"
    assert FakeCodec.loads == 0
    assert run("encode", "-f", photo, "out.vqc").exit_code == 0
    assert Path("out.vqc").read_bytes() != b"precious"


def test_source_is_never_overwritten(run, photo):
    before = Path(photo).read_bytes()
    result = run("encode", "-f", photo, f"./{photo}")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: ./photo.png: is the source itself\n")
    assert Path(photo).read_bytes() == before


def test_two_sources_never_share_an_output(run, photo):
    Path("sub").mkdir()
    Image.fromarray(PIXELS).save("sub/photo.bmp")
    result = run("encode", "-f", photo, "sub/photo.bmp", "out")
    assert result.exit_code == 1
    assert "vqcodec: out/photo.vqc: is already the output of photo.png\n" in result.stderr
    assert os.listdir("out") == ["photo.vqc"]


def test_the_others_are_done_and_a_summary_names_the_failed(run, photo):
    Path("bad.png").write_bytes(b"not a picture")
    result = run("encode", "--quiet", "absent.png", photo, "bad.png", "out")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "vqcodec: absent.png: No such file or directory",
        "vqcodec: bad.png: not a picture in a format that Pillow can read",
        "vqcodec: 2 of 3 failed: absent.png, bad.png",
    ]
    assert os.listdir("out") == ["photo.vqc"]


def test_damaged_and_foreign_streams(run, photo):
    run("encode", photo, "whole.vqc")
    whole = Path("whole.vqc").read_bytes()
    cases = {
        "cut.vqc": (whole[:-5], "truncated: section 'top' needs 144 bytes, 139 left"),
        "flipped.vqc": (whole[:-1] + bytes([whole[-1] ^ 1]), "header or section 'top' is damaged (checksum)"),
        "photo.vqc": (Path(photo).read_bytes(), "not a vqc file"),
        "empty.vqc": (b"", "truncated: the header needs 15 bytes, 0 left"),
    }
    for name, (data, cause) in cases.items():
        Path(name).write_bytes(data)
        result = run("decode", name, "back.png")
        assert (result.exit_code, result.output) == (1, f"vqcodec: {name}: {cause}\n")
    assert not os.path.exists("back.png")


def test_names_with_control_characters_stay_in_one_line(run, photo):
    Path("two\nlines\x1b[2J ä\u3000.png").write_bytes(b"not a picture")
    result = run("encode", "two\nlines\x1b[2J ä\u3000.png", "out.vqc")
    assert result.stderr == (
        "vqcodec: two\\nlines\\x1b[2J ä\u3000.png: not a picture in a format that Pillow can read\n"
    )


def test_failed_folders_are_not_made(run):
    Path("bad.png").write_bytes(b"not a picture")
    assert run("encode", "bad.png", "out/").exit_code == 1
    assert not os.path.exists("out")


def test_output_that_cannot_be_written_is_named(run, photo):
    result = run("encode", photo, "absent/out.vqc")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: absent/out.vqc: No such file or directory\n")


def test_weights_that_cannot_be_loaded(run, photo):
    result = run("encode", "--model", "nosuch", photo, "out.vqc")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: no model is called 'nosuch'\n")
    result = run("encode", "--model-path", "absent.safetensors", photo, "out.vqc")
    assert (result.exit_code, result.stderr) == (
        1,
        "vqcodec: absent.safetensors: No such file or directory\n",
    )
    Path("other.png").write_bytes(Path(photo).read_bytes())
    result = run("encode", "--model", "nosuch", photo, "other.png", "out/")
    assert result.stderr == "vqcodec: no model is called 'nosuch'\n"
    for command in ("info", photo), ("models",):
        assert run(*command, "--model", "nosuch").stderr == "vqcodec: unknown model 'nosuch': available are vqc-1\n"
        result = run(*command, "--model-path", photo)
        assert result.exit_code == 1 and result.stderr.startswith("vqcodec: photo.png: not a weights file")
    assert not os.path.exists("out.vqc")


@pytest.mark.parametrize("width, cause", [(1, "the stream needs"), (2, "internal error: ZeroDivisionError: a bug")])
def test_tracebacks_on_request_only(run, width, cause):
    Image.new("RGB", (width, 1)).save("tiny.png")
    run("encode", "tiny.png", "tiny.vqc")
    result = run("decode", "-v", "tiny.vqc", "back.png")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"vqcodec: tiny.vqc: {cause}")
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("decode", "-vv", "tiny.vqc", "back.png").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode"],
        ["encode", "photo.png"],
        ["encode", "photo.png", "photo.png", "photo.png"],
        ["encode", "photo.png", "photo.png", "-"],
        ["encode", "-", "photo.png", "folder"],
        ["encode", "-q", "101", "photo.png", "out.vqc"],
        ["encode", "-q", "-1", "photo.png", "out.vqc"],
        ["encode", "-q", "nan", "photo.png", "out.vqc"],
        ["encode", "--target-bpp", "inf", "photo.png", "out.vqc"],
        ["encode", "--target-psnr", "nan", "photo.png", "out.vqc"],
        ["encode", "--metadata", "", "photo.png", "out.vqc"],
        ["info", "--model", "a", "--model-path", "b", "photo.vqc"],
        ["encode", "--device", "gpu", "photo.png", "out.vqc"],
        ["encode", "--model", "a", "--model-path", "b", "photo.png", "out.vqc"],
        ["encode", "--json", "photo.png", "-"],
        ["encode", "-q", "50", "--target-bpp", "1", "photo.png", "out.vqc"],
        ["encode", "--target-size", "9", "--target-psnr", "30", "photo.png", "out.vqc"],
        ["encode", "--target-size", "0", "photo.png", "out.vqc"],
        ["encode", "--target-size", "big", "photo.png", "out.vqc"],
        ["encode", "-f", "--skip-existing", "photo.png", "out.vqc"],
        ["encode", "--strip", "--metadata", "icc", "photo.png", "out.vqc"],
        ["encode", "--metadata", "iptc", "photo.png", "out.vqc"],
        ["encode", "--background", "nocolour", "photo.png", "out.vqc"],
        ["encode", "-j", "0", "photo.png", "out.vqc"],
        ["decode", "--region", "1,2,3", "photo.vqc", "out.png"],
        ["decode", "--region", "1,2,0,3", "photo.vqc", "out.png"],
        ["decode", "--region", "1,2,00,3", "photo.vqc", "out.png"],
        ["decode", "--region", "1,2,3," + 5000 * "9", "photo.vqc", "out.png"],
        ["encode", "--target-size", 400 * "9", "photo.png", "out.vqc"],
        ["encode", "--background", "rgb(999,0,0)", "photo.png", "out.vqc"],
        ["encode", "--model", "", "photo.png", "out.vqc"],
        ["info", "--model-path", "", "photo.vqc"],
        ["batch", ".", ""],
        ["batch", ".", "photo.png"],
        ["decode", "--preview", "--region", "1,2,3,4", "photo.vqc", "out.png"],
        ["completion", "nosuchshell"],
        ["verify"],
        ["decode", "photo.vqc", "out.xyz"],
        ["decode", "photo.vqc", "out"],
        ["decode", "--format", "xyz", "photo.vqc", "-"],
        ["info"],
        ["nonsense"],
    ],
)
def test_wrong_usage(run, photo, arguments):
    before = sorted(os.listdir())
    result = run(*arguments)
    assert result.exit_code == 2 and result.stderr.startswith("Usage: vqcodec ")
    assert sorted(os.listdir()) == before


def test_a_result_that_nobody_can_be_given(monkeypatch, capsys):
    def write(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys.stdout, "write", write)
    told = Console(as_json=True)
    with told.guard("a.vqc"):
        told.result({"large": True}, "")
    assert told.failed == ["a.vqc"]
    assert capsys.readouterr().err == "vqcodec: a.vqc: No space left on device\n"


def test_a_missing_device_is_said_of_no_file(capsys):
    told = Console()
    with told.guard(None), told.guard("weights.safetensors"):
        raise DeviceUnavailable("device 'cuda': none here")
    assert told.failed and capsys.readouterr().err == "vqcodec: device 'cuda': none here\n"


# Verify, completion, progress


def test_verify(run, photo):
    run("encode", photo, "good.vqc")
    Path("bad.vqc").write_bytes(Path("good.vqc").read_bytes()[:-1])
    result = run("verify", "good.vqc")
    assert (result.exit_code, result.stdout) == (0, "good.vqc: intact, 8x6\n")
    result = run("verify", "bad.vqc", "good.vqc")
    assert (result.exit_code, result.stdout) == (1, "good.vqc: intact, 8x6\n")
    assert result.stderr.splitlines() == [
        "vqcodec: bad.vqc: truncated: section 'top' needs 144 bytes, 143 left",
        "vqcodec: 1 of 2 failed: bad.vqc",
    ]
    records = [json.loads(line) for line in run("verify", "--json", "bad.vqc", "good.vqc").stdout.splitlines()]
    assert [r["intact"] for r in records] == [False, True]
    assert sorted(os.listdir()) == ["bad.vqc", "good.vqc", "photo.png"]


def test_names_cannot_speak(run, photo):
    name = "a\x1b[31m\nb.vqc: intact\udcff.vqc"
    run("encode", photo, name)
    assert run("verify", name).stdout == "a\\x1b[31m\\nb.vqc: intact\\udcff.vqc: intact, 8x6\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run, shell):
    result = run("completion", shell)
    assert result.exit_code == 0 and "_VQCODEC_COMPLETE" in result.stdout


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("total, options, drawn", [(3, {}, True), (3, {"progress": False}, False), (1, {}, False)])
def test_bar(monkeypatch, total, options, drawn):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Console(**options).progress(total) as bar:
        for _ in range(total if bar else 0):
            bar.advance()
    assert ("3/3" in sys.stderr.getvalue()) == drawn
    assert ("images/s" in sys.stderr.getvalue()) == drawn


def test_bar_of_a_single_file_that_takes_long(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(console, "_BAR_DELAY", 0.1)
    with Console().progress(1):
        time.sleep(0.8)
    assert "0/1" in sys.stderr.getvalue()


def test_no_bar_where_there_is_no_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with Console().progress(3) as bar:
        assert bar is None


def test_no_bar_where_nobody_looks(run, photo):
    assert "images/s" not in run("encode", photo, photo, "-f", "out").output


# Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupts(run, photo, monkeypatch, number):
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)  # a job in the background has another
    monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), number))
    try:
        result = run("encode", photo, photo, "-f", "a.vqc/")
        assert signal.getsignal(number) == usual
    finally:
        signal.signal(number, before)
    assert (result.exit_code, result.stdout) == (128 + number, "")
    assert result.stderr.splitlines()[-1] == "vqcodec: interrupted" and "Traceback" not in result.stderr
    assert os.listdir("a.vqc") == []


# Demo


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
    assert (result.exit_code, result.stderr) == (1, "vqcodec: demo.png: exists; use -f to replace it\n")
    assert os.listdir() == ["demo.png"] and Path("demo.png").read_bytes() == b"precious"
    text = run("demo", "-f").stdout
    assert "vqcodec: 786" in text and "JPEG: " in text and "encoded in" in text


# Info, models, train


@dataclass(frozen=True)
class Info:
    """What ``vqcodec.info`` gives."""

    version: int = 1
    model: str | None = "vqc-1"
    model_hash: str = "0011223344556677"
    width: int = 100
    height: int = 80
    layout: str = "rgb"
    quality: float = 50.2
    tile: int = 1024
    grids: tuple = ((5, 7), (10, 14))
    sections: tuple = (
        {"name": "top", "tile": 0, "bytes": 100},
        {"name": "bottom", "tile": 0, "bytes": 200},
    )
    bytes: int = 333
    bpp: float = 0.333


def test_info(run, monkeypatch):
    monkeypatch.setitem(vars(vqcodec), "info", lambda source: Info())
    text = run("info", "a.vqc").stdout
    for part in (
        "a.vqc\n",
        "100x80, rgb",
        "vqc-1 (0011223344556677)",
        "7x5, 14x10",
        "0.100 bpp",
        "333 bytes",
    ):
        assert part in text
    first, second = run("info", "--json", "a.vqc", "b.vqc").stdout.splitlines()
    assert json.loads(first)["grids"] == [[5, 7], [10, 14]]
    assert json.loads(second)["source"] == "b.vqc"


def test_info_of_an_unknown_model(run, monkeypatch):
    monkeypatch.setitem(vars(vqcodec), "info", lambda source: Info(model=None, grids=()))
    text = run("info", "a.vqc").stdout
    assert "not installed (0011223344556677)" in text and "unknown without the model" in text


def test_info_goes_on_after_a_failure(run, monkeypatch):
    def told(source):
        files.read_bytes(source)
        return Info()

    monkeypatch.setitem(vars(vqcodec), "info", told)
    Path("b.vqc").write_bytes(b"")
    result = run("info", "absent.vqc", "b.vqc")
    assert result.exit_code == 1 and result.stdout.startswith("b.vqc\n")
    assert result.stderr.splitlines() == [
        "vqcodec: absent.vqc: No such file or directory",
        "vqcodec: 1 of 2 failed: absent.vqc",
    ]


@dataclass(frozen=True)
class Model:
    """One of what ``vqcodec.models`` gives."""

    id: str = "vqc-1"
    hash: str = "0011223344556677"
    licence: str = "Apache-2.0"
    levels: tuple = ("stride 16", "stride 8")
    codebooks: tuple = ("8 of 256", "24 of 256")
    parameters: int = 12_345
    kmac_per_pixel: dict = None
    quality_range: tuple = (0, 100)


def test_models(run, monkeypatch):
    model = Model(kmac_per_pixel={"encoder": 50.04, "decoder": 35.0, "prior": 20.0})
    monkeypatch.setitem(vars(vqcodec), "models", lambda: [model])
    text = run("models").stdout
    for part in ("vqc-1\n", "Apache-2.0", "8 of 256; 24 of 256", "encoder 50.0, decoder 35.0, prior 20.0", "0 to 100"):
        assert part in text
    assert [told["id"] for told in json.loads(run("models", "--json").stdout)] == ["vqc-1"]


def test_train_passes_its_arguments_on(run, monkeypatch):
    seen = []
    module = type(sys)("vqcodec.cli.train")
    module.main = seen.append
    monkeypatch.setitem(sys.modules, "vqcodec.cli.train", module)
    monkeypatch.setattr("vqcodec.cli.train", module, raising=False)
    for arguments in (["stage1", "--lr", "1", "-h"], ["--help"], []):
        assert run("train", *arguments).exit_code == 0
        assert seen.pop() == arguments


# Start-up


def test_a_closed_standard_output_is_told():
    told = subprocess.run(["sh", "-c", '"$0" -m vqcodec models >&-', sys.executable], capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (1, "vqcodec: standard output is closed\n")


def test_demo_names_what_it_cannot_write(run, monkeypatch):
    from vqcodec.cli import demo

    def fail(*arguments):
        raise UnwritableFile("Permission denied")

    monkeypatch.setattr(demo, "run", fail)
    result = run("demo")
    assert (result.exit_code, result.stderr) == (1, f"vqcodec: {demo.STREAM}: Permission denied\n")


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["encode", "-h"], ["models", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    program = (
        "import sys\nfrom vqcodec.cli.main import main\n"
        f"main({arguments}, standalone_mode=False)\n"
        "assert not {'torch', 'PIL', 'numpy', 'skimage', 'constriction'} & set(sys.modules)"
    )
    assert python("-c", program).stdout


def test_help_is_immediate():
    """Measured in the child's own time, which other work on the machine does not change."""

    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    seconds = []
    for _ in range(5):
        start = spent()
        python("-m", "vqcodec", "--help")
        seconds.append(spent() - start)
    assert statistics.median(seconds) < 0.3


def test_module_and_command_are_one_program():
    version = importlib.metadata.version("vqcodec")
    assert python("-m", "vqcodec", "--version").stdout == f"vqcodec {version}\n"
