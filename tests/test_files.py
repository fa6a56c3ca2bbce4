"""Atomic writes and picture formats."""

import io
import os
import stat
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

import vqcodec
from vqcodec import files, metrics
from vqcodec.errors import (
    MissingFile,
    OutputExists,
    UnknownFormat,
    UnreadableFile,
    UnwritableFile,
    VqcError,
    VqcWarning,
)
from vqcodec.images import formats


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "out.vqc"
    for data in (b"first", b"second", b""):
        files.write_atomically(path, data)
        assert files.read_bytes(path) == data
    assert os.listdir(tmp_path) == ["out.vqc"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_mode_follows_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.write_atomically(tmp_path / "out", b"data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~umask


def test_replaced_file_keeps_its_mode(tmp_path):
    path = tmp_path / "private"
    path.write_bytes(b"data")
    path.chmod(0o600)
    files.write_atomically(path, b"more data")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_bytes() == b"more data"


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, failure):
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def fail(*args):
        raise failure

    monkeypatch.setattr(os, step, fail)
    with pytest.raises((UnwritableFile, KeyboardInterrupt)) as caught:
        files.write_atomically(path, b"new")
    if isinstance(failure, OSError):
        assert str(caught.value) == "No space left on device"
    assert os.listdir(tmp_path) == ["out"] and path.read_bytes() == b"old"


def test_long_names(tmp_path):
    files.write_atomically(tmp_path / ("n" * 255), b"data")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_link_is_kept_and_its_target_replaced(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    files.write_atomically(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"


def test_devices_are_written_in_place():
    files.write_atomically("/dev/null", b"data")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_errors_name_the_cause_only(tmp_path):
    with pytest.raises(MissingFile, match="^No such file or directory$") as caught:
        files.read_bytes(tmp_path / "absent")
    assert isinstance(caught.value, FileNotFoundError) and isinstance(caught.value, VqcError)
    with pytest.raises(UnreadableFile, match="^Is a directory$"):
        files.read_bytes(tmp_path)
    with pytest.raises(UnwritableFile, match="^No such file or directory$"):
        files.write_atomically(tmp_path / "absent" / "out", b"")
    with pytest.raises(UnwritableFile, match="^Is a directory$"):
        files.write_atomically(tmp_path, b"")
    with pytest.raises(UnwritableFile, match="null"):
        files.write_atomically("a\0b", b"")
    with pytest.raises(MissingFile), files.atomic_file(tmp_path / "out"):
        files.read_bytes(tmp_path / "absent")  # an input's error, not an output's


def test_pictures(tmp_path):
    image = Image.new("RGB", (3, 2), "teal")
    for format in ("PNG", "WEBP", "TIFF", "PPM", "BMP"):
        formats.save_image_atomically(image, tmp_path / "out", format)
        with Image.open(tmp_path / "out") as back:
            assert back.format == format and back.convert("RGB").tobytes() == image.tobytes()


def test_formats_by_suffix_and_by_name():
    names = {
        ".png": "PNG",
        "jpg": "JPEG",
        "JPEG": "JPEG",
        ".TIF": "TIFF",
        "tiff": "TIFF",
        "ppm": "PPM",
        "webp": "WEBP",
    }
    assert {name: formats.picture_format(name) for name in names} == names
    with pytest.raises(UnknownFormat, match="no suffix names a picture format"):
        formats.picture_format("")
    for name in ("xyz", ".vqc", "svg", "ico", ".icns"):
        with pytest.raises(UnknownFormat, match=f"no picture format is called '{name.removeprefix('.')}'"):
            formats.picture_format(name)


def test_usual_suffix_of_each_format():
    suffixes = {name: formats.suffix_for(name) for name in ("jpeg", ".JPG", "jpeg2000", "tiff", "png")}
    assert suffixes == {"jpeg": ".jpeg", ".JPG": ".jpg", "jpeg2000": ".jp2", "tiff": ".tiff", "png": ".png"}


def test_picture_that_the_format_cannot_hold(tmp_path):
    with pytest.raises(UnwritableFile, match="cannot write JPEG"):
        formats.save_image_atomically(Image.new("RGB", (70_000, 1)), tmp_path / "out.jpg", "JPEG")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("format", ["JPEG", "MPO", "AVIF", "PDF"])
def test_lossy_formats_add_little_loss(format, photo):
    """Pillow's default settings would lose several times as much; a PDF contains a JPEG."""
    data = formats.image_bytes(photo, format)
    if format == "PDF":
        data = data[data.index(b"\xff\xd8") :]
    with Image.open(io.BytesIO(data)) as back:
        assert metrics.psnr(np.asarray(photo), np.asarray(back)) > 43


def test_gif_warns_of_lost_colours():
    with pytest.warns(VqcWarning, match="256 colours"):
        formats.image_bytes(Image.new("RGB", (4, 4)), "GIF")
    with warnings.catch_warnings():
        warnings.simplefilter("error", VqcWarning)
        formats.image_bytes(Image.new("L", (4, 4)), "GIF")


def test_jpeg_keeps_colour_at_full_resolution():
    image = Image.linear_gradient("L").convert("RGB")
    with Image.open(io.BytesIO(formats.image_bytes(image, "JPEG"))) as back:
        assert back.layer[0][1:3] == (1, 1)  # no chroma subsampling


def test_descriptors_are_written_in_place(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"header\n")
    inode = log.stat().st_ino
    with log.open("ab") as file:
        name = f"/dev/fd/{file.fileno()}"
        assert files.is_in_place(name)
        files.write_atomically(name, b"data")
        (tmp_path / "link").symlink_to(name)
        files.write_atomically(tmp_path / "link", b" more")
        files.write_atomically(f"/proc/self/fd/{file.fileno()}", b" data")
    assert log.read_bytes() == b"header\ndata more data" and log.stat().st_ino == inode
    assert sorted(os.listdir(tmp_path)) == ["link", "log"]


def test_pipes_are_written_by_the_name_of_their_descriptor():
    reader, writer = os.pipe()
    try:
        files.write_atomically(f"/dev/fd/{writer}", b"data")
        assert os.read(reader, 10) == b"data"
    finally:
        os.close(reader)
        os.close(writer)
    with pytest.raises(UnwritableFile, match="Bad file descriptor"):
        files.write_atomically(f"/dev/fd/{writer}", b"data")


def test_standard_output_by_its_name(tmp_path):
    write = "from vqcodec.files import write_atomically; write_atomically('/dev/stdout', b'stream')"
    command = [sys.executable, "-c", write]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"stream"
    log = tmp_path / "log"
    log.write_bytes(b"header\n")
    with log.open("ab") as file:
        subprocess.run(command, stdout=file, check=True)
    assert log.read_bytes() == b"header\nstream"


def test_a_descriptor_of_another_process_is_not_cut(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"header\n")
    with log.open("ab") as file:
        holder = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=file)
        try:
            files.write_atomically(f"/proc/{holder.pid}/fd/1", b"data")
        finally:
            holder.communicate(b"\n")
    assert log.read_bytes() == b"header\ndata"


def test_ordinary_names_are_not_written_in_place(tmp_path):
    (tmp_path / "7").write_bytes(b"")
    (tmp_path / "link").symlink_to("7")
    (tmp_path / "circle").symlink_to("circle")
    assert not any(files.is_in_place(tmp_path / name) for name in ("7", "link", "circle", "absent"))
    assert files.is_in_place("/dev/null")


@pytest.mark.parametrize("start", [0, 3, 10])
def test_files_are_read_from_their_position_or_again(start):
    file = io.BytesIO(b"0123456789")
    file.seek(start)
    rest = files.from_position(file)
    assert rest.tell() == 0 and rest.read() == b"0123456789"[start % 10 :]


@pytest.mark.parametrize("convert", [vqcodec.encode_file, vqcodec.decode_file])
def test_a_file_is_not_its_own_output(tmp_path, convert):
    path, link = tmp_path / "same.png", tmp_path / "link.png"
    path.write_bytes(b"the only copy")
    link.symlink_to(path)
    for target in (path, link):
        with pytest.raises(OutputExists, match="output is the same file as the source"):
            convert(path, target)
    assert path.read_bytes() == b"the only copy"
