"""Ratios of times: full decode to preview, other learned codecs to vqcodec, ...

Both sides of a ratio run alternately, and the ratio is the median over the pairs: unlike seconds, it hardly depends on
the machine and its other load.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.environment import cores
from benchmarks.rd.datasets import Photo
from benchmarks.timing import learned
from benchmarks.timing.mosaics import make_mosaic
from vqcodec import Box, Codec
from vqcodec.batch import FolderOptions, decode_folder, encode_folder
from vqcodec.defaults import EFFORTS

_KODAK = 768 * 512 / 1e6
"""Megapixels of a Kodak photograph."""
_LARGE = 6.0
"""Megapixels of a picture of several tiles."""
_REGION = 512
"""Side of a decoded region in pixels."""
_SMALL = 256
"""Side of a small picture in pixels."""


@dataclass(frozen=True)
class Ratio:
    """Ratio of the times of two operations."""

    what: str
    ratio: float
    """Time of the first divided by time of the second; the median over the runs."""
    one: float
    """Median seconds of the first."""
    other: float
    """Median seconds of the second."""


@dataclass(frozen=True)
class Case:
    """Two operations to time, and the name of their ratio."""

    what: str
    one: Callable[[], object]
    other: Callable[[], object]


def compare(case: Case, runs: int) -> Ratio:
    """Time both operations, after one run of each that is not counted."""
    pairs = [(_seconds(case.one), _seconds(case.other)) for _ in range(runs + 1)][1:]
    ratio = statistics.median(a / b for a, b in pairs)
    return Ratio(case.what, ratio, *(statistics.median(side) for side in zip(*pairs, strict=True)))


def measure(photos: Sequence[Photo], runs: int, only: str = "") -> Iterator[Ratio]:
    """Measure every ratio whose name contains ``only``, on mosaics of the photos."""
    return (compare(case, runs) for case in _cases(photos) if only in case.what)


def _cases(photos: Sequence[Photo]) -> Iterator[Case]:
    codec = Codec(device="cpu")
    picture = make_mosaic(photos, _KODAK)
    stream = codec.encode(picture)
    lowest, *higher = EFFORTS
    for effort in higher:
        yield Case(
            f"encode with effort {effort} / effort {lowest}",
            lambda effort=effort: codec.encode(picture, effort=effort),  # type: ignore[misc]
            lambda: codec.encode(picture, effort=lowest),
        )
    yield Case(
        "encode / encode without a trial of exact pixels",
        lambda: codec.encode(picture),
        lambda: codec.encode(picture, lossless=False),
    )
    yield Case("decode / preview", lambda: codec.decode(stream), lambda: codec.decode_preview(stream))
    for other in learned.models(picture):
        yield Case(f"encode {other.name} / vqc", other.encode, lambda: codec.encode(picture))
        yield Case(f"decode {other.name} / vqc", other.decode, lambda: codec.decode(stream))
    large = codec.encode(make_mosaic(photos, _LARGE))
    box = Box(100, 100, _REGION, _REGION)
    yield Case(
        f"decode {_LARGE:g} megapixels / a region of {_REGION}x{_REGION}",
        lambda: codec.decode(large),
        lambda: codec.decode_region(large, box),
    )
    cut = make_mosaic(photos, 16 * _SMALL**2 * 2.25 / 1e6)
    small = [cut.crop((x, y, x + _SMALL, y + _SMALL)) for y in range(0, 1024, _SMALL) for x in range(0, 1024, _SMALL)]
    yield from _batches(codec, f"16 pictures of {_SMALL}x{_SMALL}", small)
    twenty_four = [make_mosaic([*photos[i:], *photos[:i]], _KODAK) for i in range(24)]
    yield from _batches(codec, "24 pictures of 768x512", twenty_four)
    with tempfile.TemporaryDirectory() as folder:
        yield from _folders(codec, "24 files of 768x512", twenty_four, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "a.vqc"), Path(folder, "a.png")
        source.write_bytes(stream)
        python = [sys.executable, "-c"]
        yield Case(
            "process 'vqcodec decode' / process 'import torch'",
            lambda: _run([sys.executable, "-m", "vqcodec", "decode", "-f", "--quiet", str(source), str(target)]),
            lambda: _run([*python, "import torch"]),
        )
    yield Case(
        "process 'vqcodec --help' / process 'import click'",
        lambda: _run([sys.executable, "-m", "vqcodec", "--help"]),
        lambda: _run([*python, "import click"]),
    )


def _folders(codec: Codec, what: str, pictures: Sequence[Image.Image], folder: Path) -> Iterator[Case]:
    """Time files one by one, with loaded weights, against the folder functions with a process per core."""
    images, streams, results = (folder / name for name in ("images", "streams", "results"))
    for each in (images, streams, results):
        each.mkdir()
    for i, picture in enumerate(pictures):
        picture.save(images / f"{i:02}.png")
        (streams / f"{i:02}.vqc").write_bytes(codec.encode(picture))
    folder_options = FolderOptions(existing="replace", workers=cores())

    def encode_each() -> None:
        for image in images.iterdir():
            (results / f"{image.stem}.vqc").write_bytes(codec.encode(image))

    def decode_each() -> None:
        for stream in streams.iterdir():
            codec.decode(stream).save(results / f"{stream.stem}.png")

    yield Case(
        f"encode {what} one by one / as a folder",
        encode_each,
        lambda: list(encode_folder(images, results, folder_options=folder_options)),
    )
    yield Case(
        f"decode {what} one by one / as a folder",
        decode_each,
        lambda: list(decode_folder(streams, results, folder_options=folder_options)),
    )


def _batches(codec: Codec, what: str, pictures: Sequence[Image.Image]) -> Iterator[Case]:
    streams = [codec.encode(picture) for picture in pictures]
    yield Case(
        f"encode {what} one by one / in a batch",
        lambda: [codec.encode(picture) for picture in pictures],
        lambda: list(codec.encode_batch(pictures)),
    )
    yield Case(
        f"decode {what} one by one / in a batch",
        lambda: [codec.decode(stream) for stream in streams],
        lambda: list(codec.decode_batch(streams)),
    )


def describe(ratios: Sequence[Ratio]) -> str:
    """Format the ratios as a Markdown table."""
    rows = ["| what | ratio | seconds |", "| --- | ---: | ---: |"]
    rows += [f"| {r.what} | {r.ratio:.2f} | {r.one:.3f} / {r.other:.3f} |" for r in ratios]
    return "\n".join(rows)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
