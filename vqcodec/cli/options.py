"""Define the options of the command line.

Options that belong together reach a command as one small dataclass, which rejects contradictions and converts the
values to those of the API.  Heavy modules are imported only when they are needed, so that ``--help`` is immediate.
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
    """Combine several options into one decorator."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _packed(name: str, kind: type[Any], *options: _Decorator) -> _Decorator:
    """Combine options into one decorator that passes their values to the command as one dataclass."""
    fields = [field.name for field in dataclasses.fields(kind)]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapper(*positional: Any, **arguments: Any) -> Any:
            arguments[name] = kind(**{field: arguments.pop(field) for field in fields})
            return command(*positional, **arguments)

        return _options(*options)(wrapper)

    return decorate


def reporting(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options on output.  The command gets a :class:`Console`, which decides the exit code."""

    @_options(
        click.option("--json", "as_json", is_flag=True, help="Print each result as one line of JSON."),
        click.option("--quiet", is_flag=True, help="Print only results and errors."),
        click.option("--no-progress", is_flag=True, help="Show no progress bar."),
        click.option("-v", "verbose", count=True, help="Print more messages; -vv shows tracebacks."),
    )
    @functools.wraps(command)
    def wrapper(as_json: bool, quiet: bool, no_progress: bool, verbose: int, **arguments: Any) -> None:
        console = Console(verbose, quiet, as_json, not no_progress)
        with interruptible(), console.guard(None):
            command(console, **arguments)
        click.get_current_context().exit(1 if console.failed else 0)

    return wrapper


@dataclass(frozen=True)
class ModelChoice:
    """The model that is asked for."""

    model: str | None
    model_path: str | None

    def __post_init__(self) -> None:
        if self.model is not None and self.model_path is not None:
            raise click.UsageError("--model and --model-path cannot be combined.")
        if "" in (self.model, self.model_path):
            raise click.UsageError("model name must not be empty.")

    def load(self) -> Any:
        """The :class:`vqcodec.weights.registry.Model`."""
        from vqcodec.weights import registry

        return registry.load_weights(self.model_path) if self.model_path else registry.load_model(self.model)


@dataclass(frozen=True)
class CodecChoice(ModelChoice):
    """The model that is asked for, and the device for its transforms."""

    device: str

    def to_batch(self) -> Any:
        """Convert to the options of the API."""
        from vqcodec.batch.tasks import Weights

        return Weights(self.model, self.model_path, self.device)


def _checked_device(context: click.Context, option: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter("must be auto, cpu, cuda or cuda:N")
    return value


_which_model = (
    click.option("--model", metavar="ID", help="Model to use; 'vqcodec models' lists them."),
    click.option("--model-path", metavar="FILE", help="Weights file to use instead of an installed model."),
)
model_options = _packed("weights", ModelChoice, *_which_model)
weights_options = _packed(
    "weights",
    CodecChoice,
    *_which_model,
    click.option(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        default="auto",
        show_default=True,
        callback=_checked_device,
        help="Device for the transforms; every device decodes the same indices.",
    ),
)
max_pixels_option = click.option(
    "--max-pixels",
    metavar="N",
    type=click.IntRange(min=0),
    default=defaults.MAX_PIXELS,
    show_default=True,
    help="Refuse pictures with more pixels; 0 lifts the limit.",
)


@dataclass(frozen=True)
class Transfer:
    """How to process files."""

    recursive: bool
    force: bool
    skip_existing: bool
    jobs: int | None

    def __post_init__(self) -> None:
        if self.force and self.skip_existing:
            raise click.UsageError("--force and --skip-existing cannot be combined.")

    @property
    def existing(self) -> Existing:
        """What to do with existing outputs."""
        return "replace" if self.force else "skip" if self.skip_existing else "refuse"


transfer_options = _packed(
    "transfer",
    Transfer,
    click.option("-r", "--recursive", is_flag=True, help="Process folders; DST gets the same tree."),
    click.option("-f", "--force", is_flag=True, help="Replace existing outputs."),
    click.option("--skip-existing", is_flag=True, help="Skip sources whose output exists."),
    click.option(
        "-j",
        "--jobs",
        metavar="N",
        type=click.IntRange(min=1),
        help="Number of processes; default: by cores and files.",
    ),
)
transfer_arguments = _options(
    click.argument("sources", metavar="SRC...", nargs=-1, required=True),
    click.argument("target", metavar="DST"),
)


@dataclass(frozen=True)
class Rate:
    """The quality, or the target to search it for."""

    quality: float | None
    target_bpp: float | None
    target_size: float | None
    target_psnr: float | None

    def __post_init__(self) -> None:
        if sum(value is not None for value in dataclasses.astuple(self)) > 1:
            raise click.UsageError("--quality and the --target options cannot be combined.")

    def decide(self) -> tuple[float, Any]:
        """Return the quality, and the goal that replaces it or None."""
        from vqcodec.codec.rate_control import Goal

        quality = defaults.QUALITY if self.quality is None else self.quality
        for kind in ("bpp", "size", "psnr"):
            value = getattr(self, f"target_{kind}")
            if value is not None:
                return quality, Goal(kind, value)
        return quality, None


class _Finite(click.FloatRange):
    """A range of finite numbers.  click alone accepts ``nan``, which no bound excludes."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        number = super().convert(value, param, context)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, context)
        return number


class _Size(click.ParamType):
    """A number of bytes, with the suffixes ``k`` (thousand) and ``M`` (million)."""

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
    click.option("--target-bpp", metavar="F", type=_POSITIVE, help="Target bits per pixel, within 2 %."),
    click.option(
        "--target-size", metavar="BYTES", type=_Size(), help="Target file size, such as 20k or 1.5M, within 2 %."
    ),
    click.option("--target-psnr", metavar="DB", type=_POSITIVE, help="Target PSNR in dB, within 0.1 dB."),
)


@dataclass(frozen=True)
class Keeping:
    """What to keep of a picture."""

    alpha: str
    background: str
    metadata: str | None
    strip: bool
    auto_orient: bool
    strict: bool

    def __post_init__(self) -> None:
        if self.strip and self.metadata not in (None, "none"):
            raise click.UsageError("--strip and --metadata cannot be combined.")

    def to_options(self) -> Any:
        """Convert to the options of the API."""
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
        help="Keep the alpha plane losslessly, drop it, or blend the picture with the background.",
    ),
    click.option(
        "--background", metavar="COLOR", default="white", show_default=True, help="Background colour for --alpha blend."
    ),
    click.option("--metadata", metavar="all|none|exif,icc,xmp", help="Metadata to keep.  [default: all]"),
    click.option("--strip", is_flag=True, help="The same as --metadata none."),
    click.option("--auto-orient", is_flag=True, help="Apply the EXIF orientation to the pixels."),
    click.option("--strict", is_flag=True, help="Fail if anything cannot be kept, such as 16 bits per sample."),
)


def _to_box(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", value)
    if match is None or 0 in (int(match[3]), int(match[4])):
        raise click.BadParameter(f"{value!r} is not X,Y,WIDTH,HEIGHT in pixels")
    from vqcodec.codec.tiles import Box

    return Box(*map(int, match.groups()))


region_option = click.option(
    "--region", metavar="X,Y,W,H", callback=_to_box, help="Decode only this rectangle, in pixels."
)
