"""Two rate-distortion curves -> the Bjontegaard delta rate between them.

How many percent more bits (negative: fewer) a codec needs than the anchor for the same quality, averaged over the
qualities that both reach: Bjontegaard, VCEG-M33 (2001), with piecewise cubic (PCHIP) interpolation of log rate over
quality, by the ``bjontegaard`` package (Herglotz et al. 2022).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import bjontegaard
import numpy as np
from scipy.interpolate import PchipInterpolator

LEAST_POINTS = 2
"""Fewer points make no curve."""


@dataclass(frozen=True)
class Curve:
    """Points of a rate-distortion curve, by rising rate; better scores are larger and in dB."""

    bpp: tuple[float, ...]
    score: tuple[float, ...]

    @classmethod
    def through(cls, bpp: Sequence[float], score: Sequence[float]) -> "Curve":
        """The curve through points in any order.

        A point that costs more bits than another without being better is dropped: no function of quality goes
        through both.
        """
        kept: list[tuple[float, float]] = []
        for rate, value in sorted(zip(bpp, score, strict=True)):
            if not kept or value > kept[-1][1]:
                kept.append((rate, value))
        return cls(tuple(rate for rate, _ in kept), tuple(value for _, value in kept))

    def within(self, low: float, high: float) -> "Curve":
        """The curve from ``low`` to ``high`` bits per pixel, cut there (PCHIP over log rate) if it goes further."""
        kept = [(rate, value) for rate, value in zip(self.bpp, self.score, strict=True) if low < rate < high]
        if len(self.bpp) >= LEAST_POINTS:
            through = PchipInterpolator(np.log(self.bpp), self.score)
            ends = [rate for rate in (low, high) if self.bpp[0] <= rate <= self.bpp[-1]]
            kept += [(rate, float(through(math.log(rate)))) for rate in ends]
        return Curve(*zip(*sorted(kept), strict=True)) if kept else Curve((), ())


@dataclass(frozen=True)
class BdRate:
    """A delta rate and what it rests on."""

    percent: float | None
    """Bits relative to the anchor's, minus 100 %; None if the curves do not overlap."""
    overlap: tuple[float, float] | None
    """The range of scores, in dB, that the mean is taken over."""
    points: int
    """Points of the codec's curve, all of which shape the interpolation."""
    anchor_points: int
    """Points of the anchor's curve."""


def bd_rate(anchor: Curve, test: Curve) -> BdRate:
    """The delta rate of ``test`` relative to ``anchor`` over the whole range of scores that both reach."""
    points, anchor_points = len(test.bpp), len(anchor.bpp)
    if min(points, anchor_points) < LEAST_POINTS:
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
