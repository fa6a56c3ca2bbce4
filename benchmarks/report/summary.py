"""BD-rates of every codec against JPEG, and the file summary.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.rd.bdrate import BdRate, bd_rate
from benchmarks.rd.results import MS_SSIM, PSNR, Metric, Result

RATED = (PSNR, MS_SSIM)
"""Metrics with BD-rates."""


@dataclass(frozen=True)
class Rating:
    """BD-rate of one codec against the anchor in one metric."""

    codec: str
    metric: str
    bpp_range: tuple[float, float] | None
    """Range in bpp that both curves are cut to; None for the whole curves."""
    bd_rate: BdRate


@dataclass(frozen=True)
class Summary:
    """The numbers of a report."""

    dataset: str
    images: int
    command: str
    anchor: str
    ratings: tuple[Rating, ...]
    left_out: Mapping[str, str]
    """Name of each codec or picture that was not measured, and the reason."""
    environment: Mapping[str, Any]

    def rating(self, codec: str, metric: Metric, *, in_range: bool = False) -> BdRate | None:
        """Return a BD-rate, over the whole overlap or within :attr:`bpp_range`; None if there is none."""
        for rating in self.ratings:
            if (rating.codec, rating.metric, rating.bpp_range is not None) == (codec, metric.key, in_range):
                return rating.bd_rate
        return None

    @property
    def bpp_range(self) -> tuple[float, float] | None:
        """Range in bpp that some BD-rates are restricted to."""
        return next((rating.bpp_range for rating in self.ratings if rating.bpp_range), None)

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def rate(results: Mapping[str, Result], anchor: str, bpp_range: tuple[float, float] | None) -> tuple[Rating, ...]:
    """Compute the BD-rates of all codecs but the anchor."""
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
    """Return the BD-rate against the anchor in percent for each picture, sorted from best to worst."""
    rates = {}
    for image in result.per_image:
        ours, theirs = result.image_curve(image, metric), anchor.image_curve(image, metric)
        if ours is not None and theirs is not None:
            percent = bd_rate(theirs, ours).percent
            if percent is not None:
                rates[image] = percent
    return dict(sorted(rates.items(), key=lambda item: item[1]))


def percent(rating: BdRate | None) -> str:
    """Format a BD-rate, such as ``-34.1 %``; a dash if the curves do not overlap."""
    return "-" if rating is None or rating.percent is None else f"{rating.percent:+.1f} %"
