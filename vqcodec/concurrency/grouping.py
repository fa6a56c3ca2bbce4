"""Process many pictures in groups of similar size.

The pictures of a group share the steps of one wavefront traversal, so larger groups of similar pictures are faster.
This module chooses the groups and keeps the order; an item that fails does not affect the others.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vqcodec.concurrency.threads import map_in_threads

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Result = TypeVar("Result")

GROUP_PIXELS = 3 << 19
"""Pixels of a group, which bounds memory.  A larger picture is a group of its own."""
WINDOW_PIXELS = 1 << 24
"""Pixels that are read ahead before groups are formed."""
WINDOW_ITEMS = 256
"""Items that are read ahead before groups are formed."""
_CELL = 16
"""Pixels along each side of a cell.  Sizes are counted in cells, because small pictures are padded."""


@dataclass(frozen=True)
class Outcome(Generic[Prepared, Result]):
    """Outcome of one item: ``result``, or ``error``."""

    index: int
    prepared: Prepared | None = None
    result: Result | None = None
    error: Exception | None = None
    seconds: float = 0.0
    """Share of the group's time, plus the time to prepare the item."""


def map_in_groups(
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared],
    size: Callable[[Prepared], tuple[int, int]],
    work: Callable[[Sequence[Prepared]], Sequence[Result]],
    threads: int = 1,
) -> Iterator[Outcome[Prepared, Result]]:
    """Prepare each item, process the items in groups and yield the outcomes in order.

    Args:
        items: may be endless; only a window of them is held at a time.
        prepare: reads one item.
        size: returns height and width of a prepared item in pixels.
        work: turns a group into results; if it raises, it is called again for each member alone.
        threads: how many groups may be processed at once.
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
            yield from _process_window(window, size, work, threads)
            window, pixels = [], 0
    yield from _process_window(window, size, work, threads)


def _process_window(
    window: list[Outcome[Prepared, Result]],
    size: Callable[[Prepared], tuple[int, int]],
    work: Callable[[Sequence[Prepared]], Sequence[Result]],
    threads: int,
) -> Iterator[Outcome[Prepared, Result]]:
    waiting = {i: o.prepared for i, o in enumerate(window) if o.prepared is not None}
    done: dict[int, Outcome[Prepared, Result]] = {i: o for i, o in enumerate(window) if i not in waiting}
    positions = list(waiting)
    following = 0
    groups = form_groups([size(waiting[i]) for i in positions], threads)
    members = ([(positions[i], window[positions[i]]) for i in group] for group in groups)
    for outcomes in map_in_threads(lambda group: _process_group(group, work), members, min(threads, len(groups))):
        done |= outcomes
        while following in done:  # yield each result as soon as it is next in order
            yield done.pop(following)
            following += 1
    for i in range(following, len(window)):
        yield done.pop(i)


def _process_group(
    group: list[tuple[int, Outcome[Prepared, Result]]],
    work: Callable[[Sequence[Prepared]], Sequence[Result]],
) -> dict[int, Outcome[Prepared, Result]]:
    """Return the outcomes of a group by their position in the window."""
    start = time.perf_counter()
    try:
        results = work([outcome.prepared for _, outcome in group if outcome.prepared is not None])
    except Exception as error:
        if len(group) == 1:
            ((position, outcome),) = group
            return {position: Outcome(outcome.index, outcome.prepared, error=error)}
        separate: dict[int, Outcome[Prepared, Result]] = {}
        for member in group:
            separate |= _process_group([member], work)
        return separate
    share = (time.perf_counter() - start) / len(group)
    return {
        position: Outcome(outcome.index, outcome.prepared, result, seconds=outcome.seconds + share)
        for (position, outcome), result in zip(group, results, strict=True)
    }


def form_groups(sizes: Sequence[tuple[int, int]], threads: int = 1) -> list[list[int]]:
    """Divide pictures into groups of similar width and bounded size.

    A traversal places the pictures of a group on a strip as wide as the widest; at most half of the strip may be
    unused.  With several threads, the groups are about equally large, so that all threads finish together.

    Args:
        sizes: height and width of each picture in pixels.
        threads: how many groups are processed at once.

    Returns:
        Indices into ``sizes``, one list per group.
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
