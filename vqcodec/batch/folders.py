"""Encode or decode all files of a folder, in this process or in several: one result or one error each, in order."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vqcodec import defaults
from vqcodec.batch.deprecation import renamed_keyword
from vqcodec.batch.jobs import Existing, Job, OnPassedOver, OutputPolicy, Suffixes, plan_jobs
from vqcodec.batch.tasks import DecodeTask, EncodeTask, FileResult, Task, Weights
from vqcodec.codec.options import DecodeOptions, EncodeOptions
from vqcodec.concurrency.processes import map_in_processes
from vqcodec.errors import MissingFile, UnreadableFile, VqcError, silence_libraries
from vqcodec.files import AnyPath
from vqcodec.images import formats
from vqcodec.images.reading import AS_IS, ReadOptions

if TYPE_CHECKING:  # imports torch
    from vqcodec.codec.codec import Codec

STREAM_SUFFIXES = frozenset({".vqc"})


_FILES_PER_CHUNK = 16
"""Files that a worker process gets at a time: enough to share wavefronts, few enough to keep all processes busy."""


@dataclass
class _Worker:
    """State of a worker process: its codec and its task."""

    codec: "Codec | None" = None
    task: Task | None = None
    error: Exception | None = None

    def set_up(self, task: Task, weights: Weights, threads: int) -> None:
        """Load the codec, once per process."""
        from vqcodec.concurrency.threads import limit_threads

        silence_libraries()
        limit_threads(threads)
        try:
            self.codec, self.task = weights.load(), task
        except VqcError as error:  # reported with every file: an initializer that raises breaks the whole pool
            self.error = error

    def run(self, jobs: Sequence[Job]) -> list[FileResult]:
        """Run one chunk of jobs."""
        if self.error is not None:
            raise self.error
        assert self.task is not None and self.codec is not None
        return list(self.task.run(self.codec, jobs))


_worker = _Worker()


def _set_up_worker(task: Task, weights: Weights, threads: int) -> None:
    _worker.set_up(task, weights, threads)


def _run_in_worker(jobs: Sequence[Job]) -> list[FileResult]:
    return _worker.run(jobs)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(count: int) -> int:
    """Return how many processes to use for a number of files: at most one per core and one per 32 files.

    Loading the weights takes as long as encoding some pictures, and the files of one chunk share a traversal.
    """
    return max(1, min(available_cores(), count // (2 * _FILES_PER_CHUNK)))


def run_in_processes(task: Task, jobs: Sequence[Job], weights: Weights, workers: int) -> Iterator[FileResult]:
    """Run jobs in processes that share the cores and yield a result for each, in order."""
    size = max(1, min(_FILES_PER_CHUNK, len(jobs) // workers))
    chunks = (jobs[i : i + size] for i in range(0, len(jobs), size))
    threads = max(1, available_cores() // workers)
    for job, done in map_in_processes(_run_in_worker, chunks, workers, _set_up_worker, (task, weights, threads)):
        yield FileResult(job.source, job.output, done) if isinstance(done, Exception) else done


@dataclass(frozen=True)
class FolderOptions:
    """Options of :func:`encode_folder` and :func:`decode_folder`."""

    existing: Existing = "refuse"
    """Treatment of outputs that already exist: "refuse" (an error each), "replace" or "skip"."""
    weights: Weights = field(default_factory=Weights)
    """Model and device."""
    workers: int = 1
    """Number of processes, each of which loads the weights.  With more than one, the calling script needs
    ``if __name__ == "__main__":``, because ``multiprocessing`` imports it again in each process."""


DEFAULT = FolderOptions()


@renamed_keyword("how", "folder_options")
def encode_folder(
    source: AnyPath,
    target: AnyPath,
    quality: float = defaults.QUALITY,
    *,
    effort: int = defaults.EFFORT,
    max_pixels: int = defaults.MAX_PIXELS,
    options: ReadOptions = AS_IS,
    lossless: bool | None = None,
    folder_options: FolderOptions = DEFAULT,
) -> Iterator[FileResult]:
    """Encode every picture below a folder to a ``.vqc`` file in the same tree below another folder.

    Args:
        source: a folder; files without the suffix of a picture format are ignored.
        target: a folder, created if missing.
        quality, effort, max_pixels, options, lossless: see :meth:`vqcodec.Codec.encode`.
        folder_options: what to do about existing files, which weights, how many processes.

    Returns:
        An iterator that does the work and yields one result per picture, in the order of their names.  A picture that
        fails has its ``error`` in the result; the others continue.

    Raises:
        MissingFile, UnreadableFile: ``source`` is not a folder.
        InvalidJobs: ``target`` is a file.  With the first result: what loading the weights raises; with one process
            also InvalidQuality and InvalidEffort, which are otherwise the error of each picture.
    """
    encode_options = EncodeOptions(quality, None, effort, max_pixels, options, lossless)
    return encode_tree(source, target, encode_options, folder_options)


@renamed_keyword("how", "folder_options")
def decode_folder(
    source: AnyPath,
    target: AnyPath,
    format: str = defaults.DECODE_FORMAT,
    *,
    max_pixels: int = defaults.MAX_PIXELS,
    realism: float = defaults.REALISM,
    folder_options: FolderOptions = DEFAULT,
) -> Iterator[FileResult]:
    """Decode every ``.vqc`` file below a folder to a picture in the same tree below another folder.

    Arguments, results and errors are those of :func:`encode_folder`; ``realism`` is that of
    :meth:`vqcodec.Codec.decode`.

    Raises:
        UnknownFormat: Pillow does not write ``format``.
    """
    task = DecodeTask(formats.picture_format(format), DecodeOptions(max_pixels, realism=realism))
    suffixes = Suffixes(formats.suffix_of(task.format), STREAM_SUFFIXES)
    return _run_tree(source, target, suffixes, task, folder_options)


def encode_tree(
    source: AnyPath,
    target: AnyPath,
    encode_options: EncodeOptions,
    folder_options: FolderOptions,
    passed_over: OnPassedOver | None = None,
) -> Iterator[FileResult]:
    """Do the work of :func:`encode_folder`, whose options are given as one object; see :func:`plan_jobs`."""
    suffixes = Suffixes(".vqc", formats.picture_suffixes())
    return _run_tree(source, target, suffixes, EncodeTask(encode_options), folder_options, passed_over)


def _run_tree(
    source: AnyPath,
    target: AnyPath,
    suffixes: Suffixes,
    task: Task,
    folder_options: FolderOptions,
    passed_over: OnPassedOver | None = None,
) -> Iterator[FileResult]:
    if not os.path.isdir(source):
        raise UnreadableFile("Not a directory") if os.path.exists(source) else MissingFile("No such file or directory")
    return run_jobs(task, plan_jobs([os.fspath(source)], os.fspath(target), suffixes, passed_over), folder_options)


def run_jobs(task: Task, jobs: Sequence[Job], folder_options: FolderOptions) -> Iterator[FileResult]:
    """Check the jobs, run those that pass, and yield a result for each, in order."""
    policy = OutputPolicy(folder_options.existing)
    not_run: dict[int, FileResult] = {}
    ready = []
    for i, job in enumerate(jobs):
        try:
            if policy.should_run(job):
                ready.append(job)
            else:
                not_run[i] = FileResult(job.source, job.output, skipped=True)
        except Exception as error:
            not_run[i] = FileResult(job.source, job.output, error)
    with closing(_run_ready(task, ready, folder_options)) as done:
        for i in range(len(jobs)):
            yield not_run[i] if i in not_run else next(done)
        for _ in done:  # exhaust the iterator, which ends the worker processes
            raise AssertionError("more results than jobs")


def _run_ready(task: Task, jobs: Sequence[Job], folder_options: FolderOptions) -> Generator[FileResult]:
    if not jobs:
        return
    weights = folder_options.weights
    if folder_options.workers > 1 and len(jobs) > 1:
        replace(weights, device="cpu").load()  # report invalid weights once, not once per process
        yield from run_in_processes(task, jobs, weights, min(folder_options.workers, len(jobs)))
    else:
        yield from task.run(weights.load(), jobs)
