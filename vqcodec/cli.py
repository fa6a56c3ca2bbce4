"""Parse, call, print: the ``vqcodec`` command.

Every command turns its arguments into calls of the public API and what comes back into lines; nothing here
knows how a picture is coded.  Torch, Pillow and whatever imports them are imported inside the commands only,
so that ``--help`` is immediate.

Exit code 0: all done; 1: something failed; 2: wrong usage.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click

from vqcodec.console import Console
from vqcodec.errors import UnknownFormat, VqcError
from vqcodec.plan import STANDARD, Existing, Gate, Job, Misuse, Naming, plan

MAX_PIXELS = 89_478_485
"""The default of ``vqcodec.image``, which is too heavy to import for a help text."""
DEFAULT_QUALITY = 50.0

_Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
T = TypeVar("T")


# Options that commands share


def _options(*options: _Decorator) -> _Decorator:
    """Several options as one decorator."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _packed(name: str, kind: type[Any], *options: _Decorator) -> _Decorator:
    """Options whose values the command gets as one dataclass of that kind."""
    fields = [field.name for field in dataclasses.fields(kind)]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapper(*positional: Any, **arguments: Any) -> Any:
            arguments[name] = kind(**{field: arguments.pop(field) for field in fields})
            return command(*positional, **arguments)

        return _options(*options)(wrapper)

    return decorate


def _reporting(command: Callable[..., None]) -> Callable[..., None]:
    """The options on what is told; the command gets a :class:`Console` and leaves the exit code to it."""

    @_options(
        click.option("--json", "as_json", is_flag=True, help="Print results as JSON, one line each."),
        click.option("--quiet", is_flag=True, help="Print results and errors only."),
        click.option("--no-progress", is_flag=True, help="Draw no progress bar."),
        click.option("-v", "verbose", count=True, help="Tell more; -vv shows tracebacks."),
    )
    @functools.wraps(command)
    def wrapper(as_json: bool, quiet: bool, no_progress: bool, verbose: int, **arguments: Any) -> None:
        console = Console(verbose, quiet, as_json, not no_progress)
        with console.guard(None):
            command(console, **arguments)
        click.get_current_context().exit(1 if console.failed else 0)

    return wrapper


def _summarise(console: Console, total: int) -> None:
    """Name the failures again, where they may have scrolled away."""
    if console.failed and total > 1:
        click.echo(f"vqcodec: {len(console.failed)} of {total} failed: {', '.join(console.failed)}", err=True)


@dataclass(frozen=True)
class _Weights:
    """Which weights to use, and where."""

    model: str | None
    model_path: str | None
    device: str = "auto"

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if self.model and self.model_path:
            raise click.UsageError("--model and --model-path exclude each other.")

    def to_batch(self) -> Any:
        """For the API."""
        from vqcodec.batch import Weights

        self.check()
        return Weights(self.model, self.model_path, self.device)


@dataclass(frozen=True)
class _Model:
    """Which weights to look at."""

    model: str | None
    model_path: str | None


