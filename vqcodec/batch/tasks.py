"""Encode or decode files with a codec: one result or one error for each file, in order.

A task is a picklable description of the work, which worker processes also receive.
"""

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from PIL import Image

import vqcodec
from vqcodec import files, metrics
from vqcodec.batch.jobs import STANDARD, Job
from vqcodec.codec.options import DecodeOptions, EncodeOptions
from vqcodec.codec.rate_control import Goal
from vqcodec.codec.results import Decoded
from vqcodec.images import formats
from vqcodec.images.modes import Remark, collected_remarks
from vqcodec.images.strips import STRIPS_ABOVE, can_join, write_strips
from vqcodec.stream import container

if TYPE_CHECKING:  # imports torch
    from vqcodec.codec.codec import Codec


@dataclass(frozen=True)
class FileResult:
    """Result of one file."""

    source: str
    output: str
    error: Exception | None = None
    skipped: bool = False
    """The output already existed and was kept, as requested."""
    remarks: tuple[Remark, ...] = ()
    width: int = 0
    """Width in pixels."""
    height: int = 0
    """Height in pixels."""
    bytes: int = 0
    """Size of the output."""
    quality: float | None = None
    """Quality, 0 to 100, of an encoded picture."""
    psnr: float | None = None
    """PSNR in dB, if it was the goal."""
    seconds: float = 0.0

    @property
    def bpp(self) -> float:
        """Bits of output per pixel; 0 without an output."""
        return metrics.bits_per_pixel(self.bytes, self.width, self.height) if self.bytes else 0.0


@dataclass(frozen=True)
class Weights:
    """Arguments of :class:`vqcodec.Codec`, which worker processes receive to load a codec of their own."""

    model: str | None = None
    """Id of a model."""
    model_path: str | None = None
    """Path of a weights file, instead of ``model``."""
    device: str = "auto"
    """``auto``, ``cpu`` or ``cuda[:N]``."""

    def load(self) -> "Codec":
        """Load the codec.  Raises what :class:`vqcodec.Codec` raises."""
        return vqcodec.Codec(self.model, model_path=self.model_path, device=self.device)


class Task(Protocol):
    """Work to do on files.  Instances are sent to worker processes."""

    def run(self, codec: "Codec", jobs: Sequence[Job]) -> Iterator[FileResult]:
        """Run the jobs and yield a result for each, in order."""
        ...


@dataclass(frozen=True)
class EncodeTask:
    """Encode picture files to streams."""

    options: EncodeOptions = field(default_factory=EncodeOptions)

    def run(self, codec: "Codec", jobs: Sequence[Job]) -> Iterator[FileResult]:
        """See :class:`Task`."""
        options = self.options
        if options.goal is not None:
            for job in jobs:
                yield self._encode_to_goal(codec, job, options.goal)
            return
        sources = (job.open_source() for job in jobs)
        results = codec.encode_batch(
            sources,
            options.quality,
            effort=options.effort,
            max_pixels=options.max_pixels,
            options=options.read,
            lossless=options.lossless,
        )
        for job, result in zip(jobs, results, strict=True):
            done = FileResult(job.source, job.output, result.error, remarks=result.remarks, seconds=result.seconds)
            if result.data is None:
                yield done
            else:
                yield _write_stream(job, result.data, replace(done, quality=options.quality))

    def _encode_to_goal(self, codec: "Codec", job: Job, goal: Goal) -> FileResult:
        options = self.options
        start = time.perf_counter()
        done = FileResult(job.source, job.output)
        try:
            reached = codec.encode_to_goal(
                job.open_source(),
                goal,
                effort=options.effort,
                max_pixels=options.max_pixels,
                options=options.read,
                lossless=options.lossless,
            )
        except Exception as error:
            return replace(done, error=error)
        psnr = reached.value if goal.kind == "psnr" else None
        seconds = time.perf_counter() - start
        done = replace(done, remarks=reached.remarks, quality=reached.quality, psnr=psnr, seconds=seconds)
        return _write_stream(job, reached.data, done)


