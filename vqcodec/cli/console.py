"""Output of the command line: results on stdout; messages, warnings, errors and the progress bar on stderr.

Imports nothing heavy, so that ``--help`` is fast.
"""

import itertools
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import click

from vqcodec.errors import DeviceUnavailable, OutputExists, UnwritableFile, cause, one_line, silence_libraries

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar as ClickProgressBar

    from vqcodec.images.modes import Remark

Record: TypeAlias = Mapping[str, object]
"""A result as a JSON object."""

_CLICK_ERRORS = (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError)
"""Exceptions that click turns into messages and exit codes."""
_BAR_DELAY = 2.0
"""Seconds after which a single file gets a progress bar."""
_CLEAR_LINE = "\r\x1b[K"


def echo(text: str, err: bool = False, nl: bool = True) -> None:
    """Print a text to stdout or stderr; characters that the stream's encoding lacks are escaped."""
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=nl, err=err)


def keep_stderr_for_us() -> None:
    """Keep messages of other libraries off stderr, in a process that belongs to this program.

    libtiff writes to descriptor 2 by itself, so this one is led nowhere, and ``sys.stderr`` gets another.  Python's
    option ``-W`` shows everything.
    """
    silence_libraries()
    stderr = sys.__stderr__
    if sys.warnoptions or stderr is None or sys.stderr is not stderr or stderr.fileno() != 2:
        return
    stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding=stderr.encoding, errors=stderr.errors)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


class Console:
    """Prints results and messages, and remembers which files failed."""

    def __init__(self, verbose: int = 0, quiet: bool = False, as_json: bool = False, progress: bool = True) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.as_json = as_json
        self.failed: list[str] = []
        """Sources of the failures so far; an empty string for a failure of no particular file."""
        self._progress = progress and not quiet
        self._bar: ProgressBar | None = None

    def result(self, record: Record | Sequence[Record], text: str) -> None:
        """Print a result to stdout: the record as one line of JSON with ``--json``, else the text."""
        self._clear_bar()
        if sys.stdout is None:
            raise UnwritableFile("standard output is closed")
        echo(json.dumps(record) if self.as_json else text)

    def file_written(self, record: Record, text: str) -> None:
        """Report a written file: a result with ``--json``, else a message, unless there is a progress bar."""
        if self.as_json:
            self.result(record, text)
        elif self.verbose or self._bar is None:
            self.message(text)

    def message(self, text: str) -> None:
        """Print a message, except with ``--quiet``."""
        if not self.quiet:
            self._clear_bar()
            echo(one_line(text), err=True)

    def detail(self, text: str) -> None:
        """Print a message with ``-v`` only."""
        if self.verbose:
            self.message(text)

    def passed_over(self, names: Sequence[str]) -> None:
        """Count the files of folders that are left alone; with ``-v`` name them."""
        for name in names:
            self.detail(f"{name}: passed over")
        if names:
            files = "1 file was" if len(names) == 1 else f"{len(names)} files were"
            more = "" if self.verbose else "; -v names them"
            self.message(f"vqcodec: {files} passed over because of the suffix{more}")

    def remarks(self, name: str, remarks: "Iterable[Remark]") -> None:
        """Warn of what a file loses; with ``-v`` also tell what it does not."""
        for remark in remarks:
            if remark.loses:
                self.warn(name, remark.text)
            else:
                self.detail(f"vqcodec: {name}: {remark.text}")

    def warn(self, name: str, text: str) -> None:
        """Print a warning about a file."""
        self.message(f"vqcodec: {name}: warning: {text}")

    def fail(self, error: Exception, source: str | None, output: str | None = None, **record: object) -> None:
        """Print an error in one line with the name of its file, and set exit code 1.

        With ``--json``, also print a result with the error and the given fields.
        """
        self._clear_bar()
        if self.verbose >= 2:
            traceback.print_exception(error)
        name = output if isinstance(error, OutputExists | UnwritableFile) else source
        echo(one_line(": ".join(filter(None, ("vqcodec", name, cause(error))))), err=True)
        self.failed.append(source or "")
        if self.as_json:
            names = {"source": source, "output": output}
            known = {key: name for key, name in names.items() if name is not None}
            try:
                self.result({**known, **record, "error": cause(error)}, "")
            except BrokenPipeError:
                raise
            except OSError:  # stdout cannot be written; stderr has the error
                pass

    @contextmanager
    def report_errors(self, source: str | None, output: str | None = None) -> Iterator[None]:
        """Report an exception raised inside the block and continue after the block.

        A missing device concerns no particular file, so it is passed on to the enclosing block without a source.
        """
        try:
            yield
        except _CLICK_ERRORS:
            raise
        except Exception as error:
            if source is not None and isinstance(error, DeviceUnavailable):
                raise
            self.fail(error, source, output)

    @contextmanager
    def progress(self, total: int | None) -> Iterator["ProgressBar | None"]:
        """Show a progress bar over ``total`` files, or an unknown number, if stderr is a terminal."""
        if not (self._progress and total != 0 and sys.stderr and sys.stderr.isatty()):
            yield None
            return
        with ProgressBar(total) as self._bar:
            try:
                yield self._bar
            finally:
                self._bar = None

    def _clear_bar(self) -> None:
        if self._bar is not None:
            self._bar.clear()


class ProgressBar:
    """A progress bar with pictures per second and the time left.  For a single file it appears after a delay."""

    def __init__(self, total: int | None) -> None:
        self._total, self._done = total, 0
        self._start = time.monotonic()
        self._bar: ClickProgressBar[int] | None = None
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._timer = threading.Thread(target=self._redraw, daemon=True)

    def __enter__(self) -> "ProgressBar":
        if self._total != 1:
            self._draw()
        self._timer.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._finished.set()
        self._timer.join()
        if self._bar is not None:
            self._bar.render_finish()

    def advance(self) -> None:
        """Count one more finished file."""
        with self._lock:
            self._done += 1
            if self._bar is not None:
                self._bar.update(1)

    def clear(self) -> None:
        """Erase the bar so that a line can be printed; it is drawn again below the line."""
        if self._bar is not None:
            echo(_CLEAR_LINE, nl=False, err=True)

    def _draw(self) -> None:
        with self._lock:
            if self._bar is None:
                self._bar = click.progressbar(
                    itertools.count(),  # endless, because the total may be unknown
                    length=self._total,
                    file=sys.stderr,
                    show_pos=True,
                    item_show_func=lambda _: self._rate(),
                )
                self._bar.update(self._done)
            self._bar.render_progress()

    def _rate(self) -> str:
        seconds = time.monotonic() - self._start
        return f"{self._done / seconds:.1f} images/s" if self._done else f"{seconds:.1f} s"

    def _redraw(self) -> None:
        while not self._finished.wait(0.5):
            if self._bar is not None or time.monotonic() - self._start > _BAR_DELAY:
                self._draw()


@contextmanager
def interruptible() -> Iterator[None]:
    """Handle Ctrl-C, SIGTERM and SIGHUP alike: clean up, print one line, exit with code 128 + signal number."""
    handled = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP; keep that
                handled[number] = signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        echo("vqcodec: interrupted", err=True)
        raise click.exceptions.Exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)) from None
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt(number)
