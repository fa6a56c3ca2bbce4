"""Encode a picture so that it meets a goal: as indices at the quality that ``rate_control.py`` finds, or exactly."""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from vqcodec import defaults, metrics
from vqcodec.codec.choice import store_exactly
from vqcodec.codec.drawn import looks_drawn
from vqcodec.codec.encoder import Coded
from vqcodec.codec.rate_control import Goal, search
from vqcodec.codec.results import Reached
from vqcodec.config import QUALITY_STEPS, quality_of
from vqcodec.errors import GoalOutOfReach
from vqcodec.images.reading import Picture, Pixels
from vqcodec.stream.container import BEST_QUALITY, Section


def encode_to_goal(
    picture: Picture,
    extras: Sequence[Section],
    goal: Goal,
    effort: int,
    lossless: bool | None,
    encode: Callable[[int, int], Coded],
    decoded: Callable[[Coded], Pixels],
) -> Reached:
    """Return the stream that comes nearest to a goal.

    Args:
        picture: what to encode.
        extras: its sections of alpha and metadata.
        goal: size, rate or PSNR.
        effort: the encoder's.
        lossless: True allows exact pixels only, False indices only.
        encode: returns the stream of indices at a quality step, with an effort.
        decoded: returns the colours (H, W, 3) that indices decode to.

    Raises :class:`GoalOutOfReach`.
    """
    by_rate = goal.kind != "psnr"
    exact: Reached | None = None
    if lossless or (lossless is None and looks_drawn(picture)):
        data = store_exactly(picture, extras, effort)
        value = _rate(goal, picture, data) if by_rate else math.inf
        exact = Reached(data, quality_of(BEST_QUALITY), value, 1, picture.remarks)
        if goal.miss(exact.value) <= 1 if by_rate else lossless:
            return exact
        if lossless:
            raise GoalOutOfReach(f"cannot reach {goal}: the exact picture takes {goal.format(exact.value)}")
    trials = _Trials(picture, goal, encode, decoded)
    try:
        indexed = trials.search(effort)
    except GoalOutOfReach:
        if exact is None or by_rate or max(trials.values.values()) > goal.value:
            raise
        return replace(exact, trials=trials.count)
    too_coarse = not by_rate and goal.miss(indexed.value) < -1
    if exact is not None and (too_coarse or len(exact.data) <= len(indexed.data)):
        return replace(exact, trials=trials.count)
    return indexed


class _Trials:
    """The streams of indices that a search tries."""

    def __init__(
        self,
        picture: Picture,
        goal: Goal,
        encode: Callable[[int, int], Coded],
        decoded: Callable[[Coded], Pixels],
    ):
        self._picture, self._goal, self._encode, self._decoded = picture, goal, encode, decoded
        self._streams: dict[int, bytes] = {}
        self.values: dict[int, float] = {}
        """What the steps reach that were tried with the effort that counts."""
        self.count = 0
        """Number of streams that were made."""

    def search(self, effort: int) -> Reached:
        """Return the best stream with an effort; a high effort only tries what a low one finds near the goal.

        Raises :class:`GoalOutOfReach`.
        """
        first = QUALITY_STEPS // 2
        if effort > defaults.EFFORT:
            with contextlib.suppress(GoalOutOfReach):
                search(self._goal, partial(self._measure, defaults.EFFORT))
            first = min(self.values, key=lambda step: abs(self._goal.miss(self.values[step])))
            self.values.clear()
        found = search(self._goal, partial(self._measure, effort), first)
        data = self._streams[found.step]
        return Reached(data, quality_of(found.step), found.reached, self.count, self._picture.remarks)

    def _measure(self, effort: int, step: int) -> float:
        coded = self._encode(step, effort)
        self.count += 1
        self._streams[step] = coded.data
        if self._goal.kind == "psnr":
            self.values[step] = metrics.psnr(self._picture.pixels, self._decoded(coded))
        else:
            self.values[step] = _rate(self._goal, self._picture, coded.data)
        return self.values[step]


def _rate(goal: Goal, picture: Picture, data: bytes) -> float:
    """Return the size of a stream in the unit of a goal: bytes, or bits per pixel."""
    height, width = picture.pixels.shape[:2]
    return len(data) if goal.kind == "size" else metrics.bits_per_pixel(len(data), width, height)
