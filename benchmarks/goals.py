"""How near ``--target-bpp``, ``--target-size`` and ``--target-psnr`` come, and after how many encodes."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.datasets import Photo
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
class Approach:
    """What became of one goal for one photo."""

    goal: Goal
    photo: str
    miss: float | None
    """In tolerances, 2 % or 0.1 dB; None if the codec says that the goal is out of reach."""
    trials: int = 0


def measure(codec: Codec, photos: Sequence[Photo], goals: Sequence[Goal] = GOALS) -> Iterator[Approach]:
    """Every goal for every photo."""
    for photo in photos:
        image = photo.load()
        for goal in goals:
            try:
                reached = codec.encode_to_goal(image, goal)
            except VqcError:
                yield Approach(goal, photo.name, None)
            else:
                yield Approach(goal, photo.name, abs(goal.miss(reached.value)), reached.trials)


def describe(approaches: Sequence[Approach]) -> str:
    """A table in Markdown, a row for each goal."""
    rows = [
        "| goal | photos | out of reach | worst miss, in tolerances | encodes, mean | most |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for goal in dict.fromkeys(a.goal for a in approaches):
        own = [a for a in approaches if a.goal == goal]
        reached = [(a.miss, a.trials) for a in own if a.miss is not None]
        cells = [str(goal), str(len(own)), str(len(own) - len(reached))]
        if reached:
            misses, trials = zip(*reached, strict=True)
            cells += [f"{max(misses):.2f}", f"{statistics.mean(trials):.1f}", str(max(trials))]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
