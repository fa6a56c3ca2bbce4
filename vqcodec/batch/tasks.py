"""The tasks of a batch: encode or decode files, with one result for each.

``jobs.py`` decides which file becomes which, ``folders.py`` distributes jobs to processes.
"""

import itertools
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import vqcodec
from vqcodec import defaults, files, metrics
from vqcodec.batch.jobs import STANDARD, Job
from vqcodec.codec.rate_control import Goal
from vqcodec.codec.results import Decoded
from vqcodec.codec.tiles import Box
from vqcodec.errors import VqcWarning
from vqcodec.images import formats
from vqcodec.images.modes import Remark
from vqcodec.images.reading import AS_IS, ReadOptions
from vqcodec.images.strips import STRIPS_ABOVE, can_join, write_strips
from vqcodec.stream import container


@dataclass(frozen=True)
class FileResult:
    """The result for one file."""

    source: str
    output: str
    error: Exception | None = None
    skipped: bool = False
    """Whether the job was skipped because its output exists."""
    remarks: tuple[Remark, ...] = ()
    width: int = 0
    height: int = 0
    bytes: int = 0
    """Size of the output file."""
    quality: float | None = None
    """Quality of an encoded picture, 0 to 100."""
    psnr: float | None = None
    """PSNR in dB, if it was the goal."""
    seconds: float = 0.0

    @property
    def bpp(self) -> float:
        """Bits of output per pixel; 0 without output."""
        return metrics.bits_per_pixel(self.bytes, self.width, self.height) if self.bytes else 0.0


@dataclass(frozen=True)
class Weights:
    """The arguments of :class:`vqcodec.Codec`, in a form that can be sent to another process."""

    model: str | None = None
    model_path: str | None = None
    device: str = "auto"

    def load(self) -> "vqcodec.Codec":
        """Load the codec.  Raises what :class:`vqcodec.Codec` raises."""
        return vqcodec.Codec(self.model, model_path=self.model_path, device=self.device)


class Task(Protocol):
    """Work to do with files.  Instances are sent to other processes."""

    def run(self, codec: "vqcodec.Codec", jobs: Sequence[Job]) -> Iterator[FileResult]:
        """Run the jobs; yield a result for each, in order."""
        ...


@dataclass(frozen=True)
class EncodeTask:
    """Encode picture files."""

    quality: float = defaults.QUALITY
    max_pixels: int = defaults.MAX_PIXELS
    options: ReadOptions = AS_IS
    goal: Goal | None = None
    """Goal to search the quality for; replaces ``quality``."""
    effort: int = defaults.EFFORT

    def run(self, codec: "vqcodec.Codec", jobs: Sequence[Job]) -> Iterator[FileResult]:
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
        """Arguments of encoding besides pictures and quality."""
        return {"effort": self.effort, "max_pixels": self.max_pixels, "options": self.options}

    def _run_to_goal(self, codec: "vqcodec.Codec", job: Job, goal: Goal) -> FileResult:
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
    """Decode streams to picture files of one format."""

    format: str = "PNG"
    max_pixels: int = defaults.MAX_PIXELS
    preview: bool = False
    """Decode only the top grid."""
    region: Box | None = None
    """Decode only this rectangle of each picture."""
    partial: bool = False
    """Decode what is intact of damaged streams."""

    def run(self, codec: "vqcodec.Codec", jobs: Sequence[Job]) -> Iterator[FileResult]:
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
        """Return whether a picture is large and can be written row by row."""
        if self.preview or self.region is not None or self.partial or STANDARD in (job.source, job.output):
            return False
        if not os.path.isfile(job.source) or (os.path.exists(job.output) and not os.path.isfile(job.output)):
            return False  # a pipe can be read only once, and output to a device cannot be undone
        try:
            with files.open_binary(job.source) as file:
                header, _ = container.read_header(file.read(container.MAX_HEADER_BYTES))
        except Exception:  # decoding reports it
            return False
        return header.width * header.height > STRIPS_ABOVE and can_join(self.format, header.layout.has_alpha)

    def _run_in_strips(self, codec: "vqcodec.Codec", job: Job) -> FileResult:
        start = time.perf_counter()
        done = FileResult(job.source, job.output)
        with _collected_remarks() as remarks:
            try:
                data = files.read_bytes(job.source)
                header, _ = container.read_header(data)
                strips = codec.decode_strips(data, max_pixels=self.max_pixels)
                with job.file() as file:
                    write_strips(file, self.format, (header.width, header.height), strips)
                    written = file.tell()
            except Exception as error:
                return replace(done, error=error)
        done = replace(done, remarks=tuple(remarks), seconds=time.perf_counter() - start)
        return replace(done, width=header.width, height=header.height, bytes=written)

    def _decode(self, codec: "vqcodec.Codec", jobs: Iterable[Job]) -> Iterator[Decoded]:
        sources = (job.open() for job in jobs)
        if not self.preview and self.region is None:
            yield from codec.decode_batch(sources, max_pixels=self.max_pixels, partial=self.partial)
            return
        for index, source in enumerate(sources):
            start = time.perf_counter()
            with _collected_remarks() as remarks:
                try:
                    if self.region is None:
                        image = codec.decode_preview(source, max_pixels=self.max_pixels, partial=self.partial)
                    else:
                        image = codec.decode_region(
                            source, self.region, max_pixels=self.max_pixels, partial=self.partial
                        )
                except Exception as error:
                    result = Decoded(index, error=error)
                else:
                    result = Decoded(index, image, seconds=time.perf_counter() - start)
            yield replace(result, remarks=tuple(remarks))


def _deliver_stream(job: Job, data: bytes, done: FileResult) -> FileResult:
    header, _ = container.read_header(data)
    try:
        job.deliver(data)
    except Exception as error:
        return replace(done, error=error)
    return replace(done, width=header.width, height=header.height, bytes=len(data))


def _deliver_image(job: Job, image: Any, format: str, done: FileResult) -> FileResult:
    start = time.perf_counter()
    with _collected_remarks() as remarks:
        try:
            data = formats.image_bytes(image, format)
            job.deliver(data)
        except Exception as error:
            return replace(done, error=error)
    seconds = done.seconds + time.perf_counter() - start
    width, height = image.size
    said = (*done.remarks, *remarks)
    return replace(done, remarks=said, width=width, height=height, bytes=len(data), seconds=seconds)


@contextmanager
def _collected_remarks() -> Iterator[list[Remark]]:
    """Collect the warnings of vqcodec as remarks; the list is filled at the end."""
    remarks: list[Remark] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield remarks
    remarks += [Remark(str(w.message)) for w in caught if issubclass(w.category, VqcWarning)]
