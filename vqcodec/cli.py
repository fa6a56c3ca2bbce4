"""Parse, call, print: the ``vqcodec`` command.

Every command turns its arguments into calls of the public API and what comes back into lines; nothing here
knows how a picture is coded.  Torch, Pillow and whatever imports them are imported inside the commands only,
so that ``--help`` is immediate.

Results go to stdout, messages to stderr.  Exit code 0: all done; 1: something failed; 2: wrong usage.
"""

import dataclasses
import functools
import io
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import click

from vqcodec.errors import MissingFile, OutputExists, UnknownFormat, UnwritableFile, VqcError

STANDARD = "-"
"""As a source: standard input.  As a target: standard output."""
MAX_PIXELS = 89_478_485
"""The default of ``vqcodec.image``, which is too heavy to import for a help text."""

_Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


_CLICKS_OWN = (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError)
"""Click turns these into messages and exit codes."""


# What the user is told


class Console:
    """Where lines go, and what failed so far."""

    def __init__(self, verbose: int, quiet: bool, as_json: bool) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.as_json = as_json
        self.failed: list[str] = []

    def result(self, record: dict[str, Any] | list[dict[str, Any]], text: str) -> None:
        """What was asked for, on stdout: one line of JSON, or the text."""
        click.echo(json.dumps(record) if self.as_json else text)

    def done(self, record: dict[str, Any], text: str) -> None:
        """A file was written: a result for machines, a message for people."""
        if self.as_json:
            click.echo(json.dumps(record))
        elif not self.quiet:
            click.echo(text, err=True)

    def detail(self, text: str) -> None:
        """A message for those who asked for more."""
        if self.verbose:
            click.echo(text, err=True)

    @contextmanager
    def guard(self, source: str | None, output: str | None = None) -> Iterator[None]:
        """Survive and report what goes wrong inside; the line names the file that it is about."""
        try:
            yield
        except _CLICKS_OWN:
            raise
        except Exception as error:
            if self.verbose >= 2:
                traceback.print_exception(error)
            name = output if isinstance(error, OutputExists | UnwritableFile) else source
            click.echo(": ".join(filter(None, ("vqcodec", name, _cause(error)))), err=True)
            self.failed.append(source or "")


