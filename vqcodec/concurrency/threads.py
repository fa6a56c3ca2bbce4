"""Several pieces of work at once, in threads of this process.

Nearly all of a walk's time is spent inside numpy and torch, which let other threads run meanwhile.  Where several
threads work, each gets its share of the cores for what torch does: more would only wait for each other.  numpy's matrix
products, which are small, keep to the thread that asks for them: what helpers would save, they take from torch's
threads afterwards, waiting for more at full speed.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np  # noqa: F401 (loaded before its thread pool is looked for)
import torch
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 4
"""More threads would wait for the interpreter, which runs one at a time; processes are for that many cores."""

_pools = ThreadpoolController()


def available() -> int:
    """How many threads are worth while here: as many as torch is told to use, up to a limit."""
    return min(_MOST, torch.get_num_threads())


def restrict(threads: int) -> None:
    """Keep what torch and numpy do in this process to so many threads."""
    torch.set_num_threads(threads)
    _pools.limit(limits=threads, user_api="blas")


def concurrently(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """What ``work`` makes of every item, in order; no more items are taken ahead than threads are there.

    Until the last result was taken, or the iterator closed, the limit of numpy's matrix products holds for the caller,
    too.  (Set for each item, in the threads, it gets lost: batches took 1.5 times as long.)
    """
    if threads <= 1:
        with _blas.held_to_one():
            yield from map(work, items)
        return
    share = max(1, torch.get_num_threads() // threads)
    with _blas.held_to_one(), ThreadPoolExecutor(threads, initializer=_start, initargs=(share,)) as pool:
        ahead: deque[Future[Result]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _start(share: int) -> None:
    torch.get_num_threads()  # makes torch set up this thread, which would undo the next line later
    _pools.limit(limits=share, user_api="openmp")  # of this thread alone, unlike torch.set_num_threads


class _Blas:
    """The limit of numpy's matrix products, which all callers of this process share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0

    @contextmanager
    def held_to_one(self) -> Iterator[None]:
        """Inside, each product runs on one thread."""
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._limit = _pools.limit(limits=1, user_api="blas")
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._limit.restore_original_limits()


_blas = _Blas()
