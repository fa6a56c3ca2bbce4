"""How fast and how hungry: throughput in megapixels per second and peak memory against size and batch.

Every point is measured in a process of its own, so that no codec's memory is another's.  Pictures are mosaics of real
photographs at their own resolution, cut to size: larger pictures have more content, not smoother content.
"""

import csv
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from benchmarks.codecs import Choice, is_vqc, open_codec
from benchmarks.datasets import Photo
from benchmarks.stages import stage_shares
from benchmarks.workers import worker_pool

T = TypeVar("T")

BATCH_SIZE = 0.4
"""Megapixels of each picture of a batch: a Kodak photograph's."""
_ASPECT = 1.5
_BUDGET = 30.0
"""Seconds after which a point is not repeated once more."""


@dataclass(frozen=True)
class Point:
    """What is to be measured: one codec on pictures of one size."""

    choice: Choice
    megapixels: float
    batch: int


@dataclass(frozen=True)
class Throughput:
    """One codec on pictures of one size, at the codec's usual quality."""

    codec: str
    width: int
    height: int
    batch: int
    quality: float
    bpp: float
    runs: int
    encode_seconds: float
    decode_seconds: float
    """Medians for the whole batch, wall-clock, after the codec was loaded."""
    load_seconds: float
    base_mib: float
    """Resident memory with the codec and the pictures loaded."""
    encode_peak_mib: float
    decode_peak_mib: float
    """The most that was resident at any moment."""

    @property
    def megapixels(self) -> float:
        """Of the whole batch."""
        return self.batch * self.width * self.height / 1e6

    @property
    def encode_rate(self) -> float:
        """Megapixels per second."""
        return self.megapixels / self.encode_seconds

    @property
    def decode_rate(self) -> float:
        """Megapixels per second."""
        return self.megapixels / self.decode_seconds


@dataclass(frozen=True)
class Shares:
    """Share of a vqc model's time in each stage."""

    codec: str
    encode: dict[str, float]
    decode: dict[str, float]


def plan(choices: Sequence[Choice], sizes: Sequence[float], batches: Sequence[int]) -> list[Point]:
    """Every codec at every size; models of vqcodec, which gain from company, in every batch, too."""
    points = [Point(choice, size, 1) for size in sizes for choice in choices]
    points += [
        Point(choice, BATCH_SIZE, batch)
        for choice in choices
        if is_vqc(choice.name)
        for batch in batches
        if (BATCH_SIZE, batch) not in {(size, 1) for size in sizes}
    ]
    return points


def measure_speed(
    points: Sequence[Point], photos: Sequence[Photo], runs: int, tell: Callable[[str], None]
) -> Iterator[Throughput | None]:
    """Each point in a fresh process; None where that process died, for want of memory as a rule."""
    for point in points:
        try:
            yield _in_fresh_process(point.choice.threads, _measure, point, tuple(photos), runs)
        except BrokenProcessPool:
            tell(f"{point.choice.name} at {point.batch} x {point.megapixels:g} megapixels died, out of memory?")
            yield None


def measure_shares(choices: Sequence[Choice], photos: Sequence[Photo]) -> list[Shares]:
    """Stages of every vqc model, on one picture of :data:`BATCH_SIZE`."""
    return [
        _in_fresh_process(choice.threads, _shares, choice, tuple(photos)) for choice in choices if is_vqc(choice.name)
    ]


def make_picture(photos: Sequence[Photo], megapixels: float) -> Image.Image:
    """A picture of that size, three to two, tiled with the photos in turn."""
    width = round(math.sqrt(megapixels * 1e6 * _ASPECT))
    height = round(width / _ASPECT)
    images = [photo.load() for photo in photos]
    cell_width, cell_height = (min(sides) for sides in zip(*(image.size for image in images), strict=True))
    picture = Image.new("RGB", (width, height))
    columns, rows = math.ceil(width / cell_width), math.ceil(height / cell_height)
    for number in range(columns * rows):
        row, column = divmod(number, columns)
        picture.paste(
            images[number % len(images)].crop((0, 0, cell_width, cell_height)), (column * cell_width, row * cell_height)
        )
    return picture


