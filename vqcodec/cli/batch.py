"""``vqcodec batch``: encode a whole collection on this machine or on a Ray cluster.

Ray, torch and Pillow are imported when the command runs.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from vqcodec.batch.jobs import OnPassedOver
from vqcodec.cli.console import Console
from vqcodec.cli.options import (
    ImageOptions,
    ModelChoice,
    effort_option,
    image_options,
    lossless_option,
    max_pixels_option,
    model_options,
    output_options,
    quality_option,
)
from vqcodec.errors import InvalidJobs, UnwritableFile

if TYPE_CHECKING:  # imports torch and Ray
    from vqcodec.batch.tasks import FileResult, Weights
    from vqcodec.codec.options import EncodeOptions
    from vqcodec.distributed import ClusterOptions

_EXAMPLES = """\b
Examples:
  vqcodec batch photos/ streams/
  vqcodec batch --engine ray -j 8 photos/ streams/
  vqcodec batch --engine ray --address auto --format parquet s3://bucket/photos s3://bucket/table"""


@dataclass
class _Summary:
    """Totals of a run."""

    encoded: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: int = 0
    """Size of the encoded streams."""
    pixels: int = 0
    """Pixels of the encoded pictures."""
    seconds: float = 0.0
    """Sum over all workers, with reading and writing."""

    def add(self, result: "FileResult") -> None:
        """Count a result."""
        self.failed += result.error is not None
        self.skipped += result.skipped
        self.encoded += result.error is None and not result.skipped
        self.bytes += result.bytes
        self.pixels += result.width * result.height
        self.seconds += result.seconds

    @property
    def bpp(self) -> float | None:
        """Bits per pixel of the encoded pictures."""
        return 8 * self.bytes / self.pixels if self.pixels else None

    def __str__(self) -> str:
        size = f", {self.bytes} bytes, {self.bpp:.3f} bpp" if self.bpp else ""
        return f"{self.encoded} encoded{size}; {self.skipped} skipped; {self.failed} failed"


@click.command(short_help="Encode a collection, on this machine or a Ray cluster.", epilog=_EXAMPLES)
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="OUT")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Use processes on this machine, or Ray (extra 'ray'), which also reads and writes s3:// and gs://.",
)
@click.option("--address", metavar="ADDRESS", help="Address of a Ray cluster; 'auto' on one of its machines.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["vqc", "parquet"]),
    default="vqc",
    show_default=True,
    help="Write a .vqc file per picture, or one Parquet table (needs --engine ray).",
)
@quality_option
@lossless_option
@effort_option
@click.option(
    "-j", "--jobs", metavar="N", type=click.IntRange(min=1), help="Number of workers.  [default: one per core]"
)
@image_options
@max_pixels_option
@model_options
@output_options
def batch(
    console: Console,
    source: str,
    target: str,
    engine: str,
    address: str | None,
    format_name: str,
    quality: float,
    lossless: bool | None,
    effort: int,
    jobs: int | None,
    image_options: ImageOptions,
    max_pixels: int,
    model_choice: ModelChoice,
) -> None:
    """Encode all pictures below the folder or URI SRC to OUT; skip pictures that OUT already has.

    Failures are also listed in OUT/_failures.jsonl; the next run tries them again.
    """
    if engine == "local" and (address or format_name != "vqc" or "://" in source + target):
        raise click.UsageError("--address, --format parquet and URIs need --engine ray.")
    from vqcodec.codec.options import EncodeOptions

    encode_options = EncodeOptions(quality, None, effort, max_pixels, image_options.to_read_options(), lossless)
    passed_over: list[str] = []
    if engine == "local":
        weights = model_choice.to_weights()
        results = _encode_locally(source, target, encode_options, weights, jobs, passed_over.append)
    else:
        from vqcodec.distributed import ClusterOptions

        cluster_options = ClusterOptions(
            model_choice.to_weights("cpu"), jobs, address, as_table=format_name == "parquet"
        )
        results = _encode_on_cluster(source, target, encode_options, cluster_options, passed_over.append)
    summary = _Summary()
    with console.report_errors(source, target), console.progress(None) as bar:
        for result in results:
            summary.add(result)
            _report(console, result)
            if bar is not None:
                bar.advance()
    if len(console.failed) > summary.failed:  # the run itself failed, not only some pictures
        return
    console.passed_over(passed_over)
    if not summary.encoded + summary.skipped + summary.failed:
        console.message(f"vqcodec: {source}: no picture was found")
    record = {"source": source, "target": target, "quality": quality}
    totals = {**vars(summary), "passed_over": len(passed_over), "bpp": summary.bpp}
    console.result({**record, **totals}, str(summary))


def _encode_locally(
    source: str,
    target: str,
    encode_options: "EncodeOptions",
    weights: "Weights",
    workers: int | None,
    passed_over: OnPassedOver,
) -> Iterator["FileResult"]:
    from vqcodec.batch.failures import FILE_NAME, record_failures
    from vqcodec.batch.folders import FolderOptions, available_cores, encode_tree

    folder_options = FolderOptions("skip", weights, workers or available_cores())
    try:
        results = encode_tree(source, target, encode_options, folder_options, passed_over)
    except InvalidJobs as error:
        raise click.UsageError(str(error)) from None
    try:
        os.makedirs(target, exist_ok=True)
        file = open(os.path.join(target, FILE_NAME), "wb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UnwritableFile(error.strerror or str(error)) from error
    with file:
        yield from record_failures(results, file)


def _encode_on_cluster(
    source: str,
    target: str,
    encode_options: "EncodeOptions",
    cluster_options: "ClusterOptions",
    passed_over: OnPassedOver,
) -> Iterator["FileResult"]:
    from vqcodec.distributed.cluster import encode_on_cluster

    yield from encode_on_cluster(source, target, encode_options, cluster_options, passed_over)


def _report(console: Console, result: "FileResult") -> None:
    console.remarks(result.source, result.remarks)
    if result.error is not None:
        console.fail(result.error, result.source, result.output)
    else:
        console.detail(f"{result.output}: {'already exists, skipped' if result.skipped else f'{result.bytes} bytes'}")
