"""Match sources to outputs, as ``cp`` does.  No picture is read here."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, get_args

from vqcodec.errors import InvalidJobs, MissingFile, OutputExists, UnreadableFile, UnwritableFile
from vqcodec.files import atomic_file, check_apart, is_in_place

STANDARD = "-"
"""Standard input as a source, standard output as an output."""

Existing = Literal["refuse", "replace", "skip"]
"""Treatment of an output that already exists."""


@dataclass(frozen=True)
class Job:
    """A source and its output, with the names that the user gave."""

    source: str
    output: str
    folder: str | None = None
    """Folder to create for the output, with its parents."""

    def open_source(self) -> str | BinaryIO:
        """Return the source for a codec: a path, or a file with all of standard input.

        If standard input cannot be read, the file raises the error when it is read, so that only this job fails.
        """
        if self.source != STANDARD:
            return self.source
        if sys.stdin is None:
            return _FailingFile("standard input is closed")
        try:
            return io.BytesIO(sys.stdin.buffer.read())
        except OSError as error:
            return _FailingFile(error.strerror or str(error))

    def write_output(self, data: bytes) -> None:
        """Write the output; a file appears complete or not at all.

        Raises:
            UnwritableFile: the output cannot be written.
        """
        if self.output == STANDARD:
            if sys.stdout is None:
                raise UnwritableFile("standard output is closed")
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except OSError as error:
                raise UnwritableFile(error.strerror or str(error)) from error
            return
        with self.output_file() as file:
            file.write(data)

    @contextmanager
    def output_file(self) -> Iterator[BinaryIO]:
        """Open the output file, not standard output, for writing; it appears complete or not at all."""
        if self.folder is not None:
            try:
                os.makedirs(self.folder, exist_ok=True)
            except OSError as error:
                raise UnwritableFile(f"cannot create folder '{self.folder}': {error.strerror or error}") from error
        with atomic_file(self.output) as file:
            yield file


class _FailingFile(io.BytesIO):
    """A file that raises :class:`UnreadableFile` when it is read."""

    def __init__(self, cause: str):
        super().__init__()
        self._cause = cause

    def read(self, size: int | None = -1) -> bytes:
        """Raise :class:`UnreadableFile`."""
        raise UnreadableFile(self._cause)


@dataclass(frozen=True)
class Suffixes:
    """File name suffixes of outputs and of the sources found in folders."""

    output: str
    """Suffix of outputs, with its dot."""
    sources: frozenset[str] | None = None
    """Lower-case suffixes of the files to take from folders; None if folders are not searched."""


OnPassedOver: TypeAlias = Callable[[str], None]
"""Called with the name of each file, or link to a folder, that a search of folders leaves alone."""


def plan_jobs(
    sources: Sequence[str], target: str, suffixes: Suffixes, passed_over: OnPassedOver | None = None
) -> list[Job]:
    """Return a job for each source file: one source to a file or a folder, several sources to a folder.

    Folders are searched recursively if ``suffixes.sources`` is given; their tree is repeated below ``target``.

    Raises:
        InvalidJobs: sources and target contradict each other.
    """
    if "" in (*sources, target):
        raise InvalidJobs("file name must not be empty.")
    folders = [s for s in sources if suffixes.sources is not None and os.path.isdir(s)]
    if target == STANDARD:
        if len(sources) > 1 or folders:
            raise InvalidJobs("cannot write several files to standard output; give a folder.")
        return [Job(sources[0], STANDARD)]
    if len(sources) == 1 and not folders and not os.path.isdir(target) and not target.endswith(os.sep):
        return [Job(sources[0], target)]
    if os.path.exists(target) and not os.path.isdir(target):
        raise InvalidJobs(f"cannot write several files to '{target}', which is a file; give a folder.")
    if STANDARD in sources:
        raise InvalidJobs("standard input has no file name; give an output file, not a folder.")
    jobs: list[Job] = []
    for source in sources:
        if source in folders:
            jobs += _jobs_below(source, target, suffixes, passed_over or (lambda name: None))
        else:
            jobs.append(_job_in_folder(target, source, suffixes))
    return jobs


def _jobs_below(source: str, target: str, suffixes: Suffixes, passed_over: OnPassedOver) -> Iterator[Job]:
    """Yield a job for every matching file below ``source``, and for every folder there that cannot be listed."""
    assert suffixes.sources is not None
    unreadable: list[str] = []
    for folder, subfolders, names in os.walk(source, onerror=lambda error: unreadable.append(error.filename)):
        subfolders.sort()
        relative = os.path.relpath(folder, source)
        output_folder = target if relative == os.curdir else os.path.join(target, relative)
        for name in subfolders:
            if os.path.islink(os.path.join(folder, name)):
                passed_over(os.path.join(folder, name))
        for name in sorted(names):
            if Path(name).suffix.lower() in suffixes.sources:
                yield _job_in_folder(output_folder, os.path.join(folder, name), suffixes)
            else:
                passed_over(os.path.join(folder, name))
    yield from (_job_in_folder(target, folder, suffixes) for folder in unreadable)


def _job_in_folder(folder: str, source: str, suffixes: Suffixes) -> Job:
    return Job(source, os.path.join(folder, Path(source).stem + suffixes.output), folder)


def _listing_error(folder: str) -> str | None:
    """Return why a folder cannot be listed, or None if it can."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


class OutputPolicy:
    """Checks of sources and outputs before any work is done.

    One instance checks all jobs of a run, so that no two of them write the same file.
    """

    def __init__(self, existing: Existing = "refuse"):
        if existing not in get_args(Existing):
            raise InvalidJobs(f"'existing' must be one of {', '.join(get_args(Existing))}, not {existing!r}")
        self._existing = existing
        self._sources: dict[str, str] = {}
        """Real path of each output -> its source."""

    def should_run(self, job: Job) -> bool:
        """Return True to run the job, False to skip it because its output exists.

        Raises:
            MissingFile, UnreadableFile: the source does not exist or is a folder.
            OutputExists: the output exists and ``existing`` is "refuse", is the source, or is another job's output.
        """
        if job.source != STANDARD:
            if not os.path.exists(job.source):
                raise MissingFile("No such file or directory")
            if os.path.isdir(job.source):
                raise UnreadableFile(_listing_error(job.source) or "Is a directory; use -r to process its files")
        if job.output == STANDARD:
            return True
        output = os.path.abspath(job.output) if is_in_place(job.output) else os.path.realpath(job.output)
        if output in self._sources:
            raise OutputExists(f"already the output of {self._sources[output]}")
        if job.source != STANDARD:
            check_apart(job.source, job.output)
        self._sources[output] = job.source
        if os.path.isfile(job.output) and not is_in_place(job.output):  # devices exist to be written to
            if self._existing == "refuse":
                raise OutputExists("already exists; use -f to overwrite it")
            return self._existing == "replace"
        return True
