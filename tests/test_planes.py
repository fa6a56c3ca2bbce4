"""Planes are lossless; any other payload is refused."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from vqcodec.errors import MalformedStream, UnsupportedFeature
from vqcodec.stream import planes
from vqcodec.stream.planes import SMALL, read_planes, write_planes

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (9, 13), np.uint8)
COLOURS = RNG.integers(0, 256, (9, 13, 3), np.uint8)
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def file_of(image, format="WEBP", **options):
    """Return an image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def lossless(plane, **options):
    """Return a plane as a lossless WebP file."""
    return file_of(Image.fromarray(plane).convert("RGB"), lossless=True, **options)


@given(arrays.arrays(np.uint8, SHAPES) | arrays.arrays(np.uint8, SHAPES.map(lambda shape: (*shape, 3))))
def test_round_trip(array):
    for effort in (planes.FAST, SMALL):
        np.testing.assert_array_equal(read_planes(write_planes(array, effort), array.shape, "alpha"), array)


def test_flat_planes_take_a_byte_each():
    assert write_planes(np.full((500, 700), 255, np.uint8)) == b"\x00\xff"
    assert write_planes(np.full((500, 700, 3), (1, 2, 3), np.uint8)) == b"\x00\x01\x02\x03"
    assert (read_planes(b"\x00\x07", (2, 3), "alpha") == np.full((2, 3), 7)).all()


@pytest.mark.parametrize("coder", [0, 1, 3])
def test_zeros_fill_a_payload_up(monkeypatch, coder):
    monkeypatch.setattr(planes.features, "check", lambda name: coder != 1)
    array = COLOURS if coder else np.full_like(COLOURS, 7)
    payload = write_planes(array, least=999)
    assert payload[0] == coder and len(payload) == 999
    monkeypatch.undo()
    np.testing.assert_array_equal(read_planes(payload, array.shape, "exact", least=999), array)
    with pytest.raises(MalformedStream, match="section 'exact' has 998 bytes, too few for 13x9 pixels"):
        read_planes(payload[:-1], array.shape, "exact", least=999)


@pytest.mark.parametrize("shape", [(1, 20000), (20000, 1), (1, 20000, 3)])
def test_edges_beyond_webp(shape):
    array = RNG.integers(0, 2, shape, np.uint8)
    payload = write_planes(array)
    assert payload[0] == 1
    np.testing.assert_array_equal(read_planes(payload, shape, "alpha"), array)


@pytest.mark.parametrize("array", [NOISE, COLOURS])
def test_without_webp(monkeypatch, array):
    webp = write_planes(array)
    monkeypatch.setattr(planes.features, "check", lambda name: False)
    payload = write_planes(array)
    assert payload[0] == 1
    np.testing.assert_array_equal(read_planes(payload, array.shape, "alpha"), array)
    with pytest.raises(UnsupportedFeature, match="section 'alpha' needs a Pillow that reads WebP"):
        read_planes(webp, array.shape, "alpha")


@pytest.mark.parametrize("width", [12, 13])
def test_whole_webp_files_are_read(width):
    file = lossless(NOISE[:, :width])
    np.testing.assert_array_equal(read_planes(b"\x02" + file, (9, width), "alpha"), NOISE[:, :width])
    assert len(write_planes(NOISE[:, :width])) in (len(file) - 24, len(file) - 25)  # without the padding


@pytest.mark.parametrize(
    "file",
    [
        lossless(NOISE.T),
        lossless(NOISE)[:-20],
        lossless(NOISE) + b"\0\0",
        lossless(NOISE, exif=b"Exif"),
        file_of(Image.fromarray(COLOURS)),
        file_of(Image.new("RGBA", (13, 9), (1, 2, 3, 4)), lossless=True),
        file_of(Image.fromarray(COLOURS), lossless=True, save_all=True, append_images=[Image.fromarray(255 - COLOURS)]),
    ],
    ids=["another size", "cut", "more", "metadata", "lossy", "alpha", "animated"],
)
@pytest.mark.parametrize("shape", [(9, 13), (9, 13, 3)])
def test_other_webp_files_are_refused_before_they_are_decoded(monkeypatch, shape, file):
    monkeypatch.setattr(planes, "_decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(MalformedStream, match="section 'pixels' is not a lossless WebP file of 13x9 pixels"):
        read_planes(b"\x02" + file, shape, "pixels")


@pytest.mark.parametrize("shape", [(9, 16384), (16384, 9)])
def test_webp_beyond_its_edges_is_refused(shape):
    with pytest.raises(MalformedStream, match="cannot hold"):
        read_planes(write_planes(NOISE), shape, "alpha")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\x00\x01\x02",
        b"\x04\x00",
        b"\x01nonsense",
        b"\x02nonsense",
        b"\x03nonsense",
        b"\x02",
        b"\x03",
        write_planes(NOISE)[:-20],
        b"\x01" + file_of(Image.fromarray(COLOURS), "PNG"),
        b"\x01" + file_of(Image.fromarray(NOISE).convert("P"), "PNG"),
    ],
)
def test_damage(payload):
    with pytest.raises(MalformedStream, match="section 'alpha'"):
        read_planes(payload, (9, 13), "alpha")


def test_a_grey_png_is_no_picture_of_colours():
    with pytest.raises(MalformedStream, match="holds a L picture of 13x9"):
        read_planes(b"\x01" + file_of(Image.fromarray(NOISE), "PNG"), (9, 13, 3), "exact")


def test_another_size():
    payload = b"\x01" + file_of(Image.fromarray(NOISE), "PNG")
    with pytest.raises(MalformedStream, match="13x9"):
        read_planes(payload, (13, 9), "alpha")
