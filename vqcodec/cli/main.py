"""The ``vqcodec`` command: parse arguments, call the API, print results.

Torch, Pillow and the modules that need them are imported inside the commands, so that ``--help`` is immediate.

Exit codes: 0, all done; 1, something failed; 2, wrong usage; 128 + n, ended by signal n.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from vqcodec.batch.jobs import STANDARD, Job, Naming, OutputPolicy, plan
from vqcodec.cli.batch import batch as batch_command
from vqcodec.cli.console import Console
from vqcodec.cli.options import (
    CodecChoice,
    Keeping,
    ModelChoice,
    Rate,
    Transfer,
    effort_option,
    keeping_options,
    max_pixels_option,
    model_options,
    rate_options,
    region_option,
    reporting,
    transfer_arguments,
    transfer_options,
    weights_options,
)
from vqcodec.errors import InvalidJobs, UnknownFormat, VqcError, one_line

T = TypeVar("T")


def _summarise(console: Console, total: int) -> None:
    """Print the names of all failures, which may have scrolled out of view."""
    if console.failed and total > 1:
        names = ", ".join(console.failed)
        click.echo(one_line(f"vqcodec: {len(console.failed)} of {total} failed: {names}"), err=True)


def _plan(sources: Sequence[str], target: str, naming: Naming) -> list[Job]:
    try:
        return plan(sources, target, naming)
    except InvalidJobs as error:
        raise click.UsageError(str(error)) from None


def _run(
    console: Console,
    jobs: list[Job],
    work: tuple[Any, Transfer, CodecChoice],
    describe: Callable[[Any], tuple[dict[str, Any], str]],
) -> None:
    """Run a task on jobs and print each result; ``describe`` returns its JSON record and its text."""
    from vqcodec.batch import folders

    task, transfer, weights = work
    if console.as_json and jobs and jobs[0].output == STANDARD:
        raise click.UsageError("--json and an output to '-' cannot be combined: both use standard output.")
    if not jobs:
        raise VqcError("no files found in the source folders")
    workers = transfer.jobs or (folders.sensible_workers(len(jobs)) if weights.device in ("auto", "cpu") else 1)
    folder_options = folders.FolderOptions(transfer.existing, weights.to_batch(), workers)
    with console.guard(weights.model_path):
        with console.progress(len(jobs)) as bar:
            for result in folders.run(task, jobs, folder_options):
                _tell_result(console, result, describe)
                if bar is not None:
                    bar.advance()
        _summarise(console, len(jobs))


def _tell_result(console: Console, result: Any, describe: Callable[[Any], tuple[dict[str, Any], str]]) -> None:
    for remark in result.remarks:
        if remark.loses:
            console.warn(result.source, remark.text)
        else:
            console.detail(f"vqcodec: {result.source}: {remark.text}")
    names = {"source": result.source, "output": result.output}
    if result.error is not None:
        console.fail(result.error, result.source, result.output)
    elif result.skipped:
        if console.as_json:
            console.result({**names, "skipped": True}, "")
        console.detail(f"{result.output}: exists, skipped")
    else:
        record, text = describe(result)
        console.done({**names, **record}, f"{result.output}: {text}")


# The commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vqcodec", message="%(prog)s %(version)s")
def main() -> None:
    """A neural image codec: pictures to small .vqc files and back."""


_ENCODE_EXAMPLES = """\b
Examples:
  vqcodec encode photo.png photo.vqc
  vqcodec encode -q 70 *.jpg streams/
  vqcodec encode -r --skip-existing photos/ streams/
  vqcodec encode --target-size 20k photo.png photo.vqc"""


@main.command(short_help="Encode pictures to .vqc files.", epilog=_ENCODE_EXAMPLES)
@transfer_arguments
@rate_options
@effort_option
@keeping_options
@max_pixels_option
@transfer_options
@weights_options
@reporting
def encode(
    console: Console,
    sources: tuple[str, ...],
    target: str,
    rate: Rate,
    effort: int,
    keeping: Keeping,
    max_pixels: int,
    transfer: Transfer,
    weights: CodecChoice,
) -> None:
    """Encode pictures: one SRC to a file DST, or several to a folder DST.  '-' is stdin or stdout."""
    from vqcodec.batch import tasks
    from vqcodec.images import formats

    quality, goal = rate.decide()
    task = tasks.EncodeTask(quality, max_pixels, keeping.to_options(), goal, effort)
    naming = Naming(".vqc", formats.picture_suffixes() if transfer.recursive else None)

    def describe(result: Any) -> tuple[dict[str, Any], str]:
        reached = {} if result.psnr is None else {"psnr": result.psnr if math.isfinite(result.psnr) else None}
        record = {"width": result.width, "height": result.height, "quality": result.quality, **reached}
        found = "" if goal is None else f", quality {result.quality:.1f}"
        found += "" if result.psnr is None else f", {result.psnr:.2f} dB"
        return (
            {**record, "bytes": result.bytes, "bpp": result.bpp, "seconds": result.seconds},
            f"{result.bytes} bytes, {result.bpp:.3f} bpp{found}, {result.seconds:.2f} s",
        )

    _run(console, _plan(sources, target, naming), (task, transfer, weights), describe)


_DECODE_EXAMPLES = """\b
Examples:
  vqcodec decode photo.vqc photo.png
  vqcodec decode -r streams/ pictures/
  vqcodec decode --region 1000,500,640,480 large.vqc part.png
  vqcodec decode --format ppm - - < photo.vqc"""


@main.command(short_help="Decode .vqc files to pictures.", epilog=_DECODE_EXAMPLES)
@transfer_arguments
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    help="Output format; default: the suffix of DST, or PNG for '-' and folders.",
)
@click.option("--preview", is_flag=True, help="Decode only the top grid: fast, coarse, at full size.")
@region_option
@click.option("--allow-partial", is_flag=True, help="Decode what is intact of damaged files.")
@max_pixels_option
@transfer_options
@weights_options
@reporting
def decode(
    console: Console,
    sources: tuple[str, ...],
    target: str,
    format_name: str | None,
    preview: bool,
    region: Any,
    allow_partial: bool,
    max_pixels: int,
    transfer: Transfer,
    weights: CodecChoice,
) -> None:
    """Decode .vqc files: one SRC to a file DST, or several to a folder DST.  '-' is stdin or stdout."""
    if preview and region:
        raise click.UsageError("--preview and --region cannot be combined.")
    from vqcodec.batch import folders, tasks
    from vqcodec.images import formats

    try:
        suffix = formats.suffix_for(format_name or "png")
        jobs = _plan(sources, target, Naming(suffix, folders.STREAM_SUFFIXES if transfer.recursive else None))
        if jobs and target != STANDARD and format_name is None:
            suffix = Path(jobs[0].output).suffix
        form = formats.picture_format(format_name or suffix)
        task = tasks.DecodeTask(form, max_pixels, preview, region, allow_partial)
    except UnknownFormat as error:
        raise click.UsageError(f"{error}.") from None

    def describe(result: Any) -> tuple[dict[str, Any], str]:
        record = {"width": result.width, "height": result.height, "seconds": result.seconds}
        return record, f"{result.width}x{result.height}, {result.seconds:.2f} s"

    _run(console, jobs, (task, transfer, weights), describe)


def _open(source: str) -> Any:
    return Job(source, STANDARD).open()


@main.command(short_help="Show size, quality, model and sections of .vqc files.")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@model_options
@reporting
def info(console: Console, sources: tuple[str, ...], weights: ModelChoice) -> None:
    """Show size, quality, model and sections of .vqc files, without decoding them."""
    import vqcodec

    if weights.model or weights.model_path:
        _need(
            console, weights, weights.load
        )  # every stream names its own model, but a model that is asked for must exist
    known = {"model_path": weights.model_path} if weights.model_path else {}
    for source in sources:
        with console.guard(source):
            told = vqcodec.info(_open(source), **known)
            console.result({"source": source, **dataclasses.asdict(told)}, _describe_stream(source, told))
    _summarise(console, len(sources))


def _describe_stream(source: str, told: Any) -> str:
    pixels = told.width * told.height
    sizes: dict[str, int] = {}
    for section in told.sections:
        sizes[section["name"]] = sizes.get(section["name"], 0) + section["bytes"]
    rows = [
        ("size", f"{told.width}x{told.height}, {told.layout}"),
        ("quality", f"{told.quality:.1f}"),
        ("model", f"{told.model or 'not installed'} ({told.model_hash})"),
        ("grids", ", ".join(f"{columns}x{rows}" for rows, columns in told.grids) or "unknown without the model"),
        ("tiles", f"{told.tile}x{told.tile} pixels"),
        *((name, f"{size} bytes, {8 * size / pixels:.3f} bpp") for name, size in sizes.items()),
        ("file", f"{told.bytes} bytes, {told.bpp:.3f} bpp"),
    ]
    return _block(source, rows)


@main.command(short_help="Check that .vqc files are intact.")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@max_pixels_option
@weights_options
@reporting
def verify(console: Console, sources: tuple[str, ...], max_pixels: int, weights: CodecChoice) -> None:
    """Decode .vqc files completely without writing anything.  The exit code is 1 if any is damaged."""
    codec = _codec(console, weights)
    with console.progress(len(sources)) as bar:
        results: Iterable[Any] = codec.decode_batch((_open(s) for s in sources), max_pixels=max_pixels)
        for source, result in zip(sources, results, strict=True):
            if result.error is None:
                size = {"width": result.image.width, "height": result.image.height}
                text = f"{one_line(source)}: intact, {result.image.width}x{result.image.height}"
                console.result({"source": source, "intact": True, **size}, text)
            else:
                console.fail(result.error, source, intact=False)
            if bar is not None:
                bar.advance()
    _summarise(console, len(sources))


def _codec(console: Console, weights: CodecChoice) -> Any:
    """Load the codec that is asked for."""
    return _need(console, weights, lambda: weights.to_batch().load())


def _need(console: Console, weights: ModelChoice, load: Callable[[], T]) -> T:
    """Load weights; a failure ends the command."""
    with console.guard(weights.model_path):
        return load()
    raise click.exceptions.Exit(1)


@main.command()
@model_options
@reporting
def models(console: Console, weights: ModelChoice) -> None:
    """List the installed models, or describe the given one."""
    import vqcodec

    if weights.model or weights.model_path:
        from vqcodec.weights import registry

        listed = [registry.describe(_need(console, weights, weights.load))]
    else:
        listed = vqcodec.models()
    text = "\n\n".join(_describe_model(model) for model in listed)
    console.result([dataclasses.asdict(model) for model in listed], text)


def _describe_model(model: Any) -> str:
    cost = ", ".join(f"{part} {kmac:.1f}" for part, kmac in model.kmac_per_pixel.items())
    rows = [
        ("hash", model.hash),
        ("licence", model.licence),
        ("levels", "; ".join(model.levels)),
        ("codebooks", "; ".join(model.codebooks)),
        ("parameters", model.parameters),
        ("kMAC/pixel", cost),
        ("quality", " to ".join(f"{bound:g}" for bound in model.quality_range)),
    ]
    return _block(model.id, rows)


def _block(title: str, rows: Sequence[tuple[str, Any]]) -> str:
    """Format a title and indented rows with aligned values."""
    width = max(len(label) for label, _ in rows)
    return "\n".join([one_line(title), *(f"  {label:{width}}  {value}" for label, value in rows)])


@main.command(short_help="Compare a sample photograph with JPEG at equal bytes.")
@click.option("-f", "--force", is_flag=True, help="Replace existing outputs.")
@weights_options
@reporting
def demo(console: Console, force: bool, weights: CodecChoice) -> None:
    """Encode and decode a sample photograph; write out.vqc and a comparison with JPEG at equal bytes, demo.png."""
    from vqcodec.cli import demo

    gate = OutputPolicy("replace" if force else "refuse")
    for output in (demo.STREAM, demo.COMPARISON):
        with console.guard(output, output):
            gate.admits(Job(STANDARD, output))
    if console.failed:
        return
    codec = _codec(console, weights)
    with console.guard(None, demo.STREAM):
        shown = demo.run(codec, Path())
    if console.failed:
        return
    times = {"encode_seconds": shown.encode_seconds, "decode_seconds": shown.decode_seconds}
    figures = {
        version.name.lower(): {"bytes": version.bytes, "bpp": version.bpp, "psnr": version.psnr}
        for version in (shown.vqcodec, shown.jpeg)
    }
    console.result(
        {**figures, **times, "outputs": [demo.STREAM, demo.COMPARISON]},
        f"{shown.vqcodec.caption}\n{shown.jpeg.caption}\n"
        f"encoded in {shown.encode_seconds:.2f} s, decoded in {shown.decode_seconds:.2f} s\n"
        f"wrote {demo.STREAM} and {demo.COMPARISON}",
    )


main.add_command(batch_command)


@main.command(epilog='\b\nExample, in ~/.bashrc:\n  eval "$(vqcodec completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of vqcodec for SHELL."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "vqcodec", "_VQCODEC_COMPLETE").source())


@main.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train a model.  'vqcodec train --help' lists the stages."""

    from vqcodec.cli.train import main as train_main

    train_main(list(arguments))
