"""Results, error messages, exit codes, the progress bar and interrupts."""

import dataclasses
import errno
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import PIXELS, Terminal
from tests.support.fake_codec import FakeCodec
from vqcodec.batch import tasks
from vqcodec.cli import console
from vqcodec.cli.console import Console
from vqcodec.codec.results import Reached
from vqcodec.errors import DeviceUnavailable


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


def test_json_reports_failures(run, photo):
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
    monkeypatch.setattr(tasks, "_write_stream", lambda job, data, done: dataclasses.replace(done, width=1, height=1))
    record = run("encode", "--json", "--target-psnr", "50", photo, "a.vqc").stdout
    assert json.loads(record, parse_constant=pytest.fail)["psnr"] is None


def test_quiet(run, photo):
    assert run("encode", "--quiet", photo, "a.vqc").output == ""


def test_existing_outputs_need_force(run, photo):
    Path("out.vqc").write_bytes(b"precious")
    result = run("encode", photo, "out.vqc")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: out.vqc: already exists; use -f to overwrite it\n")
    assert Path("out.vqc").read_bytes() == b"precious"
    assert FakeCodec.loads == 0
    assert run("encode", "-f", photo, "out.vqc").exit_code == 0
    assert Path("out.vqc").read_bytes() != b"precious"


def test_source_is_never_overwritten(run, photo):
    before = Path(photo).read_bytes()
    result = run("encode", "-f", photo, f"./{photo}")
    assert (result.exit_code, result.stderr) == (1, "vqcodec: ./photo.png: output is the same file as the source\n")
    assert Path(photo).read_bytes() == before


def test_two_sources_never_share_an_output(run, photo):
    Path("sub").mkdir()
    Image.fromarray(PIXELS).save("sub/photo.bmp")
    result = run("encode", "-f", photo, "sub/photo.bmp", "out")
    assert result.exit_code == 1
    assert "vqcodec: out/photo.vqc: already the output of photo.png\n" in result.stderr
    assert os.listdir("out") == ["photo.vqc"]


def test_other_files_continue_and_failures_are_listed(run, photo):
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


def test_result_that_cannot_be_printed(monkeypatch, capsys):
    def write(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys.stdout, "write", write)
    reported = Console(as_json=True)
    with reported.report_errors("a.vqc"):
        reported.result({"large": True}, "")
    assert reported.failed == ["a.vqc"]
    assert capsys.readouterr().err == "vqcodec: a.vqc: No space left on device\n"


def test_missing_device_names_no_file(capsys):
    reported = Console()
    with reported.report_errors(None), reported.report_errors("weights.safetensors"):
        raise DeviceUnavailable("device 'cuda': none here")
    assert reported.failed and capsys.readouterr().err == "vqcodec: device 'cuda': none here\n"


@pytest.mark.parametrize("total, options, drawn", [(3, {}, True), (3, {"progress": False}, False), (1, {}, False)])
def test_bar(monkeypatch, total, options, drawn):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Console(**options).progress(total) as bar:
        for _ in range(total if bar else 0):
            bar.advance()
    assert ("3/3" in sys.stderr.getvalue()) == drawn
    assert ("images/s" in sys.stderr.getvalue()) == drawn


def test_bar_of_a_slow_single_file(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(console, "_BAR_DELAY", 0.1)
    with Console().progress(1):
        time.sleep(0.8)
    assert "0/1" in sys.stderr.getvalue()


def test_no_bar_without_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with Console().progress(3) as bar:
        assert bar is None


def test_no_bar_without_terminal(run, photo):
    assert "images/s" not in run("encode", photo, photo, "-f", "out").output


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
