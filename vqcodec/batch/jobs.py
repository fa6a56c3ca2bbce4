"""Turn sources and a target, as ``cp`` takes them, into jobs: which file becomes which."""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from vqcodec.errors import InvalidJobs, MissingFile, OutputExists, UnreadableFile, UnwritableFile

STANDARD = "-"
"""As a source: standard input.  As a target: standard output."""

Existing = Literal["refuse", "replace", "skip"]
"""What to do with existing outputs."""


@dataclass(frozen=True)
class Job:
    """One source and its output, named as the user names them."""

    source: str
    output: str
    folder: str | None = None
    """Folder of the output, created if missing, with its parents."""

    def open(self) -> str | BinaryIO:
        """Return the source for a codec: a path, or all of standard input as a file."""
        if self.source != STANDARD:
            return self.source
        if sys.stdin is None:
            return _Unreadable("standard input is closed")
        try:
            return io.BytesIO(sys.stdin.buffer.read())
        except OSError as error:
            return _Unreadable(error.strerror or str(error))

    def deliver(self, data: bytes) -> None:
        """Write the output completely or not at all."""
        if self.output == STANDARD:
            if sys.stdout is None:
                raise UnwritableFile("standard output is closed")
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except OSError as error:
                raise UnwritableFile(error.strerror or str(error)) from error
            return
        with self.file() as file:
            file.write(data)

    @contextmanager
    def file(self) -> Iterator[BinaryIO]:
        """Open an output file for writing; it appears completely at the end or not at all."""
        from vqcodec import files  # imports Pillow, which a help text does not need

        if self.folder is not None:
            try:
                os.makedirs(self.folder, exist_ok=True)
            except OSError as error:
                raise UnwritableFile(f"cannot create its folder: {error.strerror or error}") from error
        with files.atomic_file(self.output) as file:
            yield file


class _Unreadable(io.BytesIO):
    """A source that could not be opened.  Reading it raises the cause, so that only its own job fails."""

    def __init__(self, cause: str):
        super().__init__()
        self._cause = cause

    def read(self, size: int | None = -1) -> bytes:
        """Raises :class:`UnreadableFile`."""
        raise UnreadableFile(self._cause)


@dataclass(frozen=True)
class Naming:
    """The suffix of outputs, and the suffixes of the sources to take from folders."""

    suffix: str
    taken: frozenset[str] | None = None
    """Suffixes in lower case; None if folders are not processed."""


def plan(sources: Sequence[str], target: str, naming: Naming) -> list[Job]:
    """Return the jobs: one source to a file or a folder, several to a folder; trees of folders are mirrored.

    Raises :class:`InvalidJobs`.
    """
    if "" in (*sources, target):
        raise InvalidJobs("file names must not be empty.")
    folders = [s for s in sources if naming.taken is not None and os.path.isdir(s)]
    if target == STANDARD:
        if len(sources) > 1 or folders:
            raise InvalidJobs("only one source can be written to standard output.")
        return [Job(sources[0], STANDARD)]
    if len(sources) == 1 and not folders and not os.path.isdir(target) and not target.endswith(os.sep):
        return [Job(sources[0], target)]
    if os.path.exists(target) and not os.path.isdir(target):
        raise InvalidJobs(f"several sources need a folder as target, but '{target}' is a file.")
    if STANDARD in sources:
        raise InvalidJobs("standard input has no file name: give an output file, not a folder.")
    jobs: list[Job] = []
    for source in sources:
        if source in folders:
            jobs += _mirror(source, target, naming)
        else:
            jobs.append(_into(target, source, naming))
    return jobs


def _mirror(source: str, target: str, naming: Naming) -> Iterator[Job]:
    """Yield a job for every file to take below ``source``, and for every folder there that cannot be read."""
    assert naming.taken is not None
    closed: list[str] = []
    for folder, below, names in os.walk(source, onerror=lambda error: closed.append(error.filename)):
        below.sort()
        inside = os.path.relpath(folder, source)
        mirrored = target if inside == os.curdir else os.path.join(target, inside)
        for name in sorted(names):
            if Path(name).suffix.lower() in naming.taken:
                yield _into(mirrored, os.path.join(folder, name), naming)
    yield from (_into(target, folder, naming) for folder in closed)


def _into(folder: str, source: str, naming: Naming) -> Job:
    return Job(source, os.path.join(folder, Path(source).stem + naming.suffix), folder)


def _why_closed(folder: str) -> str | None:
    """Return why a folder cannot be read, or None if it can."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


class OutputPolicy:
    """Decide before any work is done which jobs to do, to skip or to refuse."""

    def __init__(self, existing: Existing = "refuse"):
        if existing not in get_args(Existing):
            raise InvalidJobs(f"existing must be one of {', '.join(get_args(Existing))}, not {existing!r}")
        self._existing = existing
        self._taken: dict[str, str] = {}

    def admits(self, job: Job) -> bool:
        """Return whether to do a job or to skip it.  Raises a :class:`~vqcodec.errors.VqcError` to refuse it."""
        if job.source != STANDARD:
            if not os.path.exists(job.source):
                raise MissingFile("No such file or directory")
            if os.path.isdir(job.source):
                raise UnreadableFile(_why_closed(job.source) or "Is a directory; use -r to process its files")
        if job.output == STANDARD:
            return True
        output = os.path.realpath(job.output)
        if output in self._taken:
            raise OutputExists(f"is already the output of {self._taken[output]}")
        if os.path.exists(job.output) and job.source != STANDARD and os.path.samefile(job.source, job.output):
            raise OutputExists("is the source itself")
        self._taken[output] = job.source
        if os.path.isfile(job.output):  # a device or a pipe may be written to
            if self._existing == "refuse":
                raise OutputExists("exists; use -f to replace it")
            return self._existing == "replace"
        return True
