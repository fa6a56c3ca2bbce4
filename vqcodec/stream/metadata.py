"""Store ICC profile, EXIF and XMP in sections of a stream, and read them back.

They are opaque bytes, compressed by DEFLATE.
"""

import dataclasses
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vqcodec.errors import MalformedStream
from vqcodec.stream.container import Section, SectionKind

MAX_BYTES = 64 << 20
"""Largest decompressed size of a section; larger ones are refused."""


_KINDS = {"icc": SectionKind.ICC, "exif": SectionKind.EXIF, "xmp": SectionKind.XMP}


_RAW_DEFLATE = -zlib.MAX_WBITS  # no header and no checksum: sections have their own


@dataclass(frozen=True)
class Metadata:
    """Raw bytes of each kind of metadata; empty where there is none."""

    icc: bytes = b""
    exif: bytes = b""
    """EXIF data from the TIFF header on, without the prefix that JPEG puts before it."""
    xmp: bytes = b""

    def only(self, kinds: Collection[str]) -> "Metadata":
        """Return the metadata with only the named kinds."""
        return dataclasses.replace(self, **{kind: b"" for kind in METADATA_KINDS if kind not in kinds})


NO_METADATA = Metadata()


METADATA_KINDS: tuple[str, ...] = tuple(_KINDS)
"""Names of the kinds of metadata."""


def write_metadata(metadata: Metadata) -> list[Section]:
    """Return the sections that hold the metadata, in the order of the format; empty kinds have none."""
    return [
        Section(kind, 0, _compress(content)) for name, kind in _KINDS.items() if (content := getattr(metadata, name))
    ]


def read_metadata(sections: Sequence[Section]) -> Metadata:
    """Inverse of :func:`write_metadata`; other sections are ignored.  Raises :class:`MalformedStream`."""
    payloads = {section.kind: section.payload for section in sections}
    return Metadata(**{name: _decompress(payloads[kind], name) for name, kind in _KINDS.items() if kind in payloads})


def _compress(content: bytes) -> bytes:
    packer = zlib.compressobj(level=9, wbits=_RAW_DEFLATE)
    return packer.compress(content) + packer.flush()


def _decompress(payload: bytes, name: str) -> bytes:
    unpacker = zlib.decompressobj(_RAW_DEFLATE)
    try:
        content = unpacker.decompress(payload, MAX_BYTES)
    except zlib.error as error:
        raise MalformedStream(f"section '{name}' cannot be decompressed") from error
    if unpacker.unconsumed_tail:
        raise MalformedStream(f"section '{name}' unpacks to more than {MAX_BYTES} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedStream(f"section '{name}' does not end where its compressed data end")
    return content
