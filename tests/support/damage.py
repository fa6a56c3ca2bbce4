"""Damage streams and feed them to the reader and the decoder: ``python -m tests.support.damage [COUNT]``.

COUNT damaged streams come twice each: as they are, where a checksum must show the damage, and with right checksums, so
that the checks behind them are reached.  Prints the outcomes of each kind; exits with 1 if anything but a VqcError was
raised, or if a stream with a wrong checksum was accepted.
"""

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.streams import LAST, golden, repair, split_raw
from vqcodec import Codec
from vqcodec.errors import VqcError
from vqcodec.stream import container

COUNT = 200_000
ACCEPTED = "accepted"
_MAX_PIXELS = 1 << 13
_DECODED_SHARE = 0.3
"""Fraction decoded of what is accepted with corrected checksums: decoding is a thousand times slower than reading."""
_EDGES = (1, 2, 15, 17, 127, 128, 16383, 16384, 65535, 1 << 20, 1 << 27, container.MAX_EDGE)

Damaged = tuple[str, bytes]
"""Kind of damage and the damaged stream."""


@dataclass
class Report:
    """Count outcomes by kind of damage and by whether checksums were corrected; describe the failures."""

    outcomes: Counter[tuple[str, bool, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield a line for each kind of damage, and the total."""
        for kind, mended in sorted({key[:2] for key in self.outcomes}):
            found = {key[2]: n for key, n in self.outcomes.items() if key[:2] == (kind, mended)}
            told = ", ".join(f"{name} {n}" for name, n in sorted(found.items(), key=lambda item: -item[1]))
            yield f"{kind:<18} {'mended' if mended else 'as is':<7} {sum(found.values()):>7}  {told}"
        yield f"{sum(self.outcomes.values())} inputs, {len(self.failures)} failures"


def campaign(codec: Codec, count: int, step: int = 1) -> Report:
    """Every ``step``-th of the systematic damage, and random damage up to ``count`` inputs.

    ``codec`` decodes some of what is accepted.
    """
    rng, report = random.Random(0), Report()
    ours = _streams_of(codec)
    originals = [*golden("flat-20", "grey-25", "size-31x17"), *ours]
    authentic = {piece for data in originals for piece in _authentic(data)}
    for kind, data in chain(islice(_systematic(originals), 0, None, step), _random(originals, rng)):
        if sum(report.outcomes.values()) >= count:
            break
        for mended in (False, True):
            case = repair(data) if mended else data
            if case in originals or (mended and case == data):
                continue
            outcome, allowed = _outcome(codec, case, mended and rng.random() < _DECODED_SHARE)
            if outcome == ACCEPTED and not mended and not authentic.issuperset(_authentic(case)):
                outcome, allowed = "UNDETECTED", False
            if not allowed:
                report.failures.append(f"{kind}: {outcome}: {case.hex()}")
            report.outcomes[kind, mended, outcome] += 1
    return report


def _outcome(codec: Codec, data: bytes, decode: bool) -> tuple[str, bool]:
    """Return the stage reached or the name of the exception, and whether that outcome is allowed."""
    try:
        stream = container.read_stream(data)
        header = stream.header
        if not decode or not (stream.is_exact or header.model_hash == codec.model.hash):
            return ACCEPTED, True
        size = codec.decode(data, max_pixels=_MAX_PIXELS).size
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # panics of extensions are not of type Exception
        return type(error).__name__, isinstance(error, VqcError)
    return ("decoded", True) if size == (header.width, header.height) else ("WRONG SIZE", False)


def _authentic(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each section with its header.

    A file made of nothing else is a whole one: sections that may be absent can be taken out, and no checksum ties the
    sections of two pictures with the same header to their own.
    """
    head, pieces = split_raw(data)
    return ((head, piece) for piece in pieces)


def _streams_of(codec: Codec) -> list[bytes]:
    """Return streams that ``codec`` decodes: plain, with alpha and metadata, of several tiles; indices and exact."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (9, 20, 4), np.uint8))
    plain = codec.encode(picture.convert("RGB"), 40, lossless=False)
    picture.info = {"xmp": b"<x/>", "exif": b"Exif\0\0MM", "icc_profile": b"profile"}
    header = container.Header(codec.model.hash, 70, 20, container.Layout.GREY, 200, 6)
    kinds = (container.SectionKind.LEVEL_0, container.SectionKind.LEVEL_1)
    tiles = [container.Section(kind, tile, b"") for kind in kinds for tile in (0, 1)]
    indexed = [plain, codec.encode(picture, 90, lossless=False), container.write_stream(header, tiles)]
    header = container.Header(container.NO_MODEL, 70, 20, container.Layout.RGB, container.BEST_QUALITY, 6)
    tiles = [container.Section(container.SectionKind.EXACT, tile, bytes([0, 1, 2, tile])) for tile in (0, 1)]
    return [*indexed, codec.encode(picture, lossless=True), container.write_stream(header, tiles)]


def _systematic(originals: Sequence[bytes]) -> Iterator[Damaged]:
    """Yield systematic damage: every bit, every length, every pair of sections, and absurd headers."""
    for data in originals:
        for bit in range(8 * len(data)):
            yield "flipped bit", _with(data, bit // 8, bytes([data[bit // 8] ^ 1 << bit % 8]))
        for length in range(len(data)):
            yield "truncated", data[:length]
        for version in range(256):
            yield "another version", _with(data, 4, bytes([version]))
        for byte in range(256):
            yield "another model", _with(data, 5, bytes([byte]))
            yield "absurd shape", _with(data, 13, bytes([byte]))
        for extra in (b"\0", b"\x40\0", data, data[:30], bytes(100)):
            yield "bytes at the end", data + extra
        yield from _absurd_sizes(data)
        yield from _absurd_lengths(data)
        yield from _other_sections(data, originals)


def _absurd_sizes(data: bytes) -> Iterator[Damaged]:
    head, pieces = split_raw(data)
    for width in _EDGES:
        for height in _EDGES:
            sizes = container._write_varint(width) + container._write_varint(height)
            for shape in (head[13:14], bytes([head[13] & 0xF0 | 6]), bytes([head[13] & 0xF0 | 15])):
                yield "absurd size", head[:13] + shape + head[14:15] + sizes + b"".join(pieces)


def _absurd_lengths(data: bytes) -> Iterator[Damaged]:
    head, pieces = split_raw(data)
    for i, piece in enumerate(pieces):
        old, end = container._read_varint(piece, 1, container.MAX_PAYLOAD, "")
        for length in (0, old - 1, old + 1, old + 4, len(data), 1 << 20, 1 << 31, container.MAX_PAYLOAD, 1 << 34):
            if length >= 0:
                damaged = piece[:1] + container._write_varint(length) + piece[end:]
                yield "absurd length", head + b"".join([*pieces[:i], damaged, *pieces[i + 1 :]])


def _other_sections(data: bytes, originals: Sequence[bytes]) -> Iterator[Damaged]:
    head, pieces = split_raw(data)
    foreign = [piece for other in originals if other != data for piece in split_raw(other)[1]]
    for i in range(len(pieces)):
        yield "missing section", _whole(head, pieces[:i] + pieces[i + 1 :])
        yield "repeated section", _whole(head, pieces[: i + 1] + pieces[i:])
        for j in range(i):
            swapped = list(pieces)
            swapped[i], swapped[j] = pieces[j], pieces[i]
            yield "swapped sections", _whole(head, swapped)
        for piece in foreign:
            yield "foreign section", _whole(head, [*pieces[:i], piece, *pieces[i + 1 :]])
            yield "foreign section", _whole(head, [*pieces[:i], piece, *pieces[i:]])
    for other in originals:
        yield "foreign header", split_raw(other)[0] + data[len(head) :]


def _random(originals: Sequence[bytes], rng: random.Random) -> Iterator[Damaged]:
    """Yield random damage without end."""
    while True:
        data = rng.choice(originals)
        out = bytearray(data)
        for _ in range(rng.randint(2, 8)):
            out[rng.randrange(len(out))] = rng.randrange(256)
        yield "changed bytes", bytes(out)
        start, length = rng.randrange(len(data)), rng.randint(1, 40)
        yield "bytes taken out", data[:start] + data[start + length :]
        yield "bytes put in", data[:start] + rng.randbytes(length) + data[start:]
        yield "bytes overwritten", _with(data, start, rng.randbytes(min(length, len(data) - start)))
        other = rng.choice(originals)
        yield "spliced", data[:start] + other[rng.randrange(len(other)) :]
        yield "noise", container.MAGIC + b"\1" + rng.randbytes(length)


def _with(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def _whole(head: bytes, pieces: Sequence[bytes]) -> bytes:
    """Return the stream with the flag of the last section on the last section."""
    last = len(pieces) - 1
    flagged = [bytes([p[0] & ~LAST | (LAST if i == last else 0)]) + p[1:] for i, p in enumerate(pieces)]
    return head + b"".join(flagged)


def tiny_codec(folder: Path) -> Codec:
    """Return a codec with the tiny model, whose weights are written to ``folder``."""
    from tests.support.tiny import tiny_network
    from vqcodec.training.export import export

    export(tiny_network(), folder / "tiny.safetensors", {})
    return Codec(model_path=folder / "tiny.safetensors", device="cpu")


def main(arguments: Sequence[str]) -> int:
    """Run, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = campaign(tiny_codec(Path(folder)), int(arguments[0]) if arguments else COUNT)
    print("\n".join([*report.lines(), *report.failures]))
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
