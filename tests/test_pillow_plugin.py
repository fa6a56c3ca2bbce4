"""Pillow opens, loads, drafts, verifies and saves ``.vqc`` files like its own formats."""

import copy
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

import vqcodec
from vqcodec import pillow_plugin
from vqcodec.errors import InvalidQuality, VqcWarning
from vqcodec.images import formats
from vqcodec.stream.container import MAGIC, read_stream


@pytest.fixture(autouse=True)
def registered(tiny_codec):
    """Register the plugin with the tiny model for one test."""
    vqcodec.register_pillow(tiny_codec)
    yield
    vqcodec.register_pillow()


@pytest.fixture(scope="module")
def pixels():
    y, x = np.mgrid[:96, :128]
    return np.stack([x * 2, y * 2, (x + y)], -1).astype(np.uint8)


def saved(image: Image.Image, **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, "VQC", **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_there_and_back(pixels, tiny_codec, tmp_path, mode):
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "a.vqc", quality=70)
    assert (tmp_path / "a.vqc").read_bytes() == tiny_codec.encode(image, 70)
    with Image.open(tmp_path / "a.vqc") as back:
        assert (back.format, back.mode, back.size) == ("VQC", mode, (128, 96))
        assert back.get_format_mimetype() == "image/x-vqc"
        back.load()
    np.testing.assert_array_equal(np.asarray(back), np.asarray(tiny_codec.decode(tmp_path / "a.vqc")))


def test_pickled_copies(pixels):
    """Copying and pickling, for other processes, use the same methods."""
    for loaded in (False, True):
        image = Image.open(saved(Image.fromarray(pixels)))
        if loaded:
            image.load()
        again = copy.deepcopy(image)
        assert again.size == (128, 96) and again.tobytes() == image.tobytes()
        assert again.copy().resize((8, 6)).size == (8, 6)


def test_default_quality_and_others(pixels, tiny_codec):
    image = Image.fromarray(pixels)
    assert saved(image).getvalue() == tiny_codec.encode(image, 50)
    with pytest.raises(InvalidQuality):
        saved(image, quality=101)


def test_opening_decodes_nothing_and_reads_little(pixels, monkeypatch, tiny_codec):
    large = Image.fromarray(np.tile(pixels, (4, 4, 1)))
    data = saved(large, quality=100, lossless=False, xmp=b"<x/>").getvalue()
    monkeypatch.setattr(tiny_codec, "decode", None)
    read = []

    class Counting(io.BytesIO):
        def read(self, size=-1):
            read.append(len(part := super().read(size)))
            return part

    with Image.open(Counting(data)) as image:
        assert image.size == large.size and image.info["xmp"] == b"<x/>"
    assert sum(read) < 4000 < len(data) / 2  # other plugins may have looked at the beginning first


def test_metadata_round_trip(pixels):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a camera"
    image = Image.fromarray(pixels)
    for given in (exif, exif.tobytes()):
        with Image.open(saved(image, exif=given, icc_profile=b"profile")) as back:
            assert back.getexif()[ExifTags.Base.Make] == "a camera" and back.info["icc_profile"] == b"profile"
            back.load()
    back = Image.open(saved(back, xmp=b"<x/>"))
    assert set(back.info) == {"exif", "icc_profile", "xmp"}
    assert Image.open(saved(back, exif=b"", icc_profile=None, xmp=b"")).info == {}


def test_other_modes_are_converted_or_refused(pixels):
    assert Image.open(saved(Image.fromarray(pixels).quantize(8))).mode == "RGB"
    with pytest.warns(VqcWarning, match="16 bits"):
        saved(Image.new("I;16", (16, 16)))
    with pytest.raises(OSError, match="cannot write mode F as VQC"):
        saved(Image.new("F", (16, 16)))


def test_thumbnail_takes_the_preview(pixels, tiny_codec, monkeypatch):
    file = saved(Image.fromarray(pixels))
    expected = tiny_codec.decode_preview(file.getvalue()).reduce(4)
    monkeypatch.setattr(tiny_codec, "decode", None)
    with Image.open(file) as image:
        assert image.draft(None, (32, 24)) == ("RGB", (0, 0, 32, 24)) and image.size == (32, 24)
        assert image.draft(None, (8, 6)) is None  # as in JPEG, only once
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    image = Image.open(file)
    image.thumbnail((16, 12))
    assert image.size == (16, 12)


def test_draft_that_would_not_suffice(pixels):
    with Image.open(saved(Image.fromarray(pixels))) as image:
        assert image.draft(None, (64, 48)) is None and image.draft("L", None) is None
        assert image.size == (128, 96)


def test_verify(pixels):
    data = bytearray(saved(Image.fromarray(pixels)).getvalue())
    Image.open(io.BytesIO(data)).verify()
    data[-1] ^= 1
    with pytest.raises(OSError, match="checksum"):
        Image.open(io.BytesIO(data)).verify()


def test_damaged_files(pixels):
    data = saved(Image.fromarray(pixels), xmp=b"<x/>").getvalue()
    header = len(data) - sum(len(s.payload) + 6 for s in read_stream(data).sections)
    for size in (0, 3, 10):
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(data[:size]))
    for size in (header, header + 30, len(data) - 1):
        with Image.open(io.BytesIO(data[:size])) as image, pytest.raises(OSError, match="truncated"):
            image.load()
    with pytest.raises(OSError, match="format version 9"):
        Image.open(io.BytesIO(MAGIC + b"\x09" + data[5:]))


def test_a_damaged_alpha_plane_is_left_out_if_pillow_may(pixels, monkeypatch):
    alpha = Image.fromarray(pixels[:, :, 0])
    image = Image.fromarray(pixels)
    image.putalpha(alpha)
    data = bytearray(saved(image).getvalue())
    data[-1] ^= 1
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(data)) as opened, pytest.warns(VqcWarning, match="alpha"):
        opened.load()
        assert opened.mode == opened.im.mode == opened.copy().mode == "RGB"


def test_pillows_limit_on_pixels(pixels, monkeypatch):
    file = saved(Image.fromarray(pixels))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 128 // 2 - 1)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 128 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(file)


def test_unknown_model(pixels):
    file = saved(Image.fromarray(pixels), lossless=False)
    vqcodec.register_pillow()
    with Image.open(file) as image, pytest.raises(OSError, match="weights are not installed"):
        image.load()


def test_files_are_closed_after_loading(pixels, tmp_path):
    (tmp_path / "a.vqc").write_bytes(saved(Image.fromarray(pixels)).getvalue())
    image = Image.open(tmp_path / "a.vqc")
    file = image.fp
    image.load()
    assert file.closed
    file = saved(Image.fromarray(pixels))
    Image.open(file).load()
    assert not file.closed  # it is the caller's


def test_importing_registers_and_needs_no_torch():
    program = (
        "import sys; from PIL import Image; import vqcodec.pillow_plugin\n"
        "assert Image.registered_extensions()['.vqc'] == 'VQC' and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_our_own_format_is_no_target_of_decoding():
    assert pillow_plugin.FORMAT in Image.SAVE
    with pytest.raises(vqcodec.VqcError):
        formats.picture_format(".vqc")