def _cause(error: Exception) -> str:
    """What went wrong, in one line and without the name of the file."""
    if isinstance(error, VqcError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(f"internal error: {type(error).__name__}: {error}".split())


# Options that commands share


def _options(*options: _Decorator) -> _Decorator:
    """Several options as one decorator."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _reporting(command: Callable[..., None]) -> Callable[..., None]:
    """The options on what is told; the command gets a :class:`Console` and leaves the exit code to it."""

    @_options(
        click.option("--json", "as_json", is_flag=True, help="Print results as JSON, one line each."),
        click.option("--quiet", is_flag=True, help="Print results and errors only."),
        click.option("-v", "verbose", count=True, help="Tell more; -vv shows tracebacks."),
    )
    @functools.wraps(command)
    def wrapper(as_json: bool, quiet: bool, verbose: int, **arguments: Any) -> None:
        console = Console(verbose, quiet, as_json)
        with console.guard(None):
            command(console, **arguments)
        sources = arguments.get("sources", ())
        if console.failed and len(sources) > 1:
            click.echo(
                f"vqcodec: {len(console.failed)} of {len(sources)} failed: {', '.join(console.failed)}",
                err=True,
            )
        click.get_current_context().exit(1 if console.failed else 0)

    return wrapper


def _checked_device(context: click.Context, option: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter("must be auto, cpu, cuda or cuda:N")
    return value


_model_options = _options(
    click.option("--model", metavar="ID", help="Weights to use, see 'vqcodec models'."),
    click.option("--model-path", metavar="FILE", help="Weights file to use."),
    click.option(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        default="auto",
        show_default=True,
        callback=_checked_device,
        help="Where the transforms run; the stream does not depend on it.",
    ),
)

_transfer_options = _options(
    click.option("-f", "--force", is_flag=True, help="Replace existing outputs."),
    click.option(
        "--max-pixels",
        metavar="N",
        type=click.IntRange(min=0),
        default=MAX_PIXELS,
        show_default=True,
        help="Refuse larger pictures; 0 lifts the limit.",
    ),
)

_transfer_arguments = _options(
    click.argument("sources", metavar="SRC...", nargs=-1, required=True),
    click.argument("target", metavar="DST"),
)


# Sources and their outputs


@dataclass(frozen=True)
class Job:
    """One source and where it goes; ``folder`` is made if it is missing."""

    source: str
    output: str
    folder: str | None = None


def _plan(sources: Sequence[str], target: str, suffix: str) -> list[Job]:
    """Like ``cp``: one source to a file or a folder, several to a folder."""
    if target == STANDARD:
        if len(sources) > 1:
            raise click.UsageError("several sources cannot go to standard output.")
        return [Job(sources[0], STANDARD)]
    if len(sources) == 1 and not os.path.isdir(target) and not target.endswith(os.sep):
        return [Job(sources[0], target)]
    if os.path.exists(target) and not os.path.isdir(target):
        raise click.UsageError(f"several sources need a folder, and '{target}' is a file.")
    if STANDARD in sources:
        raise click.UsageError("standard input has no name: give the output file, not a folder.")
    return [Job(s, os.path.join(target, Path(s).stem + suffix), folder=target) for s in sources]


def _check(job: Job, taken: dict[str, str], force: bool) -> None:
    """Refuse what can be refused before the weights are loaded."""
    if job.source != STANDARD and not os.path.exists(job.source):
        raise MissingFile("No such file or directory")
    if job.output == STANDARD:
        return
    if job.output in taken:
        raise OutputExists(f"is the output of {taken[job.output]} already")
    if os.path.exists(job.output) and job.source != STANDARD and os.path.samefile(job.source, job.output):
        raise OutputExists("is the source itself")
    _refuse_existing(job.output, force)
    taken[job.output] = job.source


def _refuse_existing(output: str, force: bool) -> None:
    if os.path.isfile(output) and not force:  # a device or a pipe is there to be written to
        raise OutputExists("exists already; -f replaces it")


def _transfer(
    console: Console, jobs: list[Job], force: bool, load: Callable[[], Any], work: Callable[[Any, Job], None]
) -> None:
    """Do every job that can be done, with weights that are loaded once."""
    if console.as_json and jobs[0].output == STANDARD:
        raise click.UsageError("--json and the output both want standard output.")
    ready, taken = [], dict[str, str]()
    for job in jobs:
        with console.guard(job.source, job.output):
            _check(job, taken, force)
            ready.append(job)
    if not ready:
        return
    codec = load()
    for job in ready:
        with console.guard(job.source, job.output):
            work(codec, job)


def _load_codec(console: Console, model: str | None, model_path: str | None, device: str) -> Any:
    """The codec; without its weights nothing can be done, so a failure ends the command."""
    if model and model_path:
        raise click.UsageError("--model and --model-path exclude each other.")
    import vqcodec

    start = time.perf_counter()
    with console.guard(model_path):
        codec = vqcodec.Codec(model, model_path=model_path, device=device)
        console.detail(f"weights loaded in {time.perf_counter() - start:.2f} s")
        return codec
    raise click.exceptions.Exit(1)


def _source(name: str) -> Any:
    """What the API takes for this argument: a path, or all of standard input as a file."""
    return io.BytesIO(sys.stdin.buffer.read()) if name == STANDARD else name


def _deliver(job: Job, data: bytes) -> None:
    from vqcodec import files

    if job.output == STANDARD:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    if job.folder is not None:
        os.makedirs(job.folder, exist_ok=True)
    files.write_atomically(job.output, data)


# The commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vqcodec", message="%(prog)s %(version)s")
def main() -> None:
    """A neural image codec: pictures to small .vqc files and back."""


@main.command(short_help="Pictures to .vqc files.")
@_transfer_arguments
@click.option(
    "-q",
    "--quality",
    metavar="0..100",
    type=click.FloatRange(0, 100),
    default=50.0,
    show_default=True,
    help="Continuous; higher is better and larger.",
)
@_transfer_options
@_model_options
@_reporting
def encode(
    console: Console,
    sources: tuple[str, ...],
    target: str,
    quality: float,
    force: bool,
    max_pixels: int,
    **weights: Any,
) -> None:
    """Encode pictures: one SRC to a file DST, or several to a folder DST.  '-' is stdin or stdout."""

    def work(codec: Any, job: Job) -> None:
        from vqcodec import bitstream, metrics

        start = time.perf_counter()
        data = codec.encode(_source(job.source), quality=quality, max_pixels=max_pixels)
        seconds = time.perf_counter() - start
        _deliver(job, data)
        header, _ = bitstream.read_header(data)
        size = {"width": header.width, "height": header.height}
        bpp = metrics.bits_per_pixel(len(data), **size)
        record = {"source": job.source, "output": job.output, **size, "quality": quality}
        console.done(
            {**record, "bytes": len(data), "bpp": bpp, "seconds": seconds},
            f"{job.output}: {len(data)} bytes, {bpp:.3f} bpp, {seconds:.2f} s",
        )

    load = functools.partial(_load_codec, console, **weights)
    _transfer(console, _plan(sources, target, ".vqc"), force, load, work)


@main.command(short_help=".vqc files to pictures.")
@_transfer_arguments
@click.option("--format", "format_name", metavar="NAME", help="Default: DST's suffix; PNG for '-' and folders.")
@_transfer_options
@_model_options
@_reporting
def decode(
    console: Console,
    sources: tuple[str, ...],
    target: str,
    format_name: str | None,
    force: bool,
    max_pixels: int,
    **weights: Any,
) -> None:
    """Decode .vqc files: one SRC to a file DST, or several to a folder DST.  '-' is stdin or stdout."""
    from vqcodec import files

    jobs = _plan(sources, target, f".{(format_name or 'png').removeprefix('.').lower()}")
    suffix = ".png" if target == STANDARD else Path(jobs[0].output).suffix
    try:
        format = files.picture_format(format_name or suffix)
    except UnknownFormat as error:
        raise click.UsageError(f"{error}.") from None

    def work(codec: Any, job: Job) -> None:
        start = time.perf_counter()
        image = codec.decode(_source(job.source), max_pixels=max_pixels)
        seconds = time.perf_counter() - start
        _deliver(job, files.image_bytes(image, format))
        width, height = image.size
        record = {"source": job.source, "output": job.output, "width": width, "height": height}
        console.done({**record, "seconds": seconds}, f"{job.output}: {width}x{height}, {seconds:.2f} s")

    _transfer(console, jobs, force, functools.partial(_load_codec, console, **weights), work)


@main.command(short_help="Size, quality, model and sections of .vqc files.")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@_reporting
def info(console: Console, sources: tuple[str, ...]) -> None:
    """Tell size, quality, model and sections of .vqc files, without decoding them."""
    import vqcodec

    for source in sources:
        with console.guard(source):
            told = vqcodec.info(_source(source))
            console.result({"source": source, **dataclasses.asdict(told)}, _describe_stream(source, told))


def _describe_stream(source: str, told: Any) -> str:
    pixels = told.width * told.height
    sizes: dict[str, int] = {}
    for section in told.sections:
        sizes[section["name"]] = sizes.get(section["name"], 0) + section["bytes"]
    rows = [
        ("size", f"{told.width}x{told.height}, {told.layout}"),
        ("quality", f"{told.quality:.1f}"),
        ("model", f"{told.model or 'not known here'} ({told.model_hash})"),
        ("grids", ", ".join(f"{columns}x{rows}" for rows, columns in told.grids) or "not known without the model"),
        ("tiles", f"of {told.tile} pixels"),
        *((name, f"{size} bytes, {8 * size / pixels:.3f} bpp") for name, size in sizes.items()),
        ("file", f"{told.bytes} bytes, {told.bpp:.3f} bpp"),
    ]
    return _block(source, rows)


@main.command()
@_reporting
def models(console: Console) -> None:
    """List the models that are installed."""
    import vqcodec

    installed = vqcodec.models()
    text = "\n\n".join(_describe_model(model) for model in installed)
    console.result([dataclasses.asdict(model) for model in installed], text)


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
    """A title and indented rows, their values in one column."""
    width = max(len(label) for label, _ in rows)
    return "\n".join([title, *(f"  {label:{width}}  {value}" for label, value in rows)])


@main.command(short_help="A sample photograph, beside JPEG at equal bytes.")
@click.option("-f", "--force", is_flag=True, help="Replace existing outputs.")
@_model_options
@_reporting
def demo(console: Console, force: bool, **weights: Any) -> None:
    """Encode and decode a sample photograph; write out.vqc and, beside JPEG at equal bytes, demo.png."""
    from vqcodec import demo

    for output in (demo.STREAM, demo.COMPARISON):
        with console.guard(output, output):
            _refuse_existing(output, force)
    if console.failed:
        return
    shown = demo.run(_load_codec(console, **weights), Path())
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


@main.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train a model; 'vqcodec train --help' lists the stages."""
    from vqcodec.training import cli as training

    training.main(list(arguments))
