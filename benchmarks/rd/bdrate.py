"""Bjontegaard delta rate (BD-rate) between two rate-distortion curves.

The BD-rate is the percentage of bits that a codec needs more (negative: fewer) than the anchor for the same quality,
averaged over the qualities that both reach: Bjontegaard, VCEG-M33 (2001), with piecewise cubic (PCHIP) interpolation of
log rate over quality, by the ``bjontegaard`` package (Herglotz et al. 2022).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import bjontegaard
import numpy as np
from scipy.interpolate import PchipInterpolator

MIN_POINTS = 2
"""Fewest points of a curve that can be interpolated."""


@dataclass(frozen=True)
class Curve:
    """A rate-distortion curve: points of strictly rising rate and score."""

    bpp: tuple[float, ...]
    """Bits per pixel."""
    score: tuple[float, ...]
    """Quality in dB; larger is better."""

    @classmethod
    def through(cls, bpp: Sequence[float], score: Sequence[float]) -> "Curve":
        """Return the curve through points in any order.

        A point that costs more bits than another without a better score is dropped: rate would not be a function of
        quality.
        """
        kept: list[tuple[float, float]] = []
        for rate, value in sorted(zip(bpp, score, strict=True)):
            if not kept or value > kept[-1][1]:
                kept.append((rate, value))
        return cls(tuple(rate for rate, _ in kept), tuple(value for _, value in kept))

    def within(self, low: float, high: float) -> "Curve":
        """Return the part of the curve from ``low`` to ``high`` bpp, cut there by PCHIP over log rate."""
        kept = [(rate, value) for rate, value in zip(self.bpp, self.score, strict=True) if low < rate < high]
        if len(self.bpp) >= MIN_POINTS:
            through = PchipInterpolator(np.log(self.bpp), self.score)
            ends = [rate for rate in (low, high) if self.bpp[0] <= rate <= self.bpp[-1]]
            kept += [(rate, float(through(math.log(rate)))) for rate in ends]
        return Curve(*zip(*sorted(kept), strict=True)) if kept else Curve((), ())

    def excess(self, bpp: float, score: float) -> float | None:
        """Return how many bits more than this curve a point takes at its score, in percent; None outside the curve."""
        if len(self.bpp) < MIN_POINTS or not self.score[0] <= score <= self.score[-1]:
            return None
        known = float(PchipInterpolator(self.score, np.log(self.bpp))(score))
        return 100 * (bpp / math.exp(known) - 1)


@dataclass(frozen=True)
class BdRate:
    """A BD-rate, with the range and the points that it is computed from."""

    percent: float | None
    """Bits more than the anchor's, in percent; None if the curves do not overlap."""
    overlap: tuple[float, float] | None
    """Range of scores in dB that both curves reach."""
    points: int
    """Points of the codec's curve."""
    anchor_points: int
    """Points of the anchor's curve."""


def bd_rate(anchor: Curve, test: Curve) -> BdRate:
    """Return the BD-rate of ``test`` relative to ``anchor`` over all scores that both reach."""
    points, anchor_points = len(test.bpp), len(anchor.bpp)
    if min(points, anchor_points) < MIN_POINTS:
        return BdRate(None, None, points, anchor_points)
    low, high = max(anchor.score[0], test.score[0]), min(anchor.score[-1], test.score[-1])
    if low >= high:
        return BdRate(None, None, points, anchor_points)
    percent = bjontegaard.bd_rate(
        anchor.bpp,
        anchor.score,
        test.bpp,
        test.score,
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    return BdRate(float(percent), (low, high), points, anchor_points)
