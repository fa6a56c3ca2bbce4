"""Measure what a tiny file can cost: ``python -m tests.support.bounds [WEIGHTS [STEP]]`` opens hostile files.

Each file has at most 64 bytes, right checksums, and a header that asks for as much as its payload allows, or for far
more; every STEP-th is taken and opened in every way.  Prints JSON: the number of files and of whole pictures among
them, the growth of memory beyond the loaded model in megabytes, the longest call in seconds of processor time and as a
multiple of decoding an ordinary picture, and the name of that call.
"""

import io
import json
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from PIL import Image

import vqcodec
from tests.support.streams import join
from vqcodec import Codec, defaults
from vqcodec.codec.tiles import Box
from vqcodec.coding.symbols import POSITIONS_PER_WORD
from vqcodec.config import ModelConfig
from vqcodec.errors import VqcError
from vqcodec.stream import container
from vqcodec.stream.container import BEST_QUALITY, MAX_EDGE, NO_MODEL, Header, Layout, Section, SectionKind

LARGEST_FILE = 64
ORDINARY = 320
"""Edge of the ordinary picture that costs are compared with, in pixels."""
_SQUARE = int(defaults.MAX_PIXELS**0.5)
_ABSURD = (
    (MAX_EDGE, MAX_EDGE),
    (MAX_EDGE, 1),
    (1, MAX_EDGE),
    (defaults.MAX_PIXELS, 1),
    (1, defaults.MAX_PIXELS),
    (_SQUARE, _SQUARE),
    (2048, 2048),
    (32768, 128),
)
_FILLINGS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x5a\xc3\x17\x9e")


def hostile_files(config: ModelConfig, model_hash: bytes) -> Iterator[bytes]:
    """Yield every shape of header with payloads of every length that fits, spread over the levels in several ways."""
    kinds = [SectionKind.level(i) for i in range(len(config.levels))]
    for layout, tile_log2, filling in product((Layout.RGB, Layout.GREY_ALPHA), (6, 15), _FILLINGS):
        alpha = [Section(SectionKind.ALPHA, 0, b"\0\x07")] if layout.has_alpha else []
        for width, height in (*_ABSURD, *_plausible_sizes(config)):
            yield from _exact_files(width, height, layout, tile_log2, filling, alpha)
            header = Header(model_hash, width, height, layout, 128, tile_log2)
            spare = LARGEST_FILE - len(container.write_header(header)) - 6 * len(kinds) - 8 * len(alpha)
            for shares in _shares(header, config, spare // 4):
                levels = [Section(kind, 0, filling * share) for kind, share in zip(kinds, shares, strict=True)]
                head, pieces = container.write_header(header), [(s.kind.value, s.payload) for s in [*levels, *alpha]]
                yield join(head, pieces)
                if not any(shares):
                    yield join(head, pieces, ended=False)  # to partial decoding, the beginning of a file


def _exact_files(
    width: int, height: int, layout: Layout, tile_log2: int, filling: bytes, alpha: list[Section]
) -> Iterator[bytes]:
    """Yield exact pictures: flat, PNG or WebP, in one tile, or in the first of many."""
    start = container.write_header(Header(NO_MODEL, width, height, layout, BEST_QUALITY, tile_log2))
    spare = LARGEST_FILE - len(start) - 6 - 8 * len(alpha)
    rest = [(section.kind.value, section.payload) for section in alpha]
    flat = bytes([0, 1, 2, 3][: 2 if layout.is_grey else 4])
    for payload in (flat + bytes(spare - len(flat)), flat, *(bytes([coder]) + filling * 6 for coder in (1, 2, 3))):
        yield join(start, [(SectionKind.EXACT.value, payload), *rest])
        yield join(start, [(SectionKind.EXACT.value, payload)], ended=False)


def _plausible_sizes(config: ModelConfig) -> Iterator[tuple[int, int]]:
    """Yield shapes with as many positions as some words can hold: a row, a column and a square."""
    stride = config.levels[0].stride
    yield 700, 700  # as many pixels as the bytes of an exact picture can hold
    for words in (1, 1.24, 1.74, 2):  # of 64 bytes seven words may be left, or five beside an alpha plane
        count = int(words * POSITIONS_PER_WORD)
        edge = int(count**0.5) * stride
        yield from ((count * stride, 1), (1, count * stride), (edge, edge))


def _shares(header: Header, config: ModelConfig, words: int) -> Iterator[list[int]]:
    """Yield words per level: the least that the grids need if that fits, all in one level, or none."""
    count = len(config.levels)
    needed = [rows * columns // POSITIONS_PER_WORD for rows, columns in config.grid_shapes(header.height, header.width)]
    if sum(needed) <= words:
        yield [*needed[:-1], words - sum(needed[:-1])]
        yield needed
    yield [words if i == count - 1 else 0 for i in range(count)]
    yield [words if i == 0 else 0 for i in range(count)]
    yield [0] * count


def ways(codec: Codec) -> dict[str, Callable[[bytes], Any]]:
    """Return every method that opens a stream, by name."""
    return {
        "decode": codec.decode,
        "partial": lambda data: codec.decode(data, partial=True),
        "preview": codec.decode_preview,
        "region": lambda data: codec.decode_region(data, Box(0, 0, 1, 1)),
        "info": vqcodec.info,
        "Pillow": lambda data: Image.open(io.BytesIO(data), formats=["VQC"]).load(),
    }


def measure(codec: Codec, step: int = 1) -> dict[str, Any]:
    """Decode every ``step``-th file in every way; exceptions other than the documented ones are raised."""
    vqcodec.register_pillow(codec)
    warnings.simplefilter("ignore")
    noise = np.random.default_rng(0).integers(0, 256, (ORDINARY, ORDINARY, 3), np.uint8)
    stream = codec.encode(noise[:16, :16], lossless=False)
    for way in ways(codec).values():  # also loads libraries
        way(stream)
    files = list(dict.fromkeys(hostile_files(codec.model.config, codec.model.hash)))
    files = random.Random(6).sample(files, len(files))[::step]
    before = _peak()
    worst, culprit, whole = 0.0, "", 0
    for data in files:
        for name, way in ways(codec).items():
            try:
                seconds = _seconds(way, data)
                whole += name == "decode"
            except (VqcError, OSError, Image.DecompressionBombError) as error:
                seconds = error.seconds
            if seconds > worst:
                worst, culprit = seconds, f"{name} of {data.hex()}"
    memory = _peak() - before
    stream = codec.encode(noise, lossless=False)
    ordinary = min(_seconds(codec.decode, stream) for _ in range(3))
    return {
        "files": len(files),
        "decoded": whole,
        "megabytes": round(memory / 1024, 1),
        "seconds": round(worst, 3),
        "ordinary": round(worst / ordinary, 2),
        "worst": culprit,
    }


def _seconds(call: Callable[[bytes], Any], data: bytes) -> float:
    """Measure processor time, which other processes hardly affect; also of a call that raises."""
    start = time.process_time()
    try:
        call(data)
    except Exception as error:
        error.seconds = time.process_time() - start
        raise
    return time.process_time() - start


def _peak() -> int:
    """Return the peak memory of this process in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv[1:]))
    print(json.dumps(measure(Codec(model_path=arguments.get(0), device="cpu"), int(arguments.get(1, 1)))))
