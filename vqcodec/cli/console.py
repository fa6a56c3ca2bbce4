"""Print results to stdout, and messages, warnings, errors and the progress bar to stderr."""

import itertools
import json
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import click

from vqcodec.errors import DeviceUnavailable, OutputExists, UnwritableFile, cause, one_line

Record: TypeAlias = dict[str, Any]

_CLICK_EXCEPTIONS = (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError)
"""click turns these into messages and exit codes."""
_BAR_DELAY = 2.0
"""Seconds after which a single file gets a progress bar, too."""
_CLEAR_LINE = "\r\x1b[K"


class Console:
    """The output of a command, and the failures so far."""

    def __init__(self, verbose: int = 0, quiet: bool = False, as_json: bool = False, progress: bool = True) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.as_json = as_json
        self.failed: list[str] = []
        self._progress = progress and not quiet
        self._bar: Bar | None = None

    def result(self, record: Record | list[Record], text: str) -> None:
        """Print a result to stdout, as one line of JSON or as text."""
        self._clear()
        if sys.stdout is None:
            raise UnwritableFile("standard output is closed")
        click.echo(json.dumps(record) if self.as_json else text)

    def done(self, record: Record, text: str) -> None:
        """Report a written file: as JSON on stdout, or as a message unless a progress bar is shown."""
        if self.as_json:
            self.result(record, text)
        elif self.verbose or self._bar is None:
            self.message(text)

    def message(self, text: str) -> None:
        """Print a message to stderr, unless --quiet."""
        if not self.quiet:
            self._clear()
            click.echo(one_line(text), err=True)

    def detail(self, text: str) -> None:
        """Print a message to stderr with --verbose."""
        if self.verbose:
            self.message(text)

    def warn(self, name: str, text: str) -> None:
        """Warn that something is lost."""
        self.message(f"vqcodec: {name}: warning: {text}")

    def fail(self, error: Exception, source: str | None, output: str | None = None, **record: Any) -> None:
        """Report a failure: one line on stderr with the file and the cause, and exit code 1.

        With --json a result is printed, too, with the fields of ``record``.
        """
        self._clear()
        if self.verbose >= 2:
            traceback.print_exception(error)
        name = output if isinstance(error, OutputExists | UnwritableFile) else source
        click.echo(one_line(": ".join(filter(None, ("vqcodec", name, cause(error))))), err=True)
        self.failed.append(source or "")
        if self.as_json:
            names = {"source": source, "output": output}
            known = {key: name for key, name in names.items() if name is not None}
            try:
                self.result({**known, **record, "error": cause(error)}, "")
            except BrokenPipeError:
                raise
            except OSError:  # stdout itself failed, which stderr reports
                pass

    @contextmanager
    def guard(self, source: str | None, output: str | None = None) -> Iterator[None]:
        """Report exceptions inside as failures of a file.  A missing device is no failure of a file and is raised."""
        try:
            yield
        except _CLICK_EXCEPTIONS:
            raise
        except Exception as error:
            if source is not None and isinstance(error, DeviceUnavailable):
                raise
            self.fail(error, source, output)

    @contextmanager
    def progress(self, total: int | None) -> Iterator["Bar | None"]:
        """Show a progress bar for ``total`` files, or an unknown number of them, if stderr is a terminal."""
        if not (self._progress and total != 0 and sys.stderr and sys.stderr.isatty()):
            yield None
            return
        with Bar(total) as self._bar:
            try:
                yield self._bar
            finally:
                self._bar = None

    def _clear(self) -> None:
        if self._bar is not None:
            self._bar.clear()


class Bar:
    """A progress bar with pictures per second and the time left; for a single file it appears after a delay."""

    def __init__(self, total: int | None) -> None:
        self._total, self._done = total, 0
        self._start = time.monotonic()
        self._drawn: Any = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Bar":
        if self._total != 1:
            self._draw()
        self._clock.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._over.set()
        self._clock.join()
        if self._drawn is not None:
            self._drawn.render_finish()

    def advance(self) -> None:
        """Count one more file."""
        with self._lock:
            self._done += 1
            if self._drawn is not None:
                self._drawn.update(1)

    def clear(self) -> None:
        """Clear the bar's line; the next tick draws the bar again below the new output."""
        if self._drawn is not None:
            click.echo(_CLEAR_LINE, nl=False, err=True)

    def _draw(self) -> None:
        with self._lock:
            if self._drawn is None:
                self._drawn = click.progressbar(
                    itertools.count(),  # endless, for an unknown total
                    length=self._total,
                    file=sys.stderr,
                    show_pos=True,
                    item_show_func=lambda _: self._rate(),
                )
                self._drawn.update(self._done)
            self._drawn.render_progress()

    def _rate(self) -> str:
        seconds = time.monotonic() - self._start
        return f"{self._done / seconds:.1f} images/s" if self._done else f"{seconds:.1f} s"

    def _tick(self) -> None:
        while not self._over.wait(0.5):
            if self._drawn is not None or time.monotonic() - self._start > _BAR_DELAY:
                self._draw()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP clean up, print one line and exit with 128 + the signal."""
    caught = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # ignored under nohup
                caught[number] = signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        click.echo("vqcodec: interrupted", err=True)
        raise click.exceptions.Exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)) from None
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt(number)
