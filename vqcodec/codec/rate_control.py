"""Search the quality step that meets a goal for size or PSNR.  The caller supplies the measurement of a step."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vqcodec.config import QUALITY_STEPS, quality_of
from vqcodec.errors import GoalOutOfReach, InvalidQuality

MAX_TRIALS = 8
_LAST = QUALITY_STEPS - 1
_USUAL_RISE = 0.6
"""First guess of how many tolerances a step changes the measure by: about 1.2 % of size, 0.06 dB."""


@dataclass(frozen=True)
class Goal:
    """A target for a stream: bits per pixel, bytes, or PSNR in dB.  Raises :class:`InvalidQuality`."""

    kind: Literal["bpp", "size", "psnr"]
    value: float

    def __post_init__(self) -> None:
        if self.kind not in ("bpp", "size", "psnr") or not math.isfinite(self.value):
            raise InvalidQuality(f"goal must be a finite 'bpp', 'size' or 'psnr', not {self.kind!r} {self.value}")

    def __str__(self) -> str:
        return self.format(self.value)

    def format(self, value: float) -> str:
        """Format a value of this kind with its unit."""
        return {"bpp": f"{value:.3f} bpp", "size": f"{value:.0f} bytes", "psnr": f"{value:.2f} dB"}[self.kind]

    def miss(self, reached: float) -> float:
        """Return the distance to the goal in tolerances (2 % of a size, 0.1 dB of PSNR); negative below the goal."""
        if self.kind == "psnr":
            return (reached - self.value) / 0.1
        return math.log(reached / self.value) / math.log(1.02) if self.value > 0 else math.inf


@dataclass(frozen=True)
class Found:
    """The best of the steps that were tried."""

    step: int
    reached: float
    trials: int


def search(goal: Goal, measure: Callable[[int], float], first: int = QUALITY_STEPS // 2) -> Found:
    """Return the step whose measure is nearest to the goal, after at most :data:`MAX_TRIALS` measurements.

    ``first`` is measured first.  ``measure`` should rise with the step.  Where a single step changes it by more than
    two tolerances, the result may miss the goal.

    Raises:
        GoalOutOfReach: if even the lowest or the highest step misses it.
    """
    values: dict[int, float] = {}
    misses: dict[int, float] = {}
    step: int | None = first
    while step is not None and len(values) < MAX_TRIALS:
        values[step] = measure(step)
        misses[step] = goal.miss(values[step])
        if abs(misses[step]) <= 0.5:
            break
        step = _next(misses)
    best = min(misses, key=lambda s: abs(misses[s]))
    too_much = all(miss > 0 for miss in misses.values())
    too_little = all(miss < 0 for miss in misses.values())
    if abs(misses[best]) > 1 and ((too_much and 0 in misses) or (too_little and _LAST in misses)):
        best = best if math.isfinite(misses[best]) else 0
        raise GoalOutOfReach(f"cannot reach {goal}: quality {quality_of(best):g} gives {goal.format(values[best])}")
    return Found(best, values[best], len(values))


def _next(misses: dict[int, float]) -> int | None:
    """Return a step between the nearest ones on both sides of the goal, or beyond the only side, if any is left."""
    low = max((s for s in misses if misses[s] < 0), default=None)
    high = min((s for s in misses if misses[s] > 0), default=None)
    if low is None or high is None:
        edge, end = (low, _LAST) if high is None else (high, 0)
        if edge is None or edge == end:
            return None
        other = min((s for s in misses if s != edge), key=lambda s: abs(s - edge), default=None)
        rise = _USUAL_RISE if other is None else (misses[edge] - misses[other]) / (edge - other)
        if not 0 < rise < math.inf:
            rise = _USUAL_RISE
        reach = math.ceil(min(1.2 * abs(misses[edge]) / rise, QUALITY_STEPS))  # a little further, to bracket the goal
        return min(edge + reach, end) if end else max(edge - reach, end)
    if high - low <= 1:
        return None
    share = -misses[low] / (misses[high] - misses[low])
    inner = (0.1, 0.9) if math.isfinite(misses[high] - misses[low]) else (0.5, 0.5)
    guess = low + (high - low) * min(max(share, inner[0]), inner[1])
    return min(max(round(guess), low + 1), high - 1)
