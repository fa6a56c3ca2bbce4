"""What a collection costs: processor time and memory of one worker with one core, as ``vqcodec batch`` has them.

Processor seconds (user and system), not wall-clock: they hold on a machine that has other things to do, too.
"""

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.datasets import Photo
from benchmarks.speed import make_picture, memory, reset_peak
from benchmarks.workers import worker_pool
from vqcodec import Codec

_COLLECTION = 10_000_000
_TURN = 16
_TURN_MEGAPIXELS = 12
"""A worker is given 16 pictures at a time; of large ones so few are measured that they have as many pixels."""


@dataclass(frozen=True)
class Cost:
    """Of one picture in a turn."""

    megapixels: float
    effort: int
    pictures: int
    """In the turn that was measured."""
    seconds: float
    """Of one core's time for each picture: reading a JPEG, encoding, no writing."""
    load_seconds: float
    base_mib: float
    """Resident memory with the weights loaded."""
    peak_mib: float

    @property
    def core_hours(self) -> float:
        """For ten million such pictures."""
        return self.seconds * _COLLECTION / 3600


def measure(photos: Sequence[Photo], sizes: Sequence[float], effort: int) -> Iterator[Cost]:
    """Each size, in megapixels, in a process of its own."""
    for size in sizes:
        with worker_pool(1, threads=1) as pool:
            yield pool.submit(_measure, tuple(photos), size, effort).result()


def describe(costs: Sequence[Cost]) -> str:
    """A table for people."""
    lines = ["   MPix  effort  CPU s/image  images/core-hour   base MiB   peak MiB  core-hours for 10 million"]
    for cost in costs:
        lines.append(
            f"{cost.megapixels:7.2f} {cost.effort:7} {cost.seconds:12.2f} {3600 / cost.seconds:17.0f} "
            f"{cost.base_mib:10.0f} {cost.peak_mib:10.0f} {cost.core_hours:26,.0f}"
        )
    return "\n".join(lines)


def _measure(photos: tuple[Photo, ...], megapixels: float, effort: int) -> Cost:
    """In a process of its own."""
    file = io.BytesIO()
    make_picture(photos, megapixels).save(file, "JPEG", quality=92)
    count = max(1, min(_TURN, round(_TURN_MEGAPIXELS / megapixels)))
    start = time.process_time()
    codec = Codec(device="cpu")
    load_seconds = time.process_time() - start
    codec.encode(photos[0].load().resize((64, 64)), effort=effort)  # the first call sets things up
    reset_peak()
    base = memory("VmRSS")
    start = time.process_time()
    for result in codec.encode_batch((io.BytesIO(file.getvalue()) for _ in range(count)), effort=effort, max_pixels=0):
        if result.error:
            raise result.error
    seconds = (time.process_time() - start) / count
    return Cost(megapixels, effort, count, seconds, load_seconds, base, memory("VmHWM"))
