"""``vqcodec batch``: encode whole collections, on this machine or on a cluster.

Ray, torch and Pillow are imported when the command runs.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import click

from vqcodec.cli.console import Console
from vqcodec.cli.options import (
    Keeping,
    ModelChoice,
    effort_option,
    keeping_options,
    max_pixels_option,
    model_options,
    quality_option,
    reporting,
)
from vqcodec.errors import InvalidJobs, UnwritableFile

_EXAMPLES = """\b
Examples:
  vqcodec batch photos/ streams/
  vqcodec batch --engine ray -j 8 photos/ streams/
  vqcodec batch --engine ray --address auto --format parquet s3://bucket/photos s3://bucket/table"""


@dataclass(frozen=True)
class _Request:
    """The arguments of the command."""

    source: str
    target: str
    quality: float
    effort: int
    max_pixels: int
    keeping: Keeping
    weights: ModelChoice
    jobs: int | None


@dataclass
class _Count:
    """Totals of the results."""

    encoded: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: int = 0
    pixels: int = 0
    seconds: float = 0.0
    """Time of all workers together, including reading and writing."""

    def add(self, result: Any) -> None:
        """Add a result."""
        self.failed += result.error is not None
        self.skipped += result.skipped
        self.encoded += result.error is None and not result.skipped
        self.bytes += result.bytes
        self.pixels += result.width * result.height
        self.seconds += result.seconds

    @property
    def bpp(self) -> float | None:
        """Bits per pixel of the encoded pictures; None without any."""
        return 8 * self.bytes / self.pixels if self.pixels else None


@click.command(short_help="Encode collections, also on a cluster.", epilog=_EXAMPLES)
@click.argument("source", metavar="URI")
@click.argument("target", metavar="OUT")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Processes on this machine, or Ray (extra 'ray'), which also reads s3:// and gs://.",
)
@click.option("--address", metavar="ADDRESS", help="Address of a Ray cluster; 'auto' on one of its machines.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["vqc", "parquet"]),
    default="vqc",
    show_default=True,
    help="One file per picture, or one table of all streams (engine ray).",
)
@quality_option
@effort_option
@click.option("-j", "--jobs", metavar="N", type=click.IntRange(min=1), help="Number of workers; default: one per core.")
@keeping_options
@max_pixels_option
@model_options
@reporting
def batch(console: Console, engine: str, address: str | None, format_name: str, **request: Any) -> None:
    """Encode all pictures in the folder URI and its subfolders into OUT; skip those that OUT has already.

    Failures are also listed in OUT/_failures.jsonl.  The next run tries them again.
    """
    asked = _Request(**request)
    if engine == "local":
        if address or format_name != "vqc" or "://" in asked.source + asked.target:
            raise click.UsageError("--address, --format parquet and URIs need --engine ray.")
        results = _on_this_machine(asked)
    else:
        from vqcodec.distributed import ClusterOptions

        cluster_options = ClusterOptions(workers=asked.jobs, address=address, as_table=format_name == "parquet")
        results = _on_ray(asked, cluster_options)
    count = _Count()
    with console.guard(asked.source, asked.target), console.progress(None) as bar:
        for result in results:
            count.add(result)
            _tell(console, result)
            if bar is not None:
                bar.advance()
    if len(console.failed) > count.failed:  # something other than a picture failed, so the totals are incomplete
        return
    record = {"source": asked.source, "target": asked.target, "quality": asked.quality}
    console.result({**record, **vars(count), "bpp": count.bpp}, _describe(count))


def _on_this_machine(asked: _Request) -> Iterator[Any]:
    from vqcodec.batch.failures import FILE_NAME, record_failures
    from vqcodec.batch.folders import FolderOptions, cores, encode_folder
    from vqcodec.batch.tasks import Weights

    weights = Weights(asked.weights.model, asked.weights.model_path)
    folder_options = FolderOptions("skip", weights, asked.jobs or cores())
    try:
        results = encode_folder(
            asked.source,
            asked.target,
            asked.quality,
            effort=asked.effort,
            max_pixels=asked.max_pixels,
            options=asked.keeping.to_options(),
            folder_options=folder_options,
        )
    except InvalidJobs as error:
        raise click.UsageError(str(error)) from None
    try:
        os.makedirs(asked.target, exist_ok=True)
        file = open(os.path.join(asked.target, FILE_NAME), "wb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UnwritableFile(error.strerror or str(error)) from error
    with file:
        yield from record_failures(results, file)


def _on_ray(asked: _Request, cluster_options: Any) -> Iterator[Any]:
    from vqcodec.batch.tasks import Weights
    from vqcodec.distributed import encode_collection

    yield from encode_collection(
        asked.source,
        asked.target,
        asked.quality,
        effort=asked.effort,
        max_pixels=asked.max_pixels,
        options=asked.keeping.to_options(),
        cluster_options=replace(cluster_options, weights=Weights(asked.weights.model, asked.weights.model_path, "cpu")),
    )


def _tell(console: Console, result: Any) -> None:
    for remark in result.remarks:
        if remark.loses:
            console.warn(result.source, remark.text)
    if result.error is not None:
        console.fail(result.error, result.source, result.output)
    else:
        console.detail(f"{result.output}: {'exists, skipped' if result.skipped else f'{result.bytes} bytes'}")


def _describe(count: _Count) -> str:
    size = f", {count.bytes} bytes, {count.bpp:.3f} bpp" if count.bpp else ""
    return f"{count.encoded} encoded{size}; {count.skipped} skipped; {count.failed} failed"
