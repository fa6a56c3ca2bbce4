"""Map a function over items in several threads of this process.

Most of the time is spent inside numpy and torch, which release the interpreter lock.  Each of several threads gets an
equal share of torch's threads, because more would only wait for each other.  numpy's matrix products are small and run
on the calling thread only: BLAS helper threads spin while they wait, which costs torch more time than they save.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np  # noqa: F401 (load BLAS before ThreadpoolController looks for it)
import torch
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_THREADS = 4
"""More threads wait for the interpreter lock; use processes for more cores."""

_pools = ThreadpoolController()


def default_threads() -> int:
    """Return how many threads to use: the number of torch's threads, at most 4."""
    return min(_MAX_THREADS, torch.get_num_threads())


def limit_threads(threads: int) -> None:
    """Limit torch and BLAS in this process to a number of threads."""
    torch.set_num_threads(threads)
    _pools.limit(limits=threads, user_api="blas")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Apply a function to every item in ``threads`` threads and yield the results in order.

    At most ``threads + 1`` items are taken ahead.  Until the iterator is exhausted or closed, the BLAS limit also
    applies to the caller.  (Setting it per item inside the threads is unreliable: batches took 1.5 times as long.)
    """
    if threads <= 1:
        with _blas.single_threaded():
            yield from map(function, items)
        return
    share = max(1, torch.get_num_threads() // threads)
    with _blas.single_threaded(), ThreadPoolExecutor(threads, initializer=_start, initargs=(share,)) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _start(share: int) -> None:
    torch.get_num_threads()  # makes torch initialize this thread, which would undo the next line later
    _pools.limit(limits=share, user_api="openmp")  # for this thread only, unlike torch.set_num_threads


class _Blas:
    """Limit on BLAS threads, shared by all callers in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0

    @contextmanager
    def single_threaded(self) -> Iterator[None]:
        """Run each matrix product on one thread inside the block."""
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
