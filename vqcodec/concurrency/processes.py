"""Turns of work, spread over processes and given back in order.  It knows nothing of pictures.

Processes end at once, and clean up, when the caller loses interest, is interrupted, or dies: each waits for the other
end of a pipe that only the caller holds.  A process that dies costs nobody but the item that killed it.
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
from typing import Any, Generic, TypeVar

from vqcodec.errors import WorkerDied

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Sequence[Result]]

_AHEAD = 2
"""Turns that are handed out for each process before the first of them is collected."""


def spread(
    work: Work[Item, Result],
    turns: Iterable[Sequence[Item]],
    workers: int,
    prepare: Callable[..., None],
    arguments: tuple[Any, ...] = (),
) -> Iterator[tuple[Item, Result | Exception]]:
    """Every item of the turns with what became of it, in order.

    Args:
        work: called in one of the processes with one turn; gives a result for each item.
        turns: may be endless; only some are held at a time.
        workers: number of processes.
        prepare: called with ``arguments`` in each process when it starts.

    Whatever ``work`` raises is the result of every item of its turn.  Where a process dies, the items that it had are
    tried again one by one; those that kill it again get a :class:`~vqcodec.errors.WorkerDied`.  Where none ever began,
    that is raised.
    """
    with ExitStack() as stack:
        crew = stack.enter_context(_Crew(work, workers, prepare, arguments))
        alone = stack.enter_context(_Crew(work, 1, prepare, arguments))
        ahead: deque[tuple[Sequence[Item], Future[Sequence[Result]]]] = deque()
        for turn in turns:
            ahead.append((turn, crew.submit(turn)))
            if len(ahead) > _AHEAD * workers:
                yield from _collect(*ahead.popleft(), crew, alone)
        while ahead:
            yield from _collect(*ahead.popleft(), crew, alone)


class _Crew(Generic[Item, Result]):
    """Processes that are replaced when one of them dies."""

    def __init__(
        self, work: Work[Item, Result], workers: int, prepare: Callable[..., None], arguments: tuple[Any, ...]
    ):
        self._work, self._workers = work, workers
        self._prepare, self._arguments = prepare, arguments
        self._pool: ProcessPoolExecutor | None = None
        self._context = get_context("spawn")  # fresh processes: a copy of one that runs threads may hang
        self._began = self._context.RawValue(c_bool, False)

    def __enter__(self) -> "_Crew[Item, Result]":
        return self

    def __exit__(self, reason: object, *_: object) -> None:
        if self._pool is not None and reason is None:
            self._pool.shutdown()  # there is nothing left to do
        self._dismiss()

    def submit(self, turn: Sequence[Item]) -> "Future[Sequence[Result]]":
        """Hand out a turn; the processes are started when they are first needed."""
        if self._pool is None:
            self._hire()
        try:
            return self._submit(turn)
        except BrokenProcessPool:
            self._dismiss()
            self._hire()
            return self._submit(turn)

    def check(self) -> None:
        """Raise :class:`WorkerDied` if no process ever came to its work."""
        if not self._began.value:
            raise WorkerDied('no process could begin; does the script start them under if __name__ == "__main__"?')

    def _submit(self, turn: Sequence[Item]) -> "Future[Sequence[Result]]":
        assert self._pool is not None
        with _deaf_children():  # submitting starts processes
            return self._pool.submit(_unless_stopped, self._work, turn)

    def _hire(self) -> None:
        self._lifeline, self._held = self._context.Pipe(duplex=False)
        initial = (self._began, self._lifeline, self._prepare, self._arguments)
        with _deaf_children():  # the pool may start one that looks after its semaphores
            self._pool = ProcessPoolExecutor(self._workers, self._context, _start, initial)

    def _dismiss(self) -> None:
        """End the processes, whatever they are doing."""
        if self._pool is None:
            return
        self._held.close()
        self._pool.shutdown(cancel_futures=True)
        self._lifeline.close()
        self._pool = None


def _collect(
    turn: Sequence[Item], future: "Future[Sequence[Result]]", crew: _Crew[Item, Result], alone: _Crew[Item, Result]
) -> Iterator[tuple[Item, Result | Exception]]:
    try:
        yield from zip(turn, future.result(), strict=True)
    except BrokenProcessPool:
        crew.check()
        for item in turn:
            result = _result_of(item, alone)
            yield item, result
    except Exception as error:
        yield from ((item, error) for item in turn)


def _result_of(item: Item, alone: _Crew[Item, Result]) -> Result | Exception:
    try:
        (result,) = alone.submit([item]).result()
    except BrokenProcessPool:
        return WorkerDied("the process that worked on it died; was there enough memory?")
    except Exception as error:
        return error
    return result


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes started inside never hear what a terminal tells all of them, which is their parent's to handle."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In the processes


_working = False


def _start(began: c_bool, lifeline: Connection, prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    began.value = True
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    _unless_stopped(prepare, *arguments)


def _watch(lifeline: Connection) -> None:
    """End this process when the other end of the pipe is closed, by whatever means."""
    lifeline.poll(None)
    os.kill(os.getpid(), signal.SIGTERM)


def _stop(number: int, frame: object) -> None:
    if _working:
        raise SystemExit  # so that half-written files are removed on the way out
    os._exit(1)  # not by way of the pool's own code, which would leave half a message to the others


def _unless_stopped(function: Callable[..., Any], *arguments: Any) -> Any:
    global _working
    _working = True
    try:
        return function(*arguments)
    except SystemExit:  # the pool would take it for a result and go on
        os._exit(1)
    finally:
        _working = False