def write_csv(path: Path, throughputs: Sequence[Throughput]) -> None:
    """One row per point."""
    rows = [
        {**asdict(t), "encode_mpix_per_s": round(t.encode_rate, 3), "decode_mpix_per_s": round(t.decode_rate, 3)}
        for t in throughputs
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def describe(throughputs: Sequence[Throughput], shares: Sequence[Shares]) -> str:
    """A table for people."""
    lines = [f"{'codec':14} {'picture':>11} {'batch':>5} {'bpp':>6} {'encode':>9} {'decode':>9} {'peak memory':>12}"]
    lines.append(f"{'':14} {'':>11} {'':>5} {'':>6} {'MPix/s':>9} {'MPix/s':>9} {'MiB':>12}")
    for t in throughputs:
        size, peak = f"{t.width}x{t.height}", max(t.encode_peak_mib, t.decode_peak_mib)
        lines.append(
            f"{t.codec:14} {size:>11} {t.batch:5} {t.bpp:6.2f} {t.encode_rate:9.2f} {t.decode_rate:9.2f} {peak:12.0f}"
        )
    for share in shares:
        for direction, parts in (("encode", share.encode), ("decode", share.decode)):
            text = ", ".join(f"{stage} {part:.0%}" for stage, part in parts.items())
            lines.append(f"{share.codec}, {direction}: {text}")
    return "\n".join(lines)


def _in_fresh_process(threads: int, work: Callable[..., T], *arguments: object) -> T:
    with worker_pool(1, threads) as pool:
        return pool.submit(work, *arguments).result()


def _measure(point: Point, photos: tuple[Photo, ...], runs: int) -> Throughput:
    """In a process of its own."""
    opened = open_codec(point.choice)
    codec = opened.codec
    image = make_picture(photos, point.megapixels)
    images = [image] * point.batch
    base = memory("VmRSS")
    with tempfile.TemporaryDirectory(prefix="vqcodec-speed-") as folder:
        streams, encode_times, encode_peak = _repeat(lambda: codec.encode_batch(images, codec.usual), runs)
        paths = [Path(folder) / f"{i}{codec.suffix}" for i in range(len(streams))]
        for path, stream in zip(paths, streams, strict=True):
            path.write_bytes(stream)
        _, decode_times, decode_peak = _repeat(lambda: codec.decode_batch(paths), runs)
    return Throughput(
        codec=point.choice.name,
        width=image.width,
        height=image.height,
        batch=point.batch,
        quality=codec.usual,
        bpp=8 * len(streams[0]) / (image.width * image.height),
        runs=min(len(encode_times), len(decode_times)),
        encode_seconds=statistics.median(encode_times),
        decode_seconds=statistics.median(decode_times),
        load_seconds=opened.load_seconds,
        base_mib=base,
        encode_peak_mib=encode_peak,
        decode_peak_mib=decode_peak,
    )


def _shares(choice: Choice, photos: tuple[Photo, ...]) -> Shares:
    """In a process of its own."""
    codec = open_codec(choice).codec
    image = make_picture(photos, BATCH_SIZE)
    with tempfile.TemporaryDirectory(prefix="vqcodec-speed-") as folder:
        path = Path(folder) / f"stream{codec.suffix}"
        path.write_bytes(codec.encode(image, codec.usual))  # the first time also warms up
        codec.decode(path)
        return Shares(
            choice.name,
            stage_shares(lambda: codec.encode(image, codec.usual)),
            stage_shares(lambda: codec.decode(path)),
        )


def _repeat(work: Callable[[], T], runs: int) -> tuple[T, list[float], float]:
    """The last result, the seconds of every run, and the peak of resident memory in MiB."""
    reset_peak()
    times: list[float] = []
    while True:
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
        if len(times) == runs or sum(times) > _BUDGET:
            return result, times, memory("VmHWM")


def reset_peak() -> None:
    """Let the kernel count the peak from now on, where it can (Linux)."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def memory(entry: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (peak) in MiB; elsewhere than on Linux, the process's peak for both."""
    if sys.platform == "linux":
        # Not getrusage, whose peak a process inherits from the one that started it.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(entry):
                return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
