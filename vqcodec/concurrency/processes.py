"""Map a function over chunks of items in several processes and yield the results in order.

The processes end at once, and clean up, when the caller closes the iterator, is interrupted, or dies: each process
watches a pipe whose other end only the caller holds.  If a process dies, only the item that killed it fails.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from ctypes import c_bool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Generic, ParamSpec, TypeVar

from vqcodec.errors import WorkerDied

Item = TypeVar("Item")
Result = TypeVar("Result")
P = ParamSpec("P")
Work = Callable[[Sequence[Item]], Sequence[Result]]

_CHUNKS_AHEAD = 2
"""Chunks submitted per process before the first result is collected."""


def map_in_processes(
    work: Work[Item, Result],
    chunks: Iterable[Sequence[Item]],
    workers: int,
    initializer: Callable[..., None],
    initargs: tuple[object, ...] = (),
) -> Iterator[tuple[Item, Result | Exception]]:
    """Process chunks of items in several processes and yield each item with its result, in order.

    Args:
        work: called in one of the processes with one chunk; returns a result for each item.
        chunks: may be endless; only some are held at a time.
        workers: number of processes.
        initializer: called with ``initargs`` in each process when it starts.

    An exception that ``work`` raises is the result of every item of the chunk.  If a process dies, the items of its
    chunk are tried again one by one; an item that kills a process again gets a :class:`~vqcodec.errors.WorkerDied`.

    Raises:
        WorkerDied: no process could start.
    """
    with ExitStack() as stack:
        pool = stack.enter_context(_WorkerPool(work, workers, initializer, initargs))
        retry_pool = stack.enter_context(_WorkerPool(work, 1, initializer, initargs))
        pending: deque[tuple[Sequence[Item], Future[Sequence[Result]]]] = deque()
        for chunk in chunks:
            pending.append((chunk, pool.submit(chunk)))
            if len(pending) > _CHUNKS_AHEAD * workers:
                yield from _collect(*pending.popleft(), pool, retry_pool)
        while pending:
            yield from _collect(*pending.popleft(), pool, retry_pool)


class _WorkerPool(Generic[Item, Result]):
    """Worker processes, which are replaced when one of them dies."""

    def __init__(
        self,
        work: Work[Item, Result],
        workers: int,
        initializer: Callable[..., None],
        initargs: tuple[object, ...],
    ):
        self._work, self._workers = work, workers
        self._initializer, self._initargs = initializer, initargs
        self._pool: ProcessPoolExecutor | None = None
        self._context = get_context("spawn")  # forking a process that runs threads may deadlock
        self._started = self._context.RawValue(c_bool, False)

    def __enter__(self) -> "_WorkerPool[Item, Result]":
        return self

    def __exit__(self, reason: object, *_: object) -> None:
        if self._pool is not None and reason is None:
            self._pool.shutdown()  # all work is done
        self._stop()

    def submit(self, chunk: Sequence[Item]) -> "Future[Sequence[Result]]":
        """Submit a chunk; start the processes if they are not running."""
        if self._pool is None:
            self._start()
        try:
            return self._submit(chunk)
        except BrokenProcessPool:
            self._stop()
            self._start()
            return self._submit(chunk)

    def check_started(self) -> None:
        """Raise :class:`WorkerDied` if no process ever started."""
        if not self._started.value:
            raise WorkerDied('no worker process could start; is the calling script missing if __name__ == "__main__"?')

    def _submit(self, chunk: Sequence[Item]) -> "Future[Sequence[Result]]":
        assert self._pool is not None
        with _signals_blocked():  # submitting starts processes
            return self._pool.submit(_exit_if_stopped, self._work, chunk)

    def _start(self) -> None:
        self._parent_pipe, self._parent_end = self._context.Pipe(duplex=False)
        initargs = (self._started, self._parent_pipe, self._initializer, self._initargs)
        with _signals_blocked():  # the pool may start the resource tracker process
            self._pool = ProcessPoolExecutor(self._workers, self._context, _start_worker, initargs)

    def _stop(self) -> None:
        """End the processes, whatever they are doing."""
        if self._pool is None:
            return
        self._parent_end.close()
        self._pool.shutdown(cancel_futures=True)
        self._parent_pipe.close()
        self._pool = None


def _collect(
    chunk: Sequence[Item],
    future: "Future[Sequence[Result]]",
    pool: _WorkerPool[Item, Result],
    retry_pool: _WorkerPool[Item, Result],
) -> Iterator[tuple[Item, Result | Exception]]:
    try:
        yield from zip(chunk, future.result(), strict=True)
    except BrokenProcessPool:
        pool.check_started()
        for item in chunk:
            result = _retry(item, retry_pool)
            yield item, result
    except Exception as error:
        yield from ((item, error) for item in chunk)


def _retry(item: Item, retry_pool: _WorkerPool[Item, Result]) -> Result | Exception:
    try:
        (result,) = retry_pool.submit([item]).result()
    except BrokenProcessPool:
        return WorkerDied("the worker process died; it may have run out of memory")
    except Exception as error:
        return error
    return result


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGHUP in processes started inside; a terminal sends them to all, the parent handles them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In the worker processes


_working = False


def _start_worker(
    started: c_bool, parent_pipe: Connection, initializer: Callable[..., None], initargs: tuple[object, ...]
) -> None:
    started.value = True
    signal.signal(signal.SIGTERM, _handle_sigterm)
    threading.Thread(target=_watch_parent, args=(parent_pipe,), daemon=True).start()
    _exit_if_stopped(initializer, *initargs)


def _watch_parent(parent_pipe: Connection) -> None:
    """End this process when the parent closes its end of the pipe or dies."""
    parent_pipe.poll(None)
    os.kill(os.getpid(), signal.SIGTERM)


def _handle_sigterm(number: int, frame: object) -> None:
    if _working:
        raise SystemExit  # runs the cleanup that removes half-written files
    os._exit(1)  # without the pool's own exit code, which could leave half a message in the shared queue


def _exit_if_stopped(function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    global _working
    _working = True
    try:
        return function(*args, **kwargs)
    except SystemExit:  # the pool would treat it as a result and continue
        os._exit(1)
    finally:
        _working = False
