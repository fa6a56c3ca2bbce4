"""The ``vqcodec`` command: parse arguments, call the API, print results.

Torch, Pillow and the modules that import them are imported inside the commands, so that ``--help`` is fast.

Exit code 0: success; 1: something failed; 2: wrong usage; 128 + n: ended by signal n.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeVar

import click

from vqcodec.batch.jobs import STANDARD, Job, OutputPolicy, Suffixes, plan_jobs
from vqcodec.cli.batch import batch
from vqcodec.cli.console import Console, Record, echo, keep_stderr_for_us
from vqcodec.cli.options import (
    CodecChoice,
    FileOptions,
    ImageOptions,
    ModelChoice,
    RateOptions,
    codec_options,
    effort_option,
    file_arguments,
    file_options,
    image_options,
    lossless_option,
    max_pixels_option,
    model_options,
    output_options,
    rate_options,
    region_option,
)
from vqcodec.cli.sample import sample
from vqcodec.defaults import REALISM
from vqcodec.errors import InvalidJobs, UnknownFormat, VqcError, one_line

if TYPE_CHECKING:  # imports torch
    from vqcodec import Box, Codec, ModelInfo, StreamInfo
    from vqcodec.batch.tasks import FileResult, Task

T = TypeVar("T")
_Describe: TypeAlias = Callable[["FileResult"], tuple[Record, str]]
"""Returns a result as JSON fields and as text."""


# Files


def _print_failures(console: Console, total: int) -> None:
    """List the failed files at the end, because their errors may have scrolled away."""
    if console.failed and total > 1:
        names = ", ".join(console.failed)
        echo(one_line(f"vqcodec: {len(console.failed)} of {total} failed: {names}"), err=True)


def _plan(console: Console, sources: Sequence[str], target: str, suffixes: Suffixes) -> list[Job]:
    passed_over: list[str] = []
    try:
        jobs = plan_jobs(sources, target, suffixes, passed_over.append)
    except InvalidJobs as error:
        raise click.UsageError(str(error)) from None
    console.passed_over(passed_over)
    return jobs


def _run(
    console: Console,
    jobs: list[Job],
    task: "Task",
    file_options: FileOptions,
    codec_choice: CodecChoice,
    describe: _Describe,
) -> None:
    """Run a task on all files and report each result."""
    from vqcodec.batch import folders

    if console.as_json and jobs and jobs[0].output == STANDARD:
        raise click.UsageError("--json cannot be combined with output to standard output.")
    if not jobs:
        raise VqcError("no matching files found")
    device = codec_choice.device
    workers = file_options.jobs or (folders.default_workers(len(jobs)) if device in ("auto", "cpu") else 1)
    folder_options = folders.FolderOptions(file_options.existing, codec_choice.to_weights(device), workers)
    with console.report_errors(codec_choice.model_path):
        with console.progress(len(jobs)) as bar:
            for result in folders.run_jobs(task, jobs, folder_options):
                _report(console, result, describe)
                if bar is not None:
                    bar.advance()
        _print_failures(console, len(jobs))


def _report(console: Console, result: "FileResult", describe: _Describe) -> None:
    console.remarks(result.source, result.remarks)
    names = {"source": result.source, "output": result.output}
    if result.error is not None:
        console.fail(result.error, result.source, result.output)
    elif result.skipped:
        if console.as_json:
            console.result({**names, "skipped": True}, "")
        console.detail(f"{result.output}: already exists, skipped")
    else:
        record, text = describe(result)
        console.file_written({**names, **record}, f"{result.output}: {text}")


# Commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vqcodec", message="%(prog)s %(version)s")
def main() -> None:
    """A neural image codec: encode pictures to .vqc files and decode them.

    'vqcodec COMMAND --help' describes a command.
    """
    keep_stderr_for_us()


_ENCODE_EXAMPLES = """\b
Examples:
  vqcodec encode photo.png photo.vqc
  vqcodec encode -q 70 *.jpg streams/
  vqcodec encode -r --skip-existing photos/ streams/
  vqcodec encode --target-size 20k photo.png photo.vqc"""


@main.command(short_help="Encode pictures to .vqc files.", epilog=_ENCODE_EXAMPLES)
@file_arguments
@rate_options
@lossless_option
@effort_option
@image_options
@max_pixels_option
@file_options
@codec_options
@output_options
def encode(
    console: Console,
    sources: tuple[str, ...],
    target: str,
    rate: RateOptions,
    lossless: bool | None,
    effort: int,
    image_options: ImageOptions,
    max_pixels: int,
    file_options: FileOptions,
    codec_choice: CodecChoice,
) -> None:
    """Encode a picture SRC to the file DST, or several pictures to the folder DST.

    '-' means standard input or output.

    \b
    Effort:
      0  choose indices once
      1  refine the latents by one gradient step before
      2  two steps
      3  and one round: refine at the coded indices, code again
      4  3 rounds; the cheapest stream of all is kept
      5  8 rounds, the later ones with what an index costs later indices
      6  16 rounds
    """
    from vqcodec.batch.tasks import EncodeTask
    from vqcodec.codec.options import EncodeOptions
    from vqcodec.images import formats

    quality, goal = rate.to_quality_and_goal()
    options = EncodeOptions(quality, goal, effort, max_pixels, image_options.to_read_options(), lossless)
    suffixes = Suffixes(".vqc", formats.picture_suffixes() if file_options.recursive else None)

    def describe(result: "FileResult") -> tuple[Record, str]:
        psnr = {} if result.psnr is None else {"psnr": result.psnr if math.isfinite(result.psnr) else None}
        record = {"width": result.width, "height": result.height, "quality": result.quality, **psnr}
        reached = "" if goal is None else f", quality {result.quality:.1f}"
        reached += "" if result.psnr is None else f", {result.psnr:.2f} dB"
        return (
            {**record, "bytes": result.bytes, "bpp": result.bpp, "seconds": result.seconds},
            f"{result.bytes} bytes, {result.bpp:.3f} bpp{reached}, {result.seconds:.2f} s",
        )

    _run(console, _plan(console, sources, target, suffixes), EncodeTask(options), file_options, codec_choice, describe)


_DECODE_EXAMPLES = """\b
Examples:
  vqcodec decode photo.vqc photo.png
  vqcodec decode -r streams/ pictures/
  vqcodec decode --region 1000,500,640,480 large.vqc part.png
  vqcodec decode --realism 1 photo.vqc photo.png
  vqcodec decode --format ppm - - < photo.vqc"""


@main.command(short_help="Decode .vqc files to pictures.", epilog=_DECODE_EXAMPLES)
@file_arguments
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    help="Output format, such as png or webp.  [default: the suffix of DST; png for '-' and folders]",
)
@click.option("--preview", is_flag=True, help="Decode a coarse picture of full size quickly, from the top grid only.")
@region_option
@click.option(
    "--realism",
    type=click.FloatRange(0, 1),
    default=REALISM,
    show_default=True,
    help="0: the picture with the least error; 1: one with lifelike texture; between them: a mixture.",
)
@click.option("--allow-partial", is_flag=True, help="Decode the intact parts of damaged files.")
@max_pixels_option
@file_options
@codec_options
@output_options
def decode(
    console: Console,
    sources: tuple[str, ...],
    target: str,
    format_name: str | None,
    preview: bool,
    region: "Box | None",
    realism: float,
    allow_partial: bool,
    max_pixels: int,
    file_options: FileOptions,
    codec_choice: CodecChoice,
) -> None:
    """Decode a .vqc file SRC to the picture DST, or several files to the folder DST.

    '-' means standard input or output.
    """
    if preview and region:
        raise click.UsageError("--preview and --region cannot be combined.")
    if preview and realism:
        raise click.UsageError("--preview and --realism cannot be combined.")
    from vqcodec.batch.folders import STREAM_SUFFIXES
    from vqcodec.batch.tasks import DecodeTask
    from vqcodec.codec.options import DecodeOptions
    from vqcodec.images import formats

    try:
        suffix = formats.suffix_for(format_name or "png")
        jobs = _plan(console, sources, target, Suffixes(suffix, STREAM_SUFFIXES if file_options.recursive else None))
        if jobs and target != STANDARD and format_name is None:
            suffix = Path(jobs[0].output).suffix
        picture_format = formats.picture_format(format_name or suffix)
    except UnknownFormat as error:
        raise click.UsageError(f"{error}.") from None

    def describe(result: "FileResult") -> tuple[Record, str]:
        record = {"width": result.width, "height": result.height, "seconds": result.seconds}
        return record, f"{result.width}x{result.height}, {result.seconds:.2f} s"

    task = DecodeTask(picture_format, DecodeOptions(max_pixels, preview, region, allow_partial, realism))
    _run(console, jobs, task, file_options, codec_choice, describe)


def _open(source: str) -> str | BinaryIO:
    return Job(source, STANDARD).open_source()


@main.command(short_help="Show size, quality, model and sections of .vqc files.")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@model_options
@output_options
def info(console: Console, sources: tuple[str, ...], model_choice: ModelChoice) -> None:
    """Show size, quality, model and sections of .vqc files without decoding them.

    '-' means standard input.
    """
    import vqcodec

    if model_choice.given:
        _load(console, model_choice, model_choice.load)  # the stream names its model, but a given one must exist
    options = {"model_path": model_choice.model_path} if model_choice.model_path else {}
    for source in sources:
        with console.report_errors(source):
            stream = vqcodec.info(_open(source), **options)
            console.result({"source": source, **dataclasses.asdict(stream)}, _describe_stream(source, stream))
    _print_failures(console, len(sources))


def _describe_stream(source: str, stream: "StreamInfo") -> str:
    pixels = stream.width * stream.height
    sizes: dict[str, int] = {}
    for section in stream.sections:
        name = str(section["name"])
        sizes[name] = sizes.get(name, 0) + int(section["bytes"])
    grids = ", ".join(f"{columns}x{rows}" for rows, columns in stream.grids)
    how = [("quality", "exact")]
    if not stream.exact:
        how = [
            ("quality", f"{stream.quality:.1f}"),
            ("model", f"{stream.model or 'unknown'} ({stream.model_hash})"),
            ("grids", grids or "unknown without the model"),
        ]
    if stream.tint is not None:
        how.append(("tint", "#{:02x}{:02x}{:02x}, coded as grey".format(*stream.tint)))
    rows = [
        ("size", f"{stream.width}x{stream.height}, {stream.layout}"),
        *how,
        ("tiles", f"{stream.tile}x{stream.tile} pixels"),
        *((name, f"{size} bytes, {8 * size / pixels:.3f} bpp") for name, size in sizes.items()),
        ("file", f"{stream.bytes} bytes, {stream.bpp:.3f} bpp"),
    ]
    return _block(source, rows)


@main.command(short_help="Check that .vqc files are intact.")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@max_pixels_option
@codec_options
@output_options
def verify(console: Console, sources: tuple[str, ...], max_pixels: int, codec_choice: CodecChoice) -> None:
    """Check that .vqc files are intact: decode them completely and write nothing.

    The exit code is 1 if any is damaged.  '-' means standard input.
    """
    codec = _load_codec(console, codec_choice)
    with console.progress(len(sources)) as bar:
        results = codec.decode_batch((_open(s) for s in sources), max_pixels=max_pixels)
        for source, result in zip(sources, results, strict=True):
            if result.image is not None:
                size = {"width": result.image.width, "height": result.image.height}
                text = f"{one_line(source)}: intact, {result.image.width}x{result.image.height}"
                console.result({"source": source, "intact": True, **size}, text)
            elif result.error is not None:
                console.fail(result.error, source, intact=False)
            if bar is not None:
                bar.advance()
    _print_failures(console, len(sources))


def _load_codec(console: Console, codec_choice: CodecChoice) -> "Codec":
    return _load(console, codec_choice, lambda: codec_choice.to_weights(codec_choice.device).load())


def _load(console: Console, model_choice: ModelChoice, load: Callable[[], T]) -> T:
    """Load a model or codec; if that fails, report the error and exit."""
    with console.report_errors(model_choice.model_path):
        return load()
    raise click.exceptions.Exit(1)


@main.command(short_help="List the installed models, or describe one.")
@model_options
@output_options
def models(console: Console, model_choice: ModelChoice) -> None:
    """List the installed models, or describe one: an installed model or a weights file."""
    import vqcodec

    if model_choice.given:
        from vqcodec.weights import registry

        listed = [registry.describe(_load(console, model_choice, model_choice.load))]
    else:
        listed = vqcodec.models()
    text = "\n\n".join(_describe_model(model) for model in listed)
    console.result([dataclasses.asdict(model) for model in listed], text)


def _describe_model(model: "ModelInfo") -> str:
    cost = ", ".join(f"{part} {kmac:.1f}" for part, kmac in model.kmac_per_pixel.items())
    rows = [
        ("hash", model.hash),
        ("licence", model.licence),
        ("levels", "; ".join(model.levels)),
        ("codebooks", "; ".join(model.codebooks)),
        ("parameters", model.parameters),
        ("kMAC/pixel", cost),
        ("quality", " to ".join(f"{bound:g}" for bound in model.quality_range)),
        ("realism", "0 to 1" if model.realism else "0: no second synthesis"),
    ]
    return _block(model.id, rows)


def _block(title: str, rows: Sequence[tuple[str, object]]) -> str:
    """Format a title and indented rows with their values in one column."""
    width = max(len(label) for label, _ in rows)
    return "\n".join([one_line(title), *(f"  {label:{width}}  {value}" for label, value in rows)])


@main.command(short_help="Compare vqcodec with JPEG on a sample photograph.")
@click.option("-f", "--force", is_flag=True, help="Overwrite existing outputs.")
@codec_options
@output_options
def demo(console: Console, force: bool, codec_choice: CodecChoice) -> None:
    """Encode and decode a sample photograph at quality 25; compare it with a JPEG of that size.

    Writes out.vqc (the stream) and demo.png (the comparison) to the current folder.
    """
    from vqcodec.cli import demo

    policy = OutputPolicy("replace" if force else "refuse")
    for output in (demo.STREAM, demo.COMPARISON):
        with console.report_errors(output, output):
            policy.should_run(Job(STANDARD, output))
    if console.failed:
        return
    codec = _load_codec(console, codec_choice)
    with console.report_errors(None, demo.STREAM):
        result = demo.run(codec, Path())
    if console.failed:
        return
    times = {"encode_seconds": result.encode_seconds, "decode_seconds": result.decode_seconds}
    figures = {
        coded.name.lower(): {"bytes": coded.bytes, "bpp": coded.bpp, "psnr": coded.psnr}
        for coded in (result.vqcodec, result.jpeg)
    }
    console.result(
        {**figures, **times, "outputs": [demo.STREAM, demo.COMPARISON]},
        f"{result.vqcodec.caption}\n{result.jpeg.caption}\n"
        f"encoded in {result.encode_seconds:.2f} s, decoded in {result.decode_seconds:.2f} s\n"
        f"wrote {demo.STREAM} and {demo.COMPARISON}",
    )


main.add_command(batch)
main.add_command(sample)


@main.command(
    short_help="Print a shell completion script.",
    epilog='\b\nExample, in ~/.bashrc:\n  eval "$(vqcodec completion bash)"',
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes the commands and options of vqcodec in a shell."""
    from click.shell_completion import get_completion_class

    completion_class = get_completion_class(shell)
    assert completion_class is not None
    click.echo(completion_class(main, {}, "vqcodec", "_VQCODEC_COMPLETE").source())


@main.command(
    short_help="Train a model.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train a model; 'vqcodec train --help' lists the stages."""

    from vqcodec.cli.train import main as train_main

    train_main(list(arguments))
