"""What the user is told, and where: results on stdout; messages, warnings, errors and the progress bar on stderr.

It knows nothing of pictures and imports nothing heavy.
"""

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

_CLICKS_OWN = (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError)
"""Click turns these into messages and exit codes."""
_PATIENCE = 2.0
"""Seconds after which even a single file gets a bar."""
_CLEAR_LINE = "\r\x1b[K"


class Console:
    """Where lines go, and what failed so far."""

    def __init__(self, verbose: int = 0, quiet: bool = False, as_json: bool = False, progress: bool = True) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.as_json = as_json
        self.failed: list[str] = []
        self._progress = progress and not quiet
        self._bar: Bar | None = None

    def result(self, record: Record | list[Record], text: str) -> None:
        """What was asked for, on stdout: one line of JSON, or the text."""
        self._clear()
        if sys.stdout is None:
            raise UnwritableFile("standard output is closed")
        click.echo(json.dumps(record) if self.as_json else text)

    def done(self, record: Record, text: str) -> None:
        """A file was written: a result for machines; for people a message, unless a bar already says how far it is."""
        if self.as_json:
            self.result(record, text)
        elif self.verbose or self._bar is None:
            self.message(text)

    def message(self, text: str) -> None:
        """For everyone but those who asked for quiet."""
        if not self.quiet:
            self._clear()
            click.echo(one_line(text), err=True)

    def detail(self, text: str) -> None:
        """For those who asked for more."""
        if self.verbose:
            self.message(text)

    def warn(self, name: str, text: str) -> None:
        """Something is lost, but the work goes on."""
        self.message(f"vqcodec: {name}: warning: {text}")

    def fail(self, error: Exception, source: str | None, output: str | None = None, **record: Any) -> None:
        """One line that names the file that it is about, and the reason for exit code 1.

        Machines get a result, too, of whatever ``record`` says besides.
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
            except OSError:  # then that was the error, and stderr has it
                pass

    @contextmanager
    def guard(self, source: str | None, output: str | None = None) -> Iterator[None]:
        """Survive and report what goes wrong inside; but that a device is missing is said of no file."""
        try:
            yield
        except _CLICKS_OWN:
            raise
        except Exception as error:
            if source is not None and isinstance(error, DeviceUnavailable):
                raise
            self.fail(error, source, output)

    @contextmanager
    def progress(self, total: int | None) -> Iterator["Bar | None"]:
        """A bar over so many files, or over nobody knows how many, if there is a terminal for it."""
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
    """A progress bar with pictures per second and the time left; for a single file it is drawn after a while."""

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
        """One more file is done."""
        with self._lock:
            self._done += 1
            if self._drawn is not None:
                self._drawn.update(1)

    def clear(self) -> None:
        """Make room for a line; the next tick draws the bar again below it."""
        if self._drawn is not None:
            click.echo(_CLEAR_LINE, nl=False, err=True)

    def _draw(self) -> None:
        with self._lock:
            if self._drawn is None:
                self._drawn = click.progressbar(
                    itertools.count(),  # without an end, if the length is not known
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
            if self._drawn is not None or time.monotonic() - self._start > _PATIENCE:
                self._draw()


@contextmanager
def interruptible() -> Iterator[None]:
    """Work that Ctrl-C, SIGTERM and SIGHUP end alike: cleaned up, told in one line, exit code 128 + the signal."""
    caught = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it, and is right
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
