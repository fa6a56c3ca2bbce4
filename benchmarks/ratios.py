"""Ratios of times that users may count on: a preview against a full decode, other learned codecs against this one, ...

Both sides of a ratio run alternately in this process, or as processes, and the ratio is the median over the pairs: it
holds on a machine that is slow or has other things to do, where seconds do not.
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

from benchmarks import learned
from benchmarks.datasets import Photo
from benchmarks.environment import cores
from benchmarks.speed import make_picture
from vqcodec import Box, Codec
from vqcodec.batch.folders import FolderOptions, decode_folder, encode_folder

KODAK = 768 * 512 / 1e6
_LARGE = 6.0
"""Megapixels of a picture of several tiles."""
_REGION = 512
_SMALL = 256


@dataclass(frozen=True)
class Ratio:
    """How many times longer the one takes than the other, with the median seconds of both."""

    what: str
    ratio: float
    one: float
    other: float


@dataclass(frozen=True)
class Case:
    """Two things to do, and what their ratio is called."""

    what: str
    one: Callable[[], object]
    other: Callable[[], object]


def compare(case: Case, runs: int) -> Ratio:
    """``one`` against ``other``, after a run of each that does not count."""
    pairs = [(_seconds(case.one), _seconds(case.other)) for _ in range(runs + 1)][1:]
    ratio = statistics.median(a / b for a, b in pairs)
    return Ratio(case.what, ratio, *(statistics.median(side) for side in zip(*pairs, strict=True)))


def measure(photos: Sequence[Photo], runs: int, only: str = "") -> Iterator[Ratio]:
    """Every ratio whose name contains ``only``, in turn, on mosaics of the photos."""
    return (compare(case, runs) for case in _cases(photos) if only in case.what)


def _cases(photos: Sequence[Photo]) -> Iterator[Case]:
    codec = Codec(device="cpu")
    picture = make_picture(photos, KODAK)
    stream = codec.encode(picture)
    for effort in (1, 2, 3):
        yield Case(
            f"encode with effort {effort} / effort 0",
            lambda effort=effort: codec.encode(picture, effort=effort),  # type: ignore[misc]
            lambda: codec.encode(picture, effort=0),
        )
    yield Case("decode / preview", lambda: codec.decode(stream), lambda: codec.decode_preview(stream))
    for other in learned.models(picture):
        yield Case(f"encode {other.name} / vqc", other.encode, lambda: codec.encode(picture))
        yield Case(f"decode {other.name} / vqc", other.decode, lambda: codec.decode(stream))
    large = codec.encode(make_picture(photos, _LARGE))
    box = Box(100, 100, _REGION, _REGION)
    yield Case(
        f"decode {_LARGE:g} megapixels / a region of {_REGION}x{_REGION}",
        lambda: codec.decode(large),
        lambda: codec.decode_region(large, box),
    )
    cut = make_picture(photos, 16 * _SMALL**2 * 2.25 / 1e6)
    small = [cut.crop((x, y, x + _SMALL, y + _SMALL)) for y in range(0, 1024, _SMALL) for x in range(0, 1024, _SMALL)]
    yield from _batches(codec, f"16 pictures of {_SMALL}x{_SMALL}", small)
    twenty_four = [make_picture([*photos[i:], *photos[:i]], KODAK) for i in range(24)]
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
    """Files one by one with loaded weights, against a folder at once by a process per core, which loads its own."""
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
    """A table in Markdown."""
    rows = ["| what | ratio | seconds |", "| --- | ---: | ---: |"]
    rows += [f"| {r.what} | {r.ratio:.2f} | {r.one:.3f} / {r.other:.3f} |" for r in ratios]
    return "\n".join(rows)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
