"""Streams of a tiny model -> pictures, through every decoding method: their results agree."""

import contextlib
import functools
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import vqcodec
from tests.fuzz.mutation import mutate_stream as mutate
from tests.support.internals import decode_grids, encode_grids
from tests.support.streams import golden
from tests.support.tiny import tiny_network
from vqcodec import pillow_plugin
from vqcodec.codec.tiles import Box
from vqcodec.errors import (
    CorruptStream,
    ImageTooLarge,
    MalformedStream,
    ModelMismatch,
    NotAVqcFile,
    TruncatedStream,
    UnsupportedFeature,
    UnsupportedVersion,
    VqcWarning,
)
from vqcodec.stream import container
from vqcodec.stream.container import SectionKind
from vqcodec.training.export import export

__all__ = ["ALLOWED", "check", "codec", "mutate", "seeds"]

ALLOWED = (
    CorruptStream,
    ImageTooLarge,
    MalformedStream,
    ModelMismatch,
    NotAVqcFile,
    TruncatedStream,
    UnsupportedFeature,
    UnsupportedVersion,
)
FROM_PILLOW = (OSError, Image.DecompressionBombError)
"""Exceptions that Pillow may raise for any format."""
MAX_PIXELS = 1 << 13


@functools.cache
def codec() -> vqcodec.Codec:
    """Return a codec with the tiny model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        export(tiny_network(), path, {})
        return vqcodec.Codec(model_path=path, device="cpu")


def check(data: bytes) -> None:
    """Check that decoding, preview, region and Pillow agree, and that the indices encode to the same payloads."""
    try:
        stream = container.read_stream(data)
        image = codec().decode(data, max_pixels=MAX_PIXELS)
    except ALLOWED:
        _check_refusals(data)
        return
    header = stream.header
    assert (image.size, image.mode) == ((header.width, header.height), header.layout.mode)
    assert codec().decode(data, max_pixels=MAX_PIXELS, partial=True) == image
    if not stream.is_exact:
        (grids,) = decode_grids(codec(), [stream])
        assert encode_grids(codec().model, header, grids) == [s for s in stream.sections if s.kind.is_level]
    preview = codec().decode_preview(data, max_pixels=MAX_PIXELS)
    assert (preview.size, preview.mode, preview.info) == (image.size, image.mode, image.info)
    box = Box(header.width // 2, header.height // 3, -(-header.width // 3), -(-header.height // 3))
    part = np.int16(codec().decode_region(data, box, max_pixels=MAX_PIXELS))
    assert np.abs(part - np.int16(image)[box.top : box.bottom, box.left : box.right]).max() <= 1
    with _opened(data) as lazy:
        assert (lazy.size, lazy.mode, lazy.info) == (image.size, image.mode, image.info)
        np.testing.assert_array_equal(np.asarray(lazy), np.asarray(image))


def _check_refusals(data: bytes) -> None:
    """Check the other methods on a damaged stream: an error, or a partial picture of full size."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VqcWarning)
            image = codec().decode(data, max_pixels=MAX_PIXELS, partial=True)
    except ALLOWED:
        pass
    else:
        header, _ = container.read_header(data)
        assert image.size == (header.width, header.height) and image.mode in (
            header.layout.mode,
            header.layout.opaque.mode,
        )
    for way in (
        functools.partial(codec().decode_preview, max_pixels=MAX_PIXELS),
        functools.partial(codec().decode_region, box=Box(0, 0, 9, 9), max_pixels=MAX_PIXELS),
        vqcodec.info,
    ):
        try:
            way(data)
        except (*ALLOWED, vqcodec.errors.InvalidRegion):
            pass
    try:
        with _opened(data) as image:
            if image.width * image.height > MAX_PIXELS:
                return
            image.load()
    except FROM_PILLOW:
        return
    raise AssertionError("Pillow loads what decode refuses")


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    vqcodec.register_pillow(codec())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=[pillow_plugin.FORMAT])
        with image:
            yield image
    finally:
        vqcodec.register_pillow()


def seeds() -> Iterator[bytes]:
    """Yield streams of small pictures of every layout, exact too, some of several tiles, and one of another model."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (9, 20, 4), np.uint8))
    for mode in ("L", "LA", "RGB", "RGBA"):
        yield codec().encode(picture.convert(mode), 40, lossless=False)
        yield codec().encode(picture.convert(mode), lossless=True)
    picture.info = {"xmp": b"<x/>", "exif": b"Exif\0\0MM", "icc_profile": b"profile"}
    yield codec().encode(picture, 90, lossless=False)
    header = container.Header(codec().model.hash, 70, 20, container.Layout.GREY, 200, 6)
    kinds = (SectionKind.LEVEL_0, SectionKind.LEVEL_1)
    yield container.write_stream(header, [container.Section(kind, tile, b"") for kind in kinds for tile in (0, 1)])
    header = container.Header(container.NO_MODEL, 70, 20, container.Layout.GREY, container.BEST_QUALITY, 6)
    tiles = [container.Section(SectionKind.EXACT, tile, bytes([0, tile])) for tile in (0, 1)]
    yield container.write_stream(header, tiles)
    yield from golden("size-1x1")
