"""Many pictures, some at a time: which of them go through the wavefronts together.

A group shares the steps of one walk, so it pays to have many pictures in it, of similar size.  What is done with a
group is the caller's business; here are its size, the order of the results, and that one bad item costs nobody else.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vqcodec.concurrency.threads import concurrently

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Result = TypeVar("Result")

GROUP_PIXELS = 3 << 19
"""Pixels that are coded at once, which bounds memory; a larger picture is a group of its own."""
WINDOW_PIXELS = 1 << 24
"""Pixels that are read ahead, to form groups of them."""
WINDOW_ITEMS = 256
_CELL = 16
"""Sizes count in cells of so many pixels, for small pictures are padded."""


@dataclass(frozen=True)
class Outcome(Generic[Prepared, Result]):
    """What became of one item: ``result``, or ``error``."""

    index: int
    prepared: Prepared | None = None
    result: Result | None = None
    error: Exception | None = None
    seconds: float = 0.0
    """Its share of the time, reading included."""


def in_groups(
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared],
    size: Callable[[Prepared], tuple[int, int]],
    work: Callable[[Sequence[Prepared]], Sequence[Result]],
    threads: int = 1,
) -> Iterator[Outcome[Prepared, Result]]:
    """Prepare each item and work on them group by group; the outcomes come in the order of the items.

    Args:
        items: may be endless; only a window of them is held at a time.
        prepare: reads one item.
        size: height and width in pixels of a prepared item.
        work: turns a group into results; where it fails, it is called again for each member alone.
        threads: how many groups may be worked on at once.
    """
    window: list[Outcome[Prepared, Result]] = []
    pixels = 0
    for index, item in enumerate(items):
        start = time.perf_counter()
        try:
            prepared = prepare(item)
            height, width = size(prepared)
        except Exception as error:
            window.append(Outcome(index, error=error))
        else:
            window.append(Outcome(index, prepared, seconds=time.perf_counter() - start))
            pixels += height * width
        if pixels >= WINDOW_PIXELS or len(window) == WINDOW_ITEMS:
            yield from _finish(window, size, work, threads)
            window, pixels = [], 0
    yield from _finish(window, size, work, threads)


def _finish(
    window: list[Outcome[Prepared, Result]],
    size: Callable[[Prepared], tuple[int, int]],
    work: Callable[[Sequence[Prepared]], Sequence[Result]],
    threads: int,
) -> Iterator[Outcome[Prepared, Result]]:
    waiting = {i: o.prepared for i, o in enumerate(window) if o.prepared is not None}
    done: dict[int, Outcome[Prepared, Result]] = {i: o for i, o in enumerate(window) if i not in waiting}
    places = list(waiting)
    following = 0
    groups = form_groups([size(waiting[i]) for i in places], threads)
    members = ([(places[i], window[places[i]]) for i in group] for group in groups)
    for outcomes in concurrently(lambda some: _work(some, work), members, min(threads, len(groups))):
        done |= outcomes
        while following in done:  # nobody waits for a result whose turn it is
            yield done.pop(following)
            following += 1
    for i in range(following, len(window)):
        yield done.pop(i)


def _work(
    group: list[tuple[int, Outcome[Prepared, Result]]],
    work: Callable[[Sequence[Prepared]], Sequence[Result]],
) -> dict[int, Outcome[Prepared, Result]]:
    """The outcomes of a group by their place in the window."""
    start = time.perf_counter()
    try:
        results = work([outcome.prepared for _, outcome in group if outcome.prepared is not None])
    except Exception as error:
        if len(group) == 1:
            ((place, outcome),) = group
            return {place: Outcome(outcome.index, outcome.prepared, error=error)}
        alone: dict[int, Outcome[Prepared, Result]] = {}
        for member in group:
            alone |= _work([member], work)
        return alone
    share = (time.perf_counter() - start) / len(group)
    return {
        place: Outcome(outcome.index, outcome.prepared, result, seconds=outcome.seconds + share)
        for (place, outcome), result in zip(group, results, strict=True)
    }


def form_groups(sizes: Sequence[tuple[int, int]], threads: int = 1) -> list[list[int]]:
    """Heights and widths in pixels -> groups of their numbers, each of similar widths and not too large.

    A walk lays its pictures on a strip as wide as the widest; at most half of it may be waste.  Each of several threads
    has a share of all pixels, in groups of about equal size, so that all are done at about the same time.
    """
    cells = [(-(-height // _CELL), -(-width // _CELL)) for height, width in sizes]
    share = sum(height * width for height, width in cells) / threads
    largest = share / max(1, math.ceil(share * _CELL**2 / GROUP_PIXELS))
    groups: list[list[int]] = []
    rows = area = 0
    for i in sorted(range(len(cells)), key=lambda i: cells[i][::-1]):
        height, width = cells[i]
        rows, area = rows + height, area + height * width
        if not groups or area > largest or rows * width > 2 * area:
            groups.append([])
            rows, area = height, height * width
        groups[-1].append(i)
    return groups
