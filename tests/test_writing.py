"""Outputs stay intact when a program is killed, a disk is full or a folder cannot be written to."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vqcodec
from tests.support.fake_codec import FakeCodec
from vqcodec import files
from vqcodec.cli import main
from vqcodec.errors import UnwritableFile

NURSERY = """
import hashlib, json, os, random, signal, sys, time
from pathlib import Path
from vqcodec.files import write_atomically
assert "torch" not in sys.modules
target = Path(sys.argv[1])

def content(number):
    body = number.to_bytes(4, "little") * 300_000
    return hashlib.sha256(body).digest() + body

write_atomically(target, content(0))
found, interrupted = [], 0
for trial in range(50):
    first = found[-1] + 1 if found else 1
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        os.write(tell, b"!")
        number = first
        while True:
            write_atomically(target, content(number))
            number += 1
    os.read(ready, 1)
    time.sleep(random.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready), os.close(tell)
    data = target.read_bytes()
    number = int.from_bytes(data[32:36], "little")
    assert data == content(number), f"trial {trial}: {len(data)} bytes"
    assert number >= first - 1
    found.append(number)
print(json.dumps({"found": found, "left": sorted(set(os.listdir(target.parent)) - {target.name})}))
"""
"""Write one version after the other; fifty such processes are killed at random moments."""


def test_killed_writers_leave_the_old_file_or_the_new_one(tmp_path):
    done = subprocess.run([sys.executable, "-c", NURSERY, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["found"]) == 50
    assert told["left"], "no writer was killed in the middle of its work"
    assert all(name.startswith(".vqcodec-") and name.endswith(".tmp") for name in told["left"])
    files.write_atomically(tmp_path / "out", b"next")  # leftovers do not disturb the next writer
    assert files.read_bytes(tmp_path / "out") == b"next"


@pytest.mark.parametrize("patience", [0.0, 0.05])
def test_a_killed_program_leaves_the_old_file_or_the_new_one(tiny_codec, tiny_weights, tmp_path, patience):
    """Kill the real command line when its temporary file exists, or a moment later."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    (tmp_path / "a.vqc").write_bytes(tiny_codec.encode(pixels, 50))
    target = tmp_path / "out.bmp"
    target.write_bytes(b"old")
    command = [sys.executable, "-m", "vqcodec", "decode", "-f", "--model-path", str(tiny_weights)]
    program = subprocess.Popen([*command, str(tmp_path / "a.vqc"), str(target)], stderr=subprocess.DEVNULL)
    while program.poll() is None and not list(tmp_path.glob(".vqcodec-*.tmp")):
        time.sleep(0.0005)
    time.sleep(patience)
    program.send_signal(signal.SIGKILL)
    program.wait()
    if target.read_bytes() != b"old":
        with Image.open(target) as image:
            assert image.convert("RGB").tobytes() == tiny_codec.decode(tmp_path / "a.vqc").tobytes()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Encode an existing picture with a fake codec; return click's result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(vqcodec), "Codec", FakeCodec)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)).save("photo.png")
    return lambda target: CliRunner().invoke(main.main, ["encode", "-f", "photo.png", target], prog_name="vqcodec")


def test_a_file_that_does_not_fit(run):
    """As on a full disk, the system accepts a part of the data and refuses the rest."""
    Path("out.vqc").write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        result = run("out.vqc")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (result.exit_code, result.stderr) == (1, f"vqcodec: out.vqc: {os.strerror(errno.EFBIG)}\n")
    assert sorted(os.listdir()) == ["out.vqc", "photo.png"] and Path("out.vqc").read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_device():
    with pytest.raises(UnwritableFile, match=os.strerror(errno.ENOSPC)):
        files.write_atomically("/dev/full", b"data")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_folders_that_take_no_files(run, monkeypatch, code):
    opened = os.open

    def refuse(path, flags, *rest, **options):
        if flags & os.O_CREAT and "vqcodec-" in os.fspath(path):
            raise OSError(code, os.strerror(code), path)
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    result = run("out.vqc")
    assert (result.exit_code, result.stderr) == (1, f"vqcodec: out.vqc: {os.strerror(code)}\n")
    assert os.listdir() == ["photo.png"]


def test_a_path_below_a_file(run):
    result = run("photo.png/out.vqc")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("vqcodec: photo.png/out.vqc: ") and os.listdir() == ["photo.png"]


def test_names_are_synced_after_the_data(tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def note(descriptor):
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")) if os.path.exists("/proc") else "")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    files.write_atomically(tmp_path / "out", b"data")
    assert len(synced) == 2
    if all(synced):
        assert synced[0].startswith(".vqcodec-") and synced[1] == tmp_path.name


def test_folders_that_cannot_be_synced_do_not_matter(tmp_path, monkeypatch):
    opened = os.open

    def refuse(path, flags, *rest, **options):
        if not flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    files.write_atomically(tmp_path / "out", b"data")
    monkeypatch.undo()
    assert files.read_bytes(tmp_path / "out") == b"data"
