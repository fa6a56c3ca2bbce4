"""Results -> summary.json: every BD-rate against JPEG, what it rests on, and the times."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bdrate import BdRate, bd_rate
from benchmarks.results import MS_SSIM, PSNR, Metric, Result

RATED = (PSNR, MS_SSIM)
"""The metrics that BD-rates are given for."""


@dataclass(frozen=True)
class Rating:
    """One codec against the anchor in one metric."""

    codec: str
    metric: str
    bpp_range: tuple[float, float] | None
    """Only points of these rates count, on both curves; None: all points."""
    bd_rate: BdRate


@dataclass(frozen=True)
class Summary:
    """What a report says in numbers."""

    dataset: str
    images: int
    command: str
    anchor: str
    ratings: tuple[Rating, ...]
    left_out: Mapping[str, str]
    """Codec or picture -> why it was not measured."""
    environment: Mapping[str, Any]

    def rating(self, codec: str, metric: Metric, *, in_range: bool = False) -> BdRate | None:
        """The BD-rate over the whole overlap, or within the range of rates; None if there is none."""
        for rating in self.ratings:
            if (rating.codec, rating.metric, rating.bpp_range is not None) == (codec, metric.key, in_range):
                return rating.bd_rate
        return None

    @property
    def bpp_range(self) -> tuple[float, float] | None:
        """The range of rates that some BD-rates are restricted to."""
        return next((rating.bpp_range for rating in self.ratings if rating.bpp_range), None)

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def rate(results: Mapping[str, Result], anchor: str, bpp_range: tuple[float, float] | None) -> tuple[Rating, ...]:
    """Every other codec against the anchor."""
    ratings = []
    for codec, result in results.items():
        if codec == anchor:
            continue
        for metric in RATED:
            ours, theirs = result.curve(metric), results[anchor].curve(metric)
            if ours is None or theirs is None:
                continue
            ratings.append(Rating(codec, metric.key, None, bd_rate(theirs, ours)))
            if bpp_range:
                restricted = bd_rate(theirs.within(*bpp_range), ours.within(*bpp_range))
                ratings.append(Rating(codec, metric.key, bpp_range, restricted))
    return tuple(ratings)


def rate_images(result: Result, anchor: Result, metric: Metric = PSNR) -> dict[str, float]:
    """Picture -> BD-rate against the anchor in percent, from where the codec does best to where it does worst."""
    rates = {}
    for image in result.per_image:
        ours, theirs = result.image_curve(image, metric), anchor.image_curve(image, metric)
        if ours is not None and theirs is not None:
            percent = bd_rate(theirs, ours).percent
            if percent is not None:
                rates[image] = percent
    return dict(sorted(rates.items(), key=lambda item: item[1]))


def median_time(result: Result, direction: str) -> float:
    """Seconds for a picture, the median over the qualities; ``direction`` is ``encoding`` or ``decoding``."""
    values: Sequence[float] = sorted(result.results[f"{direction}_time"])
    return values[len(values) // 2]


def percent(rating: BdRate | None) -> str:
    """``-34.1 %``, or a dash where there is no overlap."""
    return "-" if rating is None or rating.percent is None else f"{rating.percent:+.1f} %"
