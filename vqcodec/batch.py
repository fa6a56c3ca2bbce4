"""Many files: one result or one error each, in order, in this process or in several.

What a file becomes is the codec's business, which file becomes which is in ``plan.py``; here are the tasks that a
process can be given, and how they are spread.
"""

import itertools
import os
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import vqcodec
from vqcodec import bitstream, files, metrics
from vqcodec.errors import MissingFile, UnreadableFile, VqcError, VqcWarning
from vqcodec.image import AS_IS, MAX_PIXELS, ReadOptions
from vqcodec.modes import Remark
from vqcodec.plan import STANDARD, Existing, Gate, Job, Naming, plan
from vqcodec.processes import spread
from vqcodec.results import Decoded
from vqcodec.search import Goal
from vqcodec.strips import STRIPS_ABOVE, joins, write_strips
from vqcodec.tiles import Box

STREAM_SUFFIXES = frozenset({".vqc"})
_FILES_PER_TURN = 16
"""What a worker process is given at a time: enough to share wavefronts, not so much that others wait."""


@dataclass(frozen=True)
class FileResult:
    """What became of one file."""

    source: str
    output: str
    error: Exception | None = None
    skipped: bool = False
    """The output was there already, and that was all right."""
    remarks: tuple[Remark, ...] = ()
    width: int = 0
    height: int = 0
    bytes: int = 0
    """Size of the output."""
    quality: float | None = None
    """Of an encoded picture."""
    psnr: float | None = None
    """In dB, where it was the goal."""
    seconds: float = 0.0

    @property
    def bpp(self) -> float:
        """Bits of output for each pixel; 0 where there is no output."""
        return metrics.bits_per_pixel(self.bytes, self.width, self.height) if self.bytes else 0.0


@dataclass(frozen=True)
class Weights:
    """What to make a codec of: the arguments of :class:`vqcodec.Codec`, in a form that another process can be given."""

    model: str | None = None
    model_path: str | None = None
    device: str = "auto"

    def load(self) -> Any:
        """The :class:`vqcodec.Codec`."""
        return vqcodec.Codec(self.model, model_path=self.model_path, device=self.device)


class Task(Protocol):
    """What to do with files; instances travel to other processes."""

    def run(self, codec: Any, jobs: Sequence[Job]) -> Iterator[FileResult]:
        """Do the jobs; a result for each, in order."""
        ...


@dataclass(frozen=True)
class EncodeTask:
    """Picture files -> streams."""

    quality: float = 50.0
    max_pixels: int = MAX_PIXELS
    options: ReadOptions = AS_IS
    goal: Goal | None = None
    """Takes the place of the quality."""
    effort: int = 1

    def run(self, codec: Any, jobs: Sequence[Job]) -> Iterator[FileResult]:
        """See :class:`Task`."""
        if self.goal is not None:
            for job in jobs:
                yield self._run_to_goal(codec, job, self.goal)
            return
        sources = (job.open() for job in jobs)
        results = codec.encode_batch(sources, self.quality, **self._common)
        for job, result in zip(jobs, results, strict=True):
            done = FileResult(job.source, job.output, result.error, remarks=result.remarks, seconds=result.seconds)
            yield (
                done if result.data is None else _deliver_stream(job, result.data, replace(done, quality=self.quality))
            )

    @property
    def _common(self) -> dict[str, Any]:
        """What encoding takes besides pictures and a quality."""
        return {"effort": self.effort, "max_pixels": self.max_pixels, "options": self.options}

    def _run_to_goal(self, codec: Any, job: Job, goal: Goal) -> FileResult:
        start = time.perf_counter()
        done = FileResult(job.source, job.output)
        try:
            found = codec.encode_to_goal(job.open(), goal, **self._common)
        except Exception as error:
            return replace(done, error=error)
        psnr = found.value if goal.kind == "psnr" else None
        seconds = time.perf_counter() - start
        done = replace(done, remarks=found.remarks, quality=found.quality, psnr=psnr, seconds=seconds)
        return _deliver_stream(job, found.data, done)


