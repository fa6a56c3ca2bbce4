"""Split and join streams without any check, so that tests can build hostile files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vqcodec.errors import VqcError
from vqcodec.stream import container

GOLDEN = Path(__file__).parent.parent / "golden"
LAST = 0x40
CHECKSUM_BYTES = 4

Piece = tuple[int, bytes]
"""A section of a file: its kind without the flag of the last section, and its payload."""


def golden(*names: str) -> list[bytes]:
    """Return golden streams of the default model by name."""
    return [(GOLDEN / "vqc-1" / f"{name}.vqc").read_bytes() for name in names]


def split_raw(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return header and sections as far as they go, ignoring checksums; a header must be present."""
    at = container.read_header(data)[1]
    head, pieces, last = data[:at], [], False
    while at < len(data) and not last:
        try:
            length, body = container._read_varint(data, at + 1, container.MAX_PAYLOAD, "")
        except VqcError:
            break
        last, end = bool(data[at] & LAST), body + CHECKSUM_BYTES + length
        pieces.append(data[at:end])
        at = end
    return head, pieces


def split(data: bytes) -> tuple[bytes, list[Piece]]:
    """Return header and sections."""
    head, pieces = split_raw(data)
    return head, [(raw[0] & ~LAST, raw[_body(raw) :]) for raw in pieces]


def _body(raw: bytes) -> int:
    """Return the offset of a section's payload."""
    return container._read_varint(raw, 1, container.MAX_PAYLOAD, "")[1] + CHECKSUM_BYTES


def join(head: bytes, pieces: Sequence[Piece], ended: bool = True) -> bytes:
    """Invert :func:`split`: set lengths, checksums and the flag of the last section; check nothing else."""
    seen: Counter[int] = Counter()
    parts = [head]
    for number, (kind, payload) in enumerate(pieces, 1):
        flag = LAST if ended and number == len(pieces) else 0
        prefix = bytes([kind | flag]) + container._write_varint(len(payload))
        parts += [prefix, container._checksum(head, prefix, seen[kind], payload), payload]
        seen[kind] += 1
    return b"".join(parts)


def repair(data: bytes) -> bytes:
    """Correct every checksum that a reader reaches; leave other bytes unchanged."""
    try:
        head, pieces = split_raw(data)
    except VqcError:
        return data
    seen: Counter[int] = Counter()
    parts = [head]
    for raw in pieces:
        body, kind = _body(raw), raw[0] & ~LAST
        if body <= len(raw):
            prefix = raw[: body - CHECKSUM_BYTES]
            raw = prefix + container._checksum(head, prefix, seen[kind], raw[body:]) + raw[body:]
        seen[kind] += 1
        parts.append(raw)
    mended = b"".join(parts)
    return mended + data[len(mended) :]
