"""Bytes -> container: a readable stream is written back byte for byte, any other raises a named error."""

import dataclasses
import io
from collections.abc import Iterator

from tests.fuzz.mutation import mutate_stream as mutate
from tests.support.streams import golden, repair, split
from vqcodec.errors import (
    CorruptStream,
    MalformedStream,
    NotAVqcFile,
    TruncatedStream,
    UnsupportedFeature,
    UnsupportedVersion,
)
from vqcodec.stream import container
from vqcodec.stream.container import BEST_QUALITY, NO_MODEL, Header, Layout, Section, SectionKind

__all__ = ["ALLOWED", "check", "mutate", "seeds"]

ALLOWED = (CorruptStream, MalformedStream, NotAVqcFile, TruncatedStream, UnsupportedFeature, UnsupportedVersion)
BESIDE = frozenset(kind for kind in SectionKind if not kind.is_tiled)


def check(data: bytes) -> None:
    """Check that reading, writing and the search for single sections agree."""
    found = None
    try:
        found = container.find_sections(io.BytesIO(data), BESIDE)
        stream = container.read_stream(data)
    except ALLOWED:
        return
    again = container.write_stream(stream.header, stream.sections)
    assert container.read_stream(again) == stream
    head, pieces = split(data)
    if len(pieces) == len(stream.sections):  # otherwise some were skipped
        assert again == data
    assert container.read_header(head) == (stream.header, len(head)) and container.write_header(stream.header) == head
    assert found == [section for section in stream.sections if section.kind in BESIDE]
    assert repair(data) == data


def seeds() -> Iterator[bytes]:
    """Yield small golden files, one with sections of every kind of indices, and exact ones."""
    yield from golden("flat-20", "grey-25", "tiles-5")
    header = Header(bytes(8), 70, 1, Layout.RGBA, 7, 6)
    levels = [Section(kind, tile, b"") for kind in SectionKind if kind.is_level for tile in (0, 1)]
    rest = [Section(kind, 0, b"?") for kind in SectionKind if kind in BESIDE]
    yield container.write_stream(header, [*levels, *rest])
    yield container.write_stream(dataclasses.replace(header, tint=(255, 90, 70)), [*levels, *rest])
    header = Header(NO_MODEL, 70, 1, Layout.RGBA, BEST_QUALITY, 6)
    yield container.write_stream(header, [*(Section(SectionKind.EXACT, tile, b"") for tile in (0, 1)), *rest])