@dataclass(frozen=True)
class DecodeTask:
    """Streams -> picture files of one format."""

    format: str = "PNG"
    max_pixels: int = MAX_PIXELS
    preview: bool = False
    """Coarse pictures, from the top grids alone."""
    region: Box | None = None
    """Only this rectangle of each picture."""
    partial: bool = False
    """Make do with the intact sections of damaged streams."""

    def run(self, codec: Any, jobs: Sequence[Job]) -> Iterator[FileResult]:
        """See :class:`Task`."""
        for in_strips, some in itertools.groupby(jobs, self._goes_in_strips):
            if in_strips:
                yield from (self._run_in_strips(codec, job) for job in some)
                continue
            mine, theirs = itertools.tee(some)
            for job, result in zip(mine, self._decode(codec, theirs), strict=True):
                done = FileResult(job.source, job.output, result.error, remarks=result.remarks, seconds=result.seconds)
                yield done if result.image is None else _deliver_image(job, result.image, self.format, done)

    def _goes_in_strips(self, job: Job) -> bool:
        """Whether the picture is large, and its rows can be written as they come."""
        if self.preview or self.region is not None or self.partial or STANDARD in (job.source, job.output):
            return False
        if not os.path.isfile(job.source) or (os.path.exists(job.output) and not os.path.isfile(job.output)):
            return False  # what comes from a pipe comes once, what is written to a device cannot be taken back
        try:
            with files.open_binary(job.source) as file:
                header, _ = bitstream.read_header(file.read(bitstream.MAX_HEADER_BYTES))
        except Exception:  # decoding will say what it is
            return False
        return header.width * header.height > STRIPS_ABOVE and joins(self.format, header.layout.has_alpha)

    def _run_in_strips(self, codec: Any, job: Job) -> FileResult:
        start = time.perf_counter()
        done = FileResult(job.source, job.output)
        with _listening() as remarks:
            try:
                data = files.read_bytes(job.source)
                header, _ = bitstream.read_header(data)
                strips = codec.decode_strips(data, max_pixels=self.max_pixels)
                with job.file() as file:
                    write_strips(file, self.format, (header.width, header.height), strips)
                    written = file.tell()
            except Exception as error:
                return replace(done, error=error)
        done = replace(done, remarks=tuple(remarks), seconds=time.perf_counter() - start)
        return replace(done, width=header.width, height=header.height, bytes=written)

    def _decode(self, codec: Any, jobs: Iterable[Job]) -> Iterator[Decoded]:
        sources = (job.open() for job in jobs)
        if not self.preview and self.region is None:
            yield from codec.decode_batch(sources, max_pixels=self.max_pixels, partial=self.partial)
            return
        for index, source in enumerate(sources):
            start = time.perf_counter()
            limits = {"max_pixels": self.max_pixels, "partial": self.partial}
            with _listening() as remarks:
                try:
                    if self.region is None:
                        image = codec.decode_preview(source, **limits)
                    else:
                        image = codec.decode_region(source, self.region, **limits)
                except Exception as error:
                    result = Decoded(index, error=error)
                else:
                    result = Decoded(index, image, seconds=time.perf_counter() - start)
            yield replace(result, remarks=tuple(remarks))


def _deliver_stream(job: Job, data: bytes, done: FileResult) -> FileResult:
    header, _ = bitstream.read_header(data)
    try:
        job.deliver(data)
    except Exception as error:
        return replace(done, error=error)
    return replace(done, width=header.width, height=header.height, bytes=len(data))


def _deliver_image(job: Job, image: Any, format: str, done: FileResult) -> FileResult:
    start = time.perf_counter()
    with _listening() as remarks:
        try:
            data = files.image_bytes(image, format)
            job.deliver(data)
        except Exception as error:
            return replace(done, error=error)
    seconds = done.seconds + time.perf_counter() - start
    width, height = image.size
    said = (*done.remarks, *remarks)
    return replace(done, remarks=said, width=width, height=height, bytes=len(data), seconds=seconds)


@contextmanager
def _listening() -> Iterator[list[Remark]]:
    """Collect what is warned of, filled in at the end."""
    remarks: list[Remark] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield remarks
    remarks += [Remark(str(w.message)) for w in caught if issubclass(w.category, VqcWarning)]


@dataclass
class _Worker:
    """This process, as one of several: the codec it loaded and the task it was given."""

    codec: Any = None
    task: Task | None = None
    error: Exception | None = None

    def set_up(self, task: Task, weights: Weights, threads: int) -> None:
        """Once, when the process starts."""
        from vqcodec.threads import restrict

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
    source: files.AnyPath,
    target: files.AnyPath,
    quality: float = 50.0,
    *,
    effort: int = 1,
    max_pixels: int = MAX_PIXELS,
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
        Misuse: if ``target`` is a file.  With the first result: what loading the weights raises; with one process also
        InvalidQuality and InvalidEffort, which are otherwise each picture's error.
    """
    task = EncodeTask(quality, max_pixels, options, effort=effort)
    return _run_folder(source, target, Naming(".vqc", files.picture_suffixes()), task, how)


def decode_folder(
    source: files.AnyPath,
    target: files.AnyPath,
    format: str = "png",
    *,
    max_pixels: int = MAX_PIXELS,
    how: FolderOptions = DEFAULT,
) -> Iterator[FileResult]:
    """Decode every ``.vqc`` file below a folder into a mirrored tree of pictures; see :func:`encode_folder`.

    Raises :class:`UnknownFormat` besides, for a ``format`` that Pillow does not write.
    """
    task = DecodeTask(files.picture_format(format), max_pixels)
    return _run_folder(source, target, Naming(files.suffix_of(task.format), STREAM_SUFFIXES), task, how)


def _run_folder(
    source: files.AnyPath, target: files.AnyPath, naming: Naming, task: Task, how: FolderOptions
) -> Iterator[FileResult]:
    if not os.path.isdir(source):
        raise UnreadableFile("Not a directory") if os.path.exists(source) else MissingFile("No such file or directory")
    return run(task, plan([os.fspath(source)], os.fspath(target), naming), how)


def run(task: Task, jobs: Sequence[Job], how: FolderOptions) -> Iterator[FileResult]:
    """Do the jobs that can be done; a result for each, in order."""
    gate = Gate(how.existing)
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
