"""Sources and a target, as ``cp`` understands them -> jobs: which file becomes which.

No picture is read and nothing is coded here.
"""

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
"""What to do about outputs that are there already."""


@dataclass(frozen=True)
class Job:
    """One source and where it goes, as the user would call them."""

    source: str
    output: str
    folder: str | None = None
    """Made if it is missing, with all above it."""

    def open(self) -> str | BinaryIO:
        """What a codec takes as its source: a path, or all of standard input as a file."""
        if self.source != STANDARD:
            return self.source
        if sys.stdin is None:
            return _Unreadable("standard input is closed")
        try:
            return io.BytesIO(sys.stdin.buffer.read())
        except OSError as error:
            return _Unreadable(error.strerror or str(error))

    def deliver(self, data: bytes) -> None:
        """Write the output, whole or not at all."""
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
        """The output, which is not standard output, open for writing; it is there whole at the end or not at all."""
        from vqcodec import files  # imports Pillow, which a help text does not need

        if self.folder is not None:
            try:
                os.makedirs(self.folder, exist_ok=True)
            except OSError as error:
                raise UnwritableFile(f"its folder cannot be made: {error.strerror or error}") from error
        with files.atomic_file(self.output) as file:
            yield file


class _Unreadable(io.BytesIO):
    """A source that could not be opened: whoever reads it is told why, so that only its own job fails."""

    def __init__(self, cause: str):
        super().__init__()
        self._cause = cause

    def read(self, size: int | None = -1) -> bytes:
        """Raises :class:`UnreadableFile`."""
        raise UnreadableFile(self._cause)


@dataclass(frozen=True)
class Naming:
    """How outputs in a folder are called, and what is taken from a folder of sources."""

    suffix: str
    taken: frozenset[str] | None = None
    """Suffixes, in lower case; None where folders are not gone through."""


def plan(sources: Sequence[str], target: str, naming: Naming) -> list[Job]:
    """One source to a file or a folder, several to a folder; a folder's tree is mirrored.

    Raises :class:`InvalidJobs`.
    """
    if "" in (*sources, target):
        raise InvalidJobs("an empty name is no file's.")
    folders = [s for s in sources if naming.taken is not None and os.path.isdir(s)]
    if target == STANDARD:
        if len(sources) > 1 or folders:
            raise InvalidJobs("several sources cannot go to standard output.")
        return [Job(sources[0], STANDARD)]
    if len(sources) == 1 and not folders and not os.path.isdir(target) and not target.endswith(os.sep):
        return [Job(sources[0], target)]
    if os.path.exists(target) and not os.path.isdir(target):
        raise InvalidJobs(f"several sources need a folder, and '{target}' is a file.")
    if STANDARD in sources:
        raise InvalidJobs("standard input has no name: give the output file, not a folder.")
    jobs: list[Job] = []
    for source in sources:
        if source in folders:
            jobs += _mirror(source, target, naming)
        else:
            jobs.append(_into(target, source, naming))
    return jobs


def _mirror(source: str, target: str, naming: Naming) -> Iterator[Job]:
    """A job for every file below ``source`` that is taken, and for every folder there that cannot be looked into."""
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
    """Why a folder cannot be looked into, if that is so."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


class OutputPolicy:
    """Refuses jobs that can be refused before any work is done."""

    def __init__(self, existing: Existing = "refuse"):
        if existing not in get_args(Existing):
            raise InvalidJobs(f"existing outputs can be met with {', '.join(get_args(Existing))}, not {existing!r}")
        self._existing = existing
        self._taken: dict[str, str] = {}

    def admits(self, job: Job) -> bool:
        """Whether to do it, or to skip it; raises a :class:`~vqcodec.errors.VqcError` if it cannot be done."""
        if job.source != STANDARD:
            if not os.path.exists(job.source):
                raise MissingFile("No such file or directory")
            if os.path.isdir(job.source):
                raise UnreadableFile(_why_closed(job.source) or "Is a directory; -r takes what is in it")
        if job.output == STANDARD:
            return True
        output = os.path.realpath(job.output)
        if output in self._taken:
            raise OutputExists(f"is the output of {self._taken[output]} already")
        if os.path.exists(job.output) and job.source != STANDARD and os.path.samefile(job.source, job.output):
            raise OutputExists("is the source itself")
        self._taken[output] = job.source
        if os.path.isfile(job.output):  # a device or a pipe is there to be written to
            if self._existing == "refuse":
                raise OutputExists("exists already; -f replaces it")
            return self._existing == "replace"
        return True