def _checked_device(context: click.Context, option: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter("must be auto, cpu, cuda or cuda:N")
    return value


_which_model = (
    click.option("--model", metavar="ID", help="Weights to use, see 'vqcodec models'."),
    click.option("--model-path", metavar="FILE", help="Weights file to use."),
)
_model_option = _packed("weights", _Model, *_which_model)
_weights_options = _packed(
    "weights",
    _Weights,
    *_which_model,
    click.option(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        default="auto",
        show_default=True,
        callback=_checked_device,
        help="Where the transforms run; the stream does not depend on it.",
    ),
)
_max_pixels_option = click.option(
    "--max-pixels",
    metavar="N",
    type=click.IntRange(min=0),
    default=MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures; 0 lifts the limit.",
)


@dataclass(frozen=True)
class _Transfer:
    """How files are gone through."""

    recursive: bool
    force: bool
    skip_existing: bool
    jobs: int | None

    @property
    def existing(self) -> Existing:
        """What to do about outputs that are there already."""
        if self.force and self.skip_existing:
            raise click.UsageError("--force and --skip-existing exclude each other.")
        return "replace" if self.force else "skip" if self.skip_existing else "refuse"


_transfer_options = _packed(
    "transfer",
    _Transfer,
    click.option("-r", "--recursive", is_flag=True, help="Go through folders; DST gets the same tree."),
    click.option("-f", "--force", is_flag=True, help="Replace existing outputs."),
    click.option("--skip-existing", is_flag=True, help="Leave existing outputs as they are."),
    click.option(
        "-j", "--jobs", metavar="N", type=click.IntRange(min=1), help="Processes; default: what suits cores and files."
    ),
)
_transfer_arguments = _options(
    click.argument("sources", metavar="SRC...", nargs=-1, required=True),
    click.argument("target", metavar="DST"),
)


# Files through a task


def _plan(sources: Sequence[str], target: str, naming: Naming) -> list[Job]:
    try:
        return plan(sources, target, naming)
    except Misuse as error:
        raise click.UsageError(str(error)) from None


def _run(
    console: Console,
    jobs: list[Job],
    work: tuple[Any, _Transfer, _Weights],
    tell: Callable[[Any], tuple[dict[str, Any], str]],
) -> None:
    """Do all jobs that can be done; ``work`` is the task and how it is to be done, ``tell`` describes a result."""
    from vqcodec import batch

    task, transfer, weights = work
    if console.as_json and jobs and jobs[0].output == STANDARD:
        raise click.UsageError("--json and the output both want standard output.")
    if not jobs:
        raise VqcError("no files to work on")
    workers = transfer.jobs or (batch.sensible_workers(len(jobs)) if weights.device in ("auto", "cpu") else 1)
    how = batch.FolderOptions(transfer.existing, weights.to_batch(), workers)
    before = len(console.failed)
    with console.guard(weights.model_path), console.progress(len(jobs)) as bar:
        for result in batch.run(task, jobs, how):
            _tell_result(console, result, tell)
            if bar is not None:
                bar.advance()
    if len(console.failed) > before:
        _summarise(console, len(jobs))


def _tell_result(console: Console, result: Any, tell: Callable[[Any], tuple[dict[str, Any], str]]) -> None:
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
        console.detail(f"{result.output}: exists already, skipped")
    else:
        record, text = tell(result)
        console.done({**names, **record}, f"{result.output}: {text}")


# The commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vqcodec", message="%(prog)s %(version)s")
def main() -> None:
    """A neural image codec: pictures to small .vqc files and back."""


@dataclass(frozen=True)
class _Rate:
    """What decides how large a stream becomes."""

    quality: float | None
    target_bpp: float | None
    target_size: float | None
    target_psnr: float | None

    def decide(self) -> tuple[float, Any]:
        """The quality and, in its place, the goal."""
        goals = {"bpp": self.target_bpp, "size": self.target_size, "psnr": self.target_psnr}
        given = {kind: value for kind, value in goals.items() if value is not None}
        if len(given) + (self.quality is not None) > 1:
            raise click.UsageError("--quality and the --target options exclude each other.")
        quality = DEFAULT_QUALITY if self.quality is None else self.quality
        if not given:
            return quality, None
        from vqcodec.search import Goal

        ((kind, value),) = given.items()
        return quality, Goal(kind, value)  # type: ignore[arg-type]


class _Size(click.ParamType):
    """A number of bytes; ``k`` and ``M`` stand for thousands and millions."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKM]?)[bB]?", str(value))
        if match is None or float(match[1]) <= 0:
            self.fail(f"{value!r} is not a size like 20000, 20k or 1.5M", param, context)
        return float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()]


_POSITIVE = click.FloatRange(min=0, min_open=True)
_rate_options = _packed(
    "rate",
    _Rate,
    click.option(
        "-q",
        "--quality",
        metavar="0..100",
        type=click.FloatRange(0, 100),
        help="Continuous; higher is better and larger.  [default: 50.0]",
    ),
    click.option("--target-bpp", metavar="F", type=_POSITIVE, help="The quality that gives so many bits per pixel."),
    click.option("--target-size", metavar="BYTES", type=_Size(), help="... or a file of that size; 20k, 1.5M."),
    click.option("--target-psnr", metavar="DB", type=_POSITIVE, help="... or that PSNR."),
)


@dataclass(frozen=True)
class _Keeping:
    """What is kept of a picture."""

    alpha: str
    background: str
    metadata: str | None
    strip: bool
    auto_orient: bool
    strict: bool

    def to_options(self) -> Any:
        """For the API."""
        from vqcodec.image import ReadOptions
        from vqcodec.metadata import ALL

        if self.strip and self.metadata not in (None, "none"):
            raise click.UsageError("--strip and --metadata contradict each other.")
        wanted = "none" if self.strip else self.metadata or "all"
        kinds = {"all": frozenset(ALL), "none": frozenset[str]()}.get(wanted, frozenset(wanted.split(",")))
        try:
            return ReadOptions(self.alpha, self.background, kinds, self.auto_orient, self.strict)  # type: ignore[arg-type]
        except VqcError as error:
            raise click.UsageError(f"{error}.") from None


_keeping_options = _packed(
    "keeping",
    _Keeping,
    click.option(
        "--alpha",
        type=click.Choice(["keep", "drop", "blend"]),
        default="keep",
        show_default=True,
        help="Keep it without loss, drop it, or lay the picture over the background.",
    ),
    click.option("--background", metavar="COLOR", default="white", show_default=True, help="For --alpha blend."),
    click.option("--metadata", metavar="all|none|exif,icc,xmp", help="What to keep.  [default: all]"),
    click.option("--strip", is_flag=True, help="The same as --metadata none."),
    click.option("--auto-orient", is_flag=True, help="Turn the pixels as EXIF says."),
    click.option("--strict", is_flag=True, help="Fail where something would be lost, such as 16 bits per sample."),
)

_ENCODE_EXAMPLES = """\b
Examples:
  vqcodec encode photo.png photo.vqc
  vqcodec encode -q 70 *.jpg streams/
  vqcodec encode -r --skip-existing photos/ streams/
  vqcodec encode --target-size 20k photo.png photo.vqc"""


@main.command(short_help="Pictures to .vqc files.", epilog=_ENCODE_EXAMPLES)
@_transfer_arguments
@_rate_options
@_keeping_options
@_max_pixels_option
@_transfer_options
@_weights_options
@_reporting
def encode(
    console: Console,
    sources: tuple[str, ...],
    target: str,
    rate: _Rate,
    keeping: _Keeping,
    max_pixels: int,
    transfer: _Transfer,
    weights: _Weights,
) -> None:
    """Encode pictures: one SRC to a file DST, or several to a folder DST.  '-' is stdin or stdout."""
    quality, goal = rate.decide()
    weights.check()
    from vqcodec import batch, files

    task = batch.EncodeTask(quality, max_pixels, keeping.to_options(), goal)
    naming = Naming(".vqc", files.picture_suffixes() if transfer.recursive else None)

    def tell(result: Any) -> tuple[dict[str, Any], str]:
        reached = {} if result.psnr is None else {"psnr": result.psnr}
        record = {"width": result.width, "height": result.height, "quality": result.quality, **reached}
        found = "" if goal is None else f", quality {result.quality:.1f}"
        found += "" if result.psnr is None else f", {result.psnr:.2f} dB"
        return (
            {**record, "bytes": result.bytes, "bpp": result.bpp, "seconds": result.seconds},
            f"{result.bytes} bytes, {result.bpp:.3f} bpp{found}, {result.seconds:.2f} s",
        )

    _run(console, _plan(sources, target, naming), (task, transfer, weights), tell)


def _region(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", value)
    if match is None or "0" in (match[3], match[4]):
        raise click.BadParameter(f"{value!r} is not X,Y,WIDTH,HEIGHT in pixels")
    from vqcodec.tiles import Box

    return Box(*map(int, match.groups()))


_DECODE_EXAMPLES = """\b
Examples:
  vqcodec decode photo.vqc photo.png
  vqcodec decode -r streams/ pictures/
  vqcodec decode --region 1000,500,640,480 large.vqc part.png
  vqcodec decode --format ppm - - < photo.vqc"""


@main.command(short_help=".vqc files to pictures.", epilog=_DECODE_EXAMPLES)
@_transfer_arguments
@click.option("--format", "format_name", metavar="NAME", help="Default: DST's suffix; PNG for '-' and folders.")
@click.option("--preview", is_flag=True, help="A coarse picture of full size, fast: from the top grid alone.")
@click.option("--region", metavar="X,Y,W,H", callback=_region, help="Only that rectangle.")
@_max_pixels_option
@_transfer_options
@_weights_options
@_reporting
def decode(
    console: Console,
    sources: tuple[str, ...],
    target: str,
    format_name: str | None,
    preview: bool,
    region: Any,
    max_pixels: int,
    transfer: _Transfer,
    weights: _Weights,
) -> None:
    """Decode .vqc files: one SRC to a file DST, or several to a folder DST.  '-' is stdin or stdout."""
    if preview and region:
        raise click.UsageError("--preview and --region exclude each other.")
    weights.check()
    from vqcodec import batch, files

    suffix = f".{(format_name or 'png').removeprefix('.').lower()}"
    jobs = _plan(sources, target, Naming(suffix, batch.STREAM_SUFFIXES if transfer.recursive else None))
    if jobs:
        suffix = ".png" if target == STANDARD else Path(jobs[0].output).suffix
    try:
        task = batch.DecodeTask(files.picture_format(format_name or suffix), max_pixels, preview, region)
    except UnknownFormat as error:
        raise click.UsageError(f"{error}.") from None

    def tell(result: Any) -> tuple[dict[str, Any], str]:
        record = {"width": result.width, "height": result.height, "seconds": result.seconds}
        return record, f"{result.width}x{result.height}, {result.seconds:.2f} s"

    _run(console, jobs, (task, transfer, weights), tell)


def _open(source: str) -> Any:
    return Job(source, STANDARD).open()


@main.command(short_help="Size, quality, model and sections of .vqc files.")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@_model_option
@_reporting
def info(console: Console, sources: tuple[str, ...], weights: _Model) -> None:
    """Tell size, quality, model and sections of .vqc files, without decoding them."""
    import vqcodec

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
        ("model", f"{told.model or 'not known here'} ({told.model_hash})"),
        ("grids", ", ".join(f"{columns}x{rows}" for rows, columns in told.grids) or "not known without the model"),
        ("tiles", f"of {told.tile} pixels"),
        *((name, f"{size} bytes, {8 * size / pixels:.3f} bpp") for name, size in sizes.items()),
        ("file", f"{told.bytes} bytes, {told.bpp:.3f} bpp"),
    ]
    return _block(source, rows)


@main.command(short_help="Whether .vqc files are intact.")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@_max_pixels_option
@_weights_options
@_reporting
def verify(console: Console, sources: tuple[str, ...], max_pixels: int, weights: _Weights) -> None:
    """Decode .vqc files in full, without writing anything; exit code 1 if any is damaged."""
    codec = _load(console, weights)
    with console.progress(len(sources)) as bar:
        results: Iterable[Any] = codec.decode_batch((_open(s) for s in sources), max_pixels=max_pixels)
        for source, result in zip(sources, results, strict=True):
            if result.error is None:
                size = {"width": result.image.width, "height": result.image.height}
                text = f"{source}: intact, {result.image.width}x{result.image.height}"
                console.result({"source": source, "intact": True, **size}, text)
            else:
                if console.as_json:
                    console.result({"source": source, "intact": False, "error": str(result.error)}, "")
                console.fail(result.error, source)
            if bar is not None:
                bar.advance()
    _summarise(console, len(sources))


def _load(console: Console, weights: _Weights) -> Any:
    """The codec; without its weights nothing can be done, so a failure ends the command."""
    with console.guard(weights.model_path):
        return weights.to_batch().load()
    raise click.exceptions.Exit(1)


@main.command()
@_model_option
@_reporting
def models(console: Console, weights: _Model) -> None:
    """List the models that are installed, or describe the one that is named."""
    import vqcodec

    if weights.model_path:
        from vqcodec import zoo

        listed = [zoo.describe(zoo.load_weights(weights.model_path))]
    else:
        listed = [model for model in vqcodec.models() if weights.model in (None, model.id)]
    if weights.model and not listed:
        raise VqcError(f"no model {weights.model!r} here")
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
    """A title and indented rows, their values in one column."""
    width = max(len(label) for label, _ in rows)
    return "\n".join([title, *(f"  {label:{width}}  {value}" for label, value in rows)])


@main.command(short_help="A sample photograph, beside JPEG at equal bytes.")
@click.option("-f", "--force", is_flag=True, help="Replace existing outputs.")
@_weights_options
@_reporting
def demo(console: Console, force: bool, weights: _Weights) -> None:
    """Encode and decode a sample photograph; write out.vqc and, beside JPEG at equal bytes, demo.png."""
    from vqcodec import demo

    gate = Gate("replace" if force else "refuse")
    for output in (demo.STREAM, demo.COMPARISON):
        with console.guard(output, output):
            gate.admits(Job(STANDARD, output))
    if console.failed:
        return
    shown = demo.run(_load(console, weights), Path())
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


@main.command(epilog='\b\nExample, in ~/.bashrc:\n  eval "$(vqcodec completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes vqcodec's commands and options in SHELL."""
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
    """Train a model; 'vqcodec train --help' lists the stages."""
    from vqcodec.training import cli as training

    training.main(list(arguments))
