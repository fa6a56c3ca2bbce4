"""Compare two results, which may be any JSON files in CompressAI's schema.

For example a training run with the shipped model, or a model with a published curve.  Times and BD-rates per picture
are given if both files have them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.rd.bdrate import BdRate, bd_rate
from benchmarks.rd.results import DIRECTIONS, METRICS, PSNR, Result


@dataclass(frozen=True)
class Change:
    """Change from result A to result B."""

    before: str
    after: str
    bd_rates: dict[str, BdRate]
    """BD-rate of B relative to A, by metric."""
    images: dict[str, float]
    """BD-rate (PSNR) in percent by picture, sorted from best to worst for B."""
    seconds: dict[str, tuple[float, float]]
    """Median seconds of A and of B, for ``encoding`` and ``decoding``."""


def compare(before: Result, after: Result) -> Change:
    """Compare all that both results have."""
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
    seconds: dict[str, tuple[float, float]] = {
        direction: (before.median_time(direction), after.median_time(direction))
        for direction in DIRECTIONS
        if all(f"{direction}_time" in result.results for result in (before, after))
    }
    ranked = dict(sorted(images.items(), key=lambda item: item[1]))
    return Change(_title(before), _title(after), bd_rates, ranked, seconds)


def describe(change: Change, shown: int = 3) -> str:
    """Format the change as text, with the ``shown`` best and worst pictures."""
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
    """Return the first and the last ``count`` items."""
    return items if len(items) <= 2 * count else [*items[:count], *items[-count:]]


def _title(result: Result) -> str:
    return f"{result.name}: {result.description}" if result.description else result.name