@dataclass(frozen=True)
class DecodeTask:
    """Decode streams to picture files of one format."""

    format: str = "PNG"
    """Name of the format in Pillow."""
    options: DecodeOptions = field(default_factory=DecodeOptions)

    def run(self, codec: "Codec", jobs: Sequence[Job]) -> Iterator[FileResult]:
        """See :class:`Task`."""
        for in_strips, group in itertools.groupby(jobs, self._use_strips):
            if in_strips:
                yield from (self._decode_in_strips(codec, job) for job in group)
                continue
            these, sources = itertools.tee(group)
            for job, result in zip(these, self._decode(codec, sources), strict=True):
                done = FileResult(job.source, job.output, result.error, remarks=result.remarks, seconds=result.seconds)
                yield done if result.image is None else _write_image(job, result.image, self.format, done)

    def _use_strips(self, job: Job) -> bool:
        """Return True if the picture is large and can be decoded and written in strips of rows."""
        options = self.options
        if options.preview or options.region is not None or options.partial or STANDARD in (job.source, job.output):
            return False
        if not os.path.isfile(job.source) or files.is_in_place(job.output):
            return False  # a pipe can be read only once; what is written to a device cannot be undone
        try:
            with files.open_binary(job.source) as file:
                header, _ = container.read_header(file.read(container.MAX_HEADER_BYTES))
        except Exception:  # decoding will report it
            return False
        return header.width * header.height > STRIPS_ABOVE and can_join(self.format, header.layout.has_alpha)

    def _decode_in_strips(self, codec: "Codec", job: Job) -> FileResult:
        start = time.perf_counter()
        done = FileResult(job.source, job.output)
        with collected_remarks() as remarks:
            try:
                data = files.read_bytes(job.source)
                header, _ = container.read_header(data)
                strips = codec.decode_strips(data, max_pixels=self.options.max_pixels, realism=self.options.realism)
                with job.output_file() as file:
                    write_strips(file, self.format, (header.width, header.height), strips)
                    written = file.tell()
            except Exception as error:
                return replace(done, error=error)
        done = replace(done, remarks=tuple(remarks), seconds=time.perf_counter() - start)
        return replace(done, width=header.width, height=header.height, bytes=written)

    def _decode(self, codec: "Codec", jobs: Iterable[Job]) -> Iterator[Decoded]:
        options = self.options
        max_pixels, partial = options.max_pixels, options.partial
        sources = (job.open_source() for job in jobs)
        if not options.preview and options.region is None:
            yield from codec.decode_batch(sources, max_pixels=max_pixels, partial=partial, realism=options.realism)
            return
        for index, source in enumerate(sources):
            start = time.perf_counter()
            with collected_remarks() as remarks:
                try:
                    if options.region is None:
                        image = codec.decode_preview(source, max_pixels=max_pixels, partial=partial)
                    else:
                        image = codec.decode_region(
                            source, options.region, max_pixels=max_pixels, partial=partial, realism=options.realism
                        )
                except Exception as error:
                    result = Decoded(index, error=error)
                else:
                    result = Decoded(index, image, seconds=time.perf_counter() - start)
            yield replace(result, remarks=tuple(remarks))


def _write_stream(job: Job, data: bytes, done: FileResult) -> FileResult:
    header, _ = container.read_header(data)
    try:
        job.write_output(data)
    except Exception as error:
        return replace(done, error=error)
    return replace(done, width=header.width, height=header.height, bytes=len(data))


def _write_image(job: Job, image: Image.Image, format: str, done: FileResult) -> FileResult:
    start = time.perf_counter()
    with collected_remarks() as remarks:
        try:
            data = formats.image_bytes(image, format)
            job.write_output(data)
        except Exception as error:
            return replace(done, error=error)
    seconds = done.seconds + time.perf_counter() - start
    width, height = image.size
    remarks = [*done.remarks, *remarks]
    return replace(done, remarks=tuple(remarks), width=width, height=height, bytes=len(data), seconds=seconds)
