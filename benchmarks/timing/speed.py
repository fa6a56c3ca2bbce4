"""Throughput in megapixels per second and peak memory, by picture size and batch size.

Every point is measured in a process of its own, so that memory figures are independent.
"""

import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.rd.codecs import Choice, is_vqc, open_codec
from benchmarks.rd.datasets import Photo
from benchmarks.timing.memory import memory, reset_peak
from benchmarks.timing.mosaics import make_mosaic
from benchmarks.timing.stages import stage_shares
from benchmarks.workers import worker_pool
from vqcodec import metrics

T = TypeVar("T")

BATCH_SIZE = 0.4
"""Megapixels of each picture in a batch, about those of a Kodak photograph."""
_BUDGET = 30.0
"""Seconds after which a measurement is not repeated again."""


@dataclass(frozen=True)
class Point:
    """A measurement to make: one codec on pictures of one size."""

    choice: Choice
    megapixels: float
    batch: int


@dataclass(frozen=True)
class Throughput:
    """Result of one codec on pictures of one size, at the codec's usual quality."""

    codec: str
    width: int
    height: int
    batch: int
    quality: float
    bpp: float
    runs: int
    encode_seconds: float
    """Median wall-clock time of the whole batch, without loading the codec."""
    decode_seconds: float
    """Likewise."""
    load_seconds: float
    base_mib: float
    """Resident memory with the codec and the pictures loaded."""
    encode_peak_mib: float
    """Peak of resident memory while encoding."""
    decode_peak_mib: float
    """Peak of resident memory while decoding."""

    @property
    def megapixels(self) -> float:
        """Megapixels of the whole batch."""
        return self.batch * self.width * self.height / 1e6

    @property
    def encode_rate(self) -> float:
        """Megapixels encoded per second."""
        return self.megapixels / self.encode_seconds

    @property
    def decode_rate(self) -> float:
        """Megapixels decoded per second."""
        return self.megapixels / self.decode_seconds


@dataclass(frozen=True)
class Shares:
    """Share of a vqc model's time in each stage, between 0 and 1."""

    codec: str
    encode: dict[str, float]
    decode: dict[str, float]


def plan(choices: Sequence[Choice], sizes: Sequence[float], batches: Sequence[int]) -> list[Point]:
    """Plan every codec at every size, and models of vqcodec, which batches make faster, at every batch size."""
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
    """Measure each point in a new process; yield None if that process dies, usually for lack of memory."""
    for point in points:
        try:
            yield _in_fresh_process(point.choice.threads, _measure, point, tuple(photos), runs)
        except BrokenProcessPool:
            tell(
                f"{point.choice.name} at {point.batch} x {point.megapixels:g} megapixels: the process died, "
                "probably out of memory"
            )
            yield None


def measure_shares(choices: Sequence[Choice], photos: Sequence[Photo]) -> list[Shares]:
    """Measure the stages of every vqc model on one picture of :data:`BATCH_SIZE` megapixels."""
    return [
        _in_fresh_process(choice.threads, _shares, choice, tuple(photos)) for choice in choices if is_vqc(choice.name)
    ]


def write_csv(path: Path, throughputs: Sequence[Throughput]) -> None:
    """Write a table with a row for each point."""
    rows = [
        {**asdict(t), "encode_mpix_per_s": round(t.encode_rate, 3), "decode_mpix_per_s": round(t.decode_rate, 3)}
        for t in throughputs
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def describe(throughputs: Sequence[Throughput], shares: Sequence[Shares]) -> str:
    """Format the results as a text table."""
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
    """Measure one point, in a worker process."""
    loaded = open_codec(point.choice)
    codec = loaded.codec
    image = make_mosaic(photos, point.megapixels)
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
        bpp=metrics.bits_per_pixel(len(streams[0]), image.width, image.height),
        runs=min(len(encode_times), len(decode_times)),
        encode_seconds=statistics.median(encode_times),
        decode_seconds=statistics.median(decode_times),
        load_seconds=loaded.load_seconds,
        base_mib=base,
        encode_peak_mib=encode_peak,
        decode_peak_mib=decode_peak,
    )


def _shares(choice: Choice, photos: tuple[Photo, ...]) -> Shares:
    """Measure the stages of one model, in a worker process."""
    codec = open_codec(choice).codec
    image = make_mosaic(photos, BATCH_SIZE)
    with tempfile.TemporaryDirectory(prefix="vqcodec-speed-") as folder:
        path = Path(folder) / f"stream{codec.suffix}"
        path.write_bytes(codec.encode(image, codec.usual))  # this also warms up the codec
        codec.decode(path)
        return Shares(
            choice.name,
            stage_shares(lambda: codec.encode(image, codec.usual)),
            stage_shares(lambda: codec.decode(path)),
        )


def _repeat(work: Callable[[], T], runs: int) -> tuple[T, list[float], float]:
    """Repeat ``work``; return the last result, the seconds of every run, and peak memory in MiB."""
    reset_peak()
    times: list[float] = []
    while True:
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
        if len(times) == runs or sum(times) > _BUDGET:
            return result, times, memory("VmHWM")
