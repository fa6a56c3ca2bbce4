"""Two results -> what changed from the first to the second.

Any two JSON files in CompressAI's schema, so that a training run can be judged against the shipped model, or a model
against a published curve.  Details per picture and times are given where both files have them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bdrate import BdRate, bd_rate
from benchmarks.results import METRICS, PSNR, Result
from benchmarks.summary import median_time


@dataclass(frozen=True)
class Change:
    """From result A to result B."""

    before: str
    after: str
    bd_rates: dict[str, BdRate]
    """Metric -> B's BD-rate relative to A."""
    images: dict[str, float]
    """Picture -> BD-rate (PSNR) in percent, from the best to the worst for B."""
    seconds: dict[str, tuple[float, float]]
    """``encoding`` and ``decoding`` -> median seconds of A and of B."""


def compare(before: Result, after: Result) -> Change:
    """What changed, in all that both results have."""
    bd_rates = {}
    for metric in METRICS:
        old, new = before.curve(metric), after.curve(metric)
        if old is not None and new is not None:
            bd_rates[metric.key] = bd_rate(old, new)
    images = {}
    for image in before.per_image.keys() & after.per_image.keys():
        old, new = before.image_curve(image, PSNR), after.image_curve(image, PSNR)
        if old is not None and new is not None:
            percent = bd_rate(old, new).percent
            if percent is not None:
                images[image] = percent
    seconds = {
        direction: (median_time(before, direction), median_time(after, direction))
        for direction in ("encoding", "decoding")
        if all(f"{direction}_time" in result.results for result in (before, after))
    }
    ranked = dict(sorted(images.items(), key=lambda item: item[1]))
    return Change(_title(before), _title(after), bd_rates, ranked, seconds)


def describe(change: Change, shown: int = 3) -> str:
    """Lines for people; ``shown`` pictures from either end."""
    lines = [f"A: {change.before}", f"B: {change.after}", "", "BD-rate of B relative to A (negative: B is smaller)"]
    for key, rating in change.bd_rates.items():
        if rating.percent is None or rating.overlap is None:
            lines.append(f"  {key:12}  the curves do not overlap")
        else:
            low, high = rating.overlap
            points = f"{rating.anchor_points} and {rating.points} points"
            lines.append(f"  {key:12} {rating.percent:+7.2f} %   over {low:.2f} to {high:.2f} dB, {points}")
    if change.images:
        better = sum(percent < 0 for percent in change.images.values())
        lines += ["", f"pictures (psnr-rgb): B is smaller for {better} of {len(change.images)}"]
        lines += [f"  {percent:+7.2f} %  {image}" for image, percent in _ends(list(change.images.items()), shown)]
    if change.seconds:
        lines += ["", "seconds per picture, median over qualities"]
        lines += [f"  {name:9} {old:.3f} -> {new:.3f}" for name, (old, new) in change.seconds.items()]
    return "\n".join(lines)


def _ends(items: Sequence[tuple[str, float]], count: int) -> Sequence[tuple[str, float]]:
    """The first and the last ``count``."""
    return items if len(items) <= 2 * count else [*items[:count], *items[-count:]]


def _title(result: Result) -> str:
    return f"{result.name}: {result.description}" if result.description else result.name
