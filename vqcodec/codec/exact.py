"""Streams that hold the pixels of a picture exactly, tile by tile, instead of indices.  They need no model."""

from collections.abc import Sequence

import numpy as np

from vqcodec.codec.tiles import Box, tile_boxes
from vqcodec.concurrency.threads import default_threads, map_in_threads
from vqcodec.errors import MalformedStream
from vqcodec.images.reading import Picture, Pixels
from vqcodec.stream.container import BEST_QUALITY, NO_MODEL, Header, Section, SectionKind, Stream, write_stream
from vqcodec.stream.planes import Effort, read_planes, write_planes

TILE_LOG2 = 11
"""Tiles have edges of 2048 pixels: a smaller edge costs bytes, a larger one memory and time for a region."""
_PIXELS_PER_BYTE = 1 << 14
"""A payload has a byte for so many pixels at least, so that a small file is a small picture: part of the format."""
_LOST = 128
"""Value of the pixels of missing tiles."""


def encode_exact(picture: Picture, extras: Sequence[Section], effort: Effort) -> bytes:
    """Return the stream of a picture whose pixels are stored exactly; ``extras`` are its other sections."""
    height, width = picture.pixels.shape[:2]
    header = Header(NO_MODEL, width, height, picture.layout, BEST_QUALITY, TILE_LOG2)
    planes = picture.pixels[:, :, 0] if picture.layout.is_grey else picture.pixels
    boxes = tile_boxes(header)
    payloads = map_in_threads(
        lambda box: write_planes(box.of(planes), effort, _least_bytes(box)), boxes, min(default_threads(), len(boxes))
    )
    sections = [Section(SectionKind.EXACT, tile, payload) for tile, payload in enumerate(payloads)]
    return write_stream(header, [*sections, *extras])


def check_exact(stream: Stream) -> None:
    """Check that a stream has bytes enough for its picture, also if it is damaged.  Raises :class:`MalformedStream`."""
    header = stream.header
    held = sum(len(section.payload) for section in stream.sections if section.kind is SectionKind.EXACT)
    if held < _least_bytes(Box(0, 0, header.width, header.height)):
        raise MalformedStream(f"too few bytes of pixels for a {header.width}x{header.height} picture: {held}")


def _least_bytes(box: Box) -> int:
    return -(-box.width * box.height // _PIXELS_PER_BYTE)


def exact_pixels(stream: Stream, box: Box | None = None) -> Pixels:
    """Decode the pixels (H, W, 3) of a checked stream, or of a box in it; those of missing tiles are grey."""
    header = stream.header
    box = box or Box(0, 0, header.width, header.height)
    channels = () if header.layout.is_grey else (3,)
    pixels = np.full((box.height, box.width, 3), _LOST, np.uint8)
    for tile, payload in zip(tile_boxes(header), stream.tiles(SectionKind.EXACT), strict=True):
        part = tile.intersection(box)
        if payload is None or part is None:
            continue
        shape = (tile.height, tile.width, *channels)
        planes = read_planes(payload, shape, SectionKind.EXACT.label, _least_bytes(tile))
        inside = part.moved(tile.left, tile.top).of(planes)
        part.moved(box.left, box.top).of(pixels)[:] = inside[:, :, None] if header.layout.is_grey else inside
    return pixels
