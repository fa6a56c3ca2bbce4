"""Accuracy of ``--target-bpp``, ``--target-size`` and ``--target-psnr``, and the encodes that they take."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.rd.datasets import Photo
from vqcodec import Codec, Goal, VqcError

_BPP = (0.25, 0.5, 1.0)
_BYTES = (5_000, 15_000, 40_000)
_PSNR = (30.0, 34.0, 38.0)
GOALS = (
    *(Goal("bpp", value) for value in _BPP),
    *(Goal("size", value) for value in _BYTES),
    *(Goal("psnr", value) for value in _PSNR),
)


@dataclass(frozen=True)
class Attempt:
    """Result of one goal on one photo."""

    goal: Goal
    photo: str
    miss: float | None
    """Distance from the goal in tolerances (2 % or 0.1 dB); None if the codec cannot reach the goal."""
    trials: int = 0
    """Number of encodes."""


def measure(codec: Codec, photos: Sequence[Photo], goals: Sequence[Goal] = GOALS) -> Iterator[Attempt]:
    """Encode every photo to every goal."""
    for photo in photos:
        image = photo.load()
        for goal in goals:
            try:
                reached = codec.encode_to_goal(image, goal)
            except VqcError:
                yield Attempt(goal, photo.name, None)
            else:
                yield Attempt(goal, photo.name, abs(goal.miss(reached.value)), reached.trials)


def describe(attempts: Sequence[Attempt]) -> str:
    """Format the results as a Markdown table with a row for each goal."""
    rows = [
        "| goal | photos | out of reach | worst miss, in tolerances | encodes, mean | most |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for goal in dict.fromkeys(a.goal for a in attempts):
        own = [a for a in attempts if a.goal == goal]
        reached = [(a.miss, a.trials) for a in own if a.miss is not None]
        cells = [str(goal), str(len(own)), str(len(own) - len(reached))]
        if reached:
            misses, trials = zip(*reached, strict=True)
            cells += [f"{max(misses):.2f}", f"{statistics.mean(trials):.1f}", str(max(trials))]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
