"""The options of the command line: how each is spelled, and what the commands get of it.

Options that belong together reach a command as one small dataclass, which refuses what contradicts itself and knows
what the rest means to the API.  Nothing heavy is imported before it is needed, so that ``--help`` is immediate.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import click

from vqcodec import defaults
from vqcodec.batch.jobs import Existing
from vqcodec.cli.console import Console, interruptible
from vqcodec.errors import VqcError

_Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


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


def reporting(command: Callable[..., None]) -> Callable[..., None]:
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
        with interruptible(), console.guard(None):
            command(console, **arguments)
        click.get_current_context().exit(1 if console.failed else 0)

    return wrapper


@dataclass(frozen=True)
class Model:
    """Which weights to look at."""

    model: str | None
    model_path: str | None

    def __post_init__(self) -> None:
        if self.model is not None and self.model_path is not None:
            raise click.UsageError("--model and --model-path exclude each other.")
        if "" in (self.model, self.model_path):
            raise click.UsageError("an empty name is no model's.")

    def load(self) -> Any:
        """The :class:`vqcodec.weights.registry.Model`."""
        from vqcodec.weights import registry

        return registry.load_weights(self.model_path) if self.model_path else registry.load_model(self.model)


@dataclass(frozen=True)
class Weights(Model):
    """Which weights to use, and where."""

    device: str

    def to_batch(self) -> Any:
        """For the API."""
        from vqcodec.batch.tasks import Weights

        return Weights(self.model, self.model_path, self.device)


def _checked_device(context: click.Context, option: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter("must be auto, cpu, cuda or cuda:N")
    return value


_which_model = (
    click.option("--model", metavar="ID", help="Weights to use, see 'vqcodec models'."),
    click.option("--model-path", metavar="FILE", help="Weights file to use."),
)
model_options = _packed("weights", Model, *_which_model)
weights_options = _packed(
    "weights",
    Weights,
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
max_pixels_option = click.option(
    "--max-pixels",
    metavar="N",
    type=click.IntRange(min=0),
    default=defaults.MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures; 0 lifts the limit.",
)


@dataclass(frozen=True)
class Transfer:
    """How files are gone through."""

    recursive: bool
    force: bool
    skip_existing: bool
    jobs: int | None

    def __post_init__(self) -> None:
        if self.force and self.skip_existing:
            raise click.UsageError("--force and --skip-existing exclude each other.")

    @property
    def existing(self) -> Existing:
        """What to do about outputs that are there already."""
        return "replace" if self.force else "skip" if self.skip_existing else "refuse"


transfer_options = _packed(
    "transfer",
    Transfer,
    click.option("-r", "--recursive", is_flag=True, help="Go through folders; DST gets the same tree."),
    click.option("-f", "--force", is_flag=True, help="Replace existing outputs."),
    click.option("--skip-existing", is_flag=True, help="Leave existing outputs as they are."),
    click.option(
        "-j", "--jobs", metavar="N", type=click.IntRange(min=1), help="Processes; default: what suits cores and files."
    ),
)
transfer_arguments = _options(
    click.argument("sources", metavar="SRC...", nargs=-1, required=True),
    click.argument("target", metavar="DST"),
)


@dataclass(frozen=True)
class Rate:
    """What decides how large a stream becomes."""

    quality: float | None
    target_bpp: float | None
    target_size: float | None
    target_psnr: float | None

    def __post_init__(self) -> None:
        if sum(value is not None for value in dataclasses.astuple(self)) > 1:
            raise click.UsageError("--quality and the --target options exclude each other.")

    def decide(self) -> tuple[float, Any]:
        """The quality and, in its place, the goal."""
        from vqcodec.codec.rate_control import Goal

        quality = defaults.QUALITY if self.quality is None else self.quality
        for kind in ("bpp", "size", "psnr"):
            value = getattr(self, f"target_{kind}")
            if value is not None:
                return quality, Goal(kind, value)
        return quality, None


class _Finite(click.FloatRange):
    """A range without ``inf``, and without ``nan``, which click lets pass: it is not below any bound."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        number = super().convert(value, param, context)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, context)
        return number


class _Size(click.ParamType):
    """A number of bytes; ``k`` and ``M`` stand for thousands and millions."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKM]?)[bB]?", str(value))
        if match is None or not 0 < float(match[1]) < 1e18:
            self.fail(f"{value!r} is not a size like 20000, 20k or 1.5M", param, context)
        return float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()]


_POSITIVE = _Finite(min=0, min_open=True)
_QUALITY = _Finite(0, 100)
quality_option = click.option(
    "-q",
    "--quality",
    metavar="0..100",
    type=_QUALITY,
    default=defaults.QUALITY,
    show_default=True,
    help="Continuous; higher is better and larger.",
)
effort_option = click.option(
    "--effort",
    metavar=f"{min(defaults.EFFORTS)}..{max(defaults.EFFORTS)}",
    type=click.IntRange(min(defaults.EFFORTS), max(defaults.EFFORTS)),
    default=defaults.EFFORT,
    show_default=True,
    help="Higher is slower to encode and smaller.",
)
rate_options = _packed(
    "rate",
    Rate,
    click.option(
        "-q",
        "--quality",
        metavar="0..100",
        type=_QUALITY,
        help=f"Continuous; higher is better and larger.  [default: {defaults.QUALITY}]",
    ),
    click.option("--target-bpp", metavar="F", type=_POSITIVE, help="The quality that gives so many bits per pixel."),
    click.option("--target-size", metavar="BYTES", type=_Size(), help="... or a file of that size; 20k, 1.5M."),
    click.option("--target-psnr", metavar="DB", type=_POSITIVE, help="... or that PSNR."),
)


@dataclass(frozen=True)
class Keeping:
    """What is kept of a picture."""

    alpha: str
    background: str
    metadata: str | None
    strip: bool
    auto_orient: bool
    strict: bool

    def __post_init__(self) -> None:
        if self.strip and self.metadata not in (None, "none"):
            raise click.UsageError("--strip and --metadata contradict each other.")

    def to_options(self) -> Any:
        """For the API."""
        from vqcodec.images.reading import ReadOptions
        from vqcodec.stream.metadata import METADATA_KINDS

        wanted = "none" if self.strip else "all" if self.metadata is None else self.metadata
        kinds = {"all": frozenset(METADATA_KINDS), "none": frozenset[str]()}.get(wanted, frozenset(wanted.split(",")))
        try:
            return ReadOptions(self.alpha, self.background, kinds, self.auto_orient, self.strict)  # type: ignore[arg-type]
        except VqcError as error:
            raise click.UsageError(f"{error}.") from None


keeping_options = _packed(
    "keeping",
    Keeping,
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


def _to_box(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", value)
    if match is None or 0 in (int(match[3]), int(match[4])):
        raise click.BadParameter(f"{value!r} is not X,Y,WIDTH,HEIGHT in pixels")
    from vqcodec.codec.tiles import Box

    return Box(*map(int, match.groups()))


region_option = click.option("--region", metavar="X,Y,W,H", callback=_to_box, help="Only that rectangle.")
