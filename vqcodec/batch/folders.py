"""Folders of files, in this process or in several: one result or one error each, in order."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from vqcodec import defaults
from vqcodec.batch.jobs import Existing, Job, Naming, OutputPolicy, plan
from vqcodec.batch.tasks import DecodeTask, EncodeTask, FileResult, Task, Weights
from vqcodec.concurrency.processes import spread
from vqcodec.errors import MissingFile, UnreadableFile, VqcError
from vqcodec.files import AnyPath
from vqcodec.images import formats
from vqcodec.images.reading import AS_IS, ReadOptions

STREAM_SUFFIXES = frozenset({".vqc"})


_FILES_PER_TURN = 16
"""What a worker process is given at a time: enough to share wavefronts, not so much that others wait."""


@dataclass
class _Worker:
    """This process, as one of several: the codec it loaded and the task it was given."""

    codec: Any = None
    task: Task | None = None
    error: Exception | None = None

    def set_up(self, task: Task, weights: Weights, threads: int) -> None:
        """Once, when the process starts."""
        from vqcodec.concurrency.threads import restrict

        restrict(threads)
        try:
            self.codec, self.task = weights.load(), task
        except VqcError as error:  # told with every file: an initializer that raises only breaks the pool
            self.error = error

    def run(self, jobs: Sequence[Job]) -> list[FileResult]:
        """One turn."""
        if self.error is not None:
            raise self.error
        assert self.task is not None
        return list(self.task.run(self.codec, jobs))


_worker = _Worker()


def _set_up_worker(task: Task, weights: Weights, threads: int) -> None:
    _worker.set_up(task, weights, threads)


def _run_in_worker(jobs: Sequence[Job]) -> list[FileResult]:
    return _worker.run(jobs)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sensible_workers(count: int) -> int:
    """Processes for so many files: loading weights takes as long as some pictures, and a few files share one walk."""
    return max(1, min(cores(), count // (2 * _FILES_PER_TURN)))


def run_in_processes(task: Task, jobs: Sequence[Job], weights: Weights, workers: int) -> Iterator[FileResult]:
    """Do the jobs in ``workers`` processes that share the cores; a result for each, in order."""
    turn = max(1, min(_FILES_PER_TURN, len(jobs) // workers))
    turns = (jobs[i : i + turn] for i in range(0, len(jobs), turn))
    threads = max(1, cores() // workers)
    for job, done in spread(_run_in_worker, turns, workers, _set_up_worker, (task, weights, threads)):
        yield FileResult(job.source, job.output, done) if isinstance(done, Exception) else done


@dataclass(frozen=True)
class FolderOptions:
    """How a folder of files is gone through."""

    existing: Existing = "refuse"
    """Outputs that are there already: an error each, replaced, or skipped."""
    weights: Weights = field(default_factory=Weights)
    workers: int = 1
    """Processes; each loads the weights.  With several, a script needs ``if __name__ == "__main__":``, as always with
    ``multiprocessing``: they import it again."""


DEFAULT = FolderOptions()


def encode_folder(
    source: AnyPath,
    target: AnyPath,
    quality: float = defaults.QUALITY,
    *,
    effort: int = defaults.EFFORT,
    max_pixels: int = defaults.MAX_PIXELS,
    options: ReadOptions = AS_IS,
    how: FolderOptions = DEFAULT,
) -> Iterator[FileResult]:
    """Encode every picture below a folder into a mirrored tree of ``.vqc`` files.

    Args:
        source: a folder; files whose suffix no picture format has are passed over.
        target: a folder, made if missing.
        quality, effort, max_pixels, options: as for :meth:`vqcodec.Codec.encode`.
        how: what to do about existing files, which weights, how many processes.

    Returns:
        An iterator that does the work: a result for each picture, in the order of their names.  One that fails has
        its ``error`` there and ends nothing.

    Raises:
        MissingFile, UnreadableFile: if ``source`` is not a folder.
        InvalidJobs: if ``target`` is a file.  With the first result: what loading the weights raises; with one
        process also InvalidQuality and InvalidEffort, which are otherwise each picture's error.
    """
    task = EncodeTask(quality, max_pixels, options, effort=effort)
    return _run_folder(source, target, Naming(".vqc", formats.picture_suffixes()), task, how)


def decode_folder(
    source: AnyPath,
    target: AnyPath,
    format: str = defaults.DECODE_FORMAT,
    *,
    max_pixels: int = defaults.MAX_PIXELS,
    how: FolderOptions = DEFAULT,
) -> Iterator[FileResult]:
    """Decode every ``.vqc`` file below a folder into a mirrored tree of pictures; see :func:`encode_folder`.

    Raises :class:`UnknownFormat` besides, for a ``format`` that Pillow does not write.
    """
    task = DecodeTask(formats.picture_format(format), max_pixels)
    return _run_folder(source, target, Naming(formats.suffix_of(task.format), STREAM_SUFFIXES), task, how)


def _run_folder(
    source: AnyPath, target: AnyPath, naming: Naming, task: Task, how: FolderOptions
) -> Iterator[FileResult]:
    if not os.path.isdir(source):
        raise UnreadableFile("Not a directory") if os.path.exists(source) else MissingFile("No such file or directory")
    return run(task, plan([os.fspath(source)], os.fspath(target), naming), how)


def run(task: Task, jobs: Sequence[Job], how: FolderOptions) -> Iterator[FileResult]:
    """Do the jobs that can be done; a result for each, in order."""
    gate = OutputPolicy(how.existing)
    refused: dict[int, FileResult] = {}
    ready = []
    for i, job in enumerate(jobs):
        try:
            if gate.admits(job):
                ready.append(job)
            else:
                refused[i] = FileResult(job.source, job.output, skipped=True)
        except Exception as error:
            refused[i] = FileResult(job.source, job.output, error)
    with closing(_run_ready(task, ready, how)) as done:
        for i in range(len(jobs)):
            yield refused[i] if i in refused else next(done)
        for _ in done:  # to its end, where processes go home
            raise AssertionError("more results than jobs")


def _run_ready(task: Task, jobs: Sequence[Job], how: FolderOptions) -> Generator[FileResult]:
    if not jobs:
        return
    if how.workers > 1 and len(jobs) > 1:
        replace(how.weights, device="cpu").load()  # what is wrong with them is said once, not by every process
        yield from run_in_processes(task, jobs, how.weights, min(how.workers, len(jobs)))
    else:
        yield from task.run(how.weights.load(), jobs)
