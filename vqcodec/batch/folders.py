"""Folders of files, in this process or in several: one result or one error each, in order."""

import os
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from vqcodec import Codec, defaults
from vqcodec.batch.jobs import Existing, Job, Naming, OutputPolicy, plan
from vqcodec.batch.tasks import DecodeTask, EncodeTask, FileResult, Task, Weights
from vqcodec.concurrency.processes import spread
from vqcodec.errors import MissingFile, UnreadableFile, VqcError
from vqcodec.files import AnyPath
from vqcodec.images import formats
from vqcodec.images.reading import AS_IS, ReadOptions

STREAM_SUFFIXES = frozenset({".vqc"})


_FILES_PER_CHUNK = 16
"""Files that a worker process takes at a time: enough to share wavefronts, few enough to balance the load."""


@dataclass
class _Worker:
    """State of a worker process: its codec and its task."""

    codec: Codec | None = None
    task: Task | None = None
    error: Exception | None = None

    def set_up(self, task: Task, weights: Weights, threads: int) -> None:
        """Load the codec; called once, when the process starts."""
        from vqcodec.concurrency.threads import restrict

        restrict(threads)
        try:
            self.codec, self.task = weights.load(), task
        except VqcError as error:  # reported with every file, because an initializer that raises breaks the pool
            self.error = error

    def run(self, jobs: Sequence[Job]) -> list[FileResult]:
        """Run the task on some jobs."""
        if self.error is not None:
            raise self.error
        assert self.task is not None and self.codec is not None
        return list(self.task.run(self.codec, jobs))


_worker = _Worker()


def _set_up_worker(task: Task, weights: Weights, threads: int) -> None:
    _worker.set_up(task, weights, threads)


def _run_in_worker(jobs: Sequence[Job]) -> list[FileResult]:
    return _worker.run(jobs)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sensible_workers(count: int) -> int:
    """Return a number of processes for ``count`` files; loading the weights takes as long as several pictures."""
    return max(1, min(cores(), count // (2 * _FILES_PER_CHUNK)))


def run_in_processes(task: Task, jobs: Sequence[Job], weights: Weights, workers: int) -> Iterator[FileResult]:
    """Run a task in ``workers`` processes that share the cores; yield a result for each job, in order."""
    size = max(1, min(_FILES_PER_CHUNK, len(jobs) // workers))
    chunks = (jobs[i : i + size] for i in range(0, len(jobs), size))
    threads = max(1, cores() // workers)
    for job, done in spread(_run_in_worker, chunks, workers, _set_up_worker, (task, weights, threads)):
        yield FileResult(job.source, job.output, done) if isinstance(done, Exception) else done


@dataclass(frozen=True)
class FolderOptions:
    """How to process a folder of files."""

    existing: Existing = "refuse"
    """What to do with existing outputs: ``refuse`` (an error for each), ``replace`` or ``skip``."""
    weights: Weights = field(default_factory=Weights)
    workers: int = 1
    """Number of processes; each loads the weights.  With several, a script needs ``if __name__ == "__main__":``: each
    process imports it again."""


DEFAULT = FolderOptions()


def encode_folder(
    source: AnyPath,
    target: AnyPath,
    quality: float = defaults.QUALITY,
    *,
    effort: int = defaults.EFFORT,
    max_pixels: int = defaults.MAX_PIXELS,
    options: ReadOptions = AS_IS,
    folder_options: FolderOptions = DEFAULT,
    how: FolderOptions | None = None,
) -> Iterator[FileResult]:
    """Encode every picture in a folder and its subfolders into a mirrored tree of ``.vqc`` files.

    Args:
        source: a folder; files without the suffix of a picture format are ignored.
        target: a folder, created if missing.
        quality, effort, max_pixels, options: as for :meth:`vqcodec.Codec.encode`.
        folder_options: what to do with existing outputs, which weights, how many processes.
        how: deprecated name of ``folder_options``.

    Returns:
        An iterator that does the work and yields a result for each picture, in the order of their names.  A picture
        that fails gives a result with its ``error``; the others are not affected.

    Raises:
        MissingFile, UnreadableFile: if ``source`` is not a folder.
        InvalidJobs: if ``target`` is a file.  With the first result: what loading the weights raises; with one
        process also InvalidQuality and InvalidEffort, which are otherwise each picture's error.
    """
    task = EncodeTask(quality, max_pixels, options, effort=effort)
    return _run_folder(source, target, Naming(".vqc", formats.picture_suffixes()), task, _renamed(how, folder_options))


def decode_folder(
    source: AnyPath,
    target: AnyPath,
    format: str = defaults.DECODE_FORMAT,
    *,
    max_pixels: int = defaults.MAX_PIXELS,
    folder_options: FolderOptions = DEFAULT,
    how: FolderOptions | None = None,
) -> Iterator[FileResult]:
    """Decode every ``.vqc`` file in a folder and its subfolders into a mirrored tree; see :func:`encode_folder`.

    Raises :class:`UnknownFormat`, too, for a ``format`` that Pillow cannot write.
    """
    task = DecodeTask(formats.picture_format(format), max_pixels)
    return _run_folder(
        source, target, Naming(formats.suffix_of(task.format), STREAM_SUFFIXES), task, _renamed(how, folder_options)
    )


def _renamed(how: FolderOptions | None, folder_options: FolderOptions) -> FolderOptions:
    """Accept the deprecated keyword ``how``."""
    if how is None:
        return folder_options
    warnings.warn("how= is renamed to folder_options=", DeprecationWarning, stacklevel=3)
    return how


def _run_folder(
    source: AnyPath, target: AnyPath, naming: Naming, task: Task, options: FolderOptions
) -> Iterator[FileResult]:
    if not os.path.isdir(source):
        raise UnreadableFile("Not a directory") if os.path.exists(source) else MissingFile("No such file or directory")
    return run(task, plan([os.fspath(source)], os.fspath(target), naming), options)


def run(task: Task, jobs: Sequence[Job], options: FolderOptions) -> Iterator[FileResult]:
    """Run a task on the jobs that can be done; yield a result for each job, in order."""
    gate = OutputPolicy(options.existing)
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
    with closing(_run_ready(task, ready, options)) as done:
        for i in range(len(jobs)):
            yield refused[i] if i in refused else next(done)
        for _ in done:  # to its end, so that worker processes are stopped
            raise AssertionError("more results than jobs")


def _run_ready(task: Task, jobs: Sequence[Job], options: FolderOptions) -> Generator[FileResult]:
    if not jobs:
        return
    if options.workers > 1 and len(jobs) > 1:
        replace(
            options.weights, device="cpu"
        ).load()  # once here, so that wrong weights are not reported by every process
        yield from run_in_processes(task, jobs, options.weights, min(options.workers, len(jobs)))
    else:
        yield from task.run(options.weights.load(), jobs)
