"""Cost of a large collection: processor time and memory of one single-core worker of ``vqcodec batch``.

Times are processor seconds (user and system), not wall-clock, so that other load on the machine matters little.
"""

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.rd.datasets import Photo
from benchmarks.timing.memory import memory, reset_peak
from benchmarks.timing.mosaics import make_mosaic
from benchmarks.workers import worker_pool
from vqcodec import Codec

_COLLECTION = 10_000_000
_TURN = 16
_TURN_MEGAPIXELS = 12
"""A worker gets 16 pictures at a time; of large pictures, fewer are measured, with at most as many pixels in total."""


@dataclass(frozen=True)
class Cost:
    """Cost of one picture."""

    megapixels: float
    effort: int
    pictures: int
    """Number of pictures measured."""
    seconds: float
    """Processor seconds per picture: reading a JPEG and encoding, without writing."""
    load_seconds: float
    base_mib: float
    """Resident memory with the weights loaded."""
    peak_mib: float

    @property
    def core_hours(self) -> float:
        """Core-hours for ten million such pictures."""
        return self.seconds * _COLLECTION / 3600


def measure(photos: Sequence[Photo], sizes: Sequence[float], effort: int) -> Iterator[Cost]:
    """Measure each size, in megapixels, in a process of its own."""
    for size in sizes:
        with worker_pool(1, threads=1) as pool:
            yield pool.submit(_measure, tuple(photos), size, effort).result()


def describe(costs: Sequence[Cost]) -> str:
    """Format the costs as a text table."""
    lines = ["   MPix  effort  CPU s/image  images/core-hour   base MiB   peak MiB  core-hours for 10 million"]
    for cost in costs:
        lines.append(
            f"{cost.megapixels:7.2f} {cost.effort:7} {cost.seconds:12.2f} {3600 / cost.seconds:17.0f} "
            f"{cost.base_mib:10.0f} {cost.peak_mib:10.0f} {cost.core_hours:26,.0f}"
        )
    return "\n".join(lines)


def _measure(photos: tuple[Photo, ...], megapixels: float, effort: int) -> Cost:
    """Measure one size, in a worker process."""
    file = io.BytesIO()
    make_mosaic(photos, megapixels).save(file, "JPEG", quality=92)
    count = max(1, min(_TURN, round(_TURN_MEGAPIXELS / megapixels)))
    start = time.process_time()
    codec = Codec(device="cpu")
    load_seconds = time.process_time() - start
    codec.encode(photos[0].load().resize((64, 64)), effort=effort)  # the first call has set-up costs
    reset_peak()
    base = memory("VmRSS")
    start = time.process_time()
    for result in codec.encode_batch((io.BytesIO(file.getvalue()) for _ in range(count)), effort=effort, max_pixels=0):
        if result.error:
            raise result.error
    seconds = (time.process_time() - start) / count
    return Cost(megapixels, effort, count, seconds, load_seconds, base, memory("VmHWM"))
