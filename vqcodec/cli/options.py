"""Options of the command line.

Options that belong together reach a command as one small dataclass, which rejects contradictions and converts the
options to those of the API.  Heavy modules are imported only when they are needed, so that ``--help`` is fast.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import click

from vqcodec import defaults
from vqcodec.batch.jobs import Existing
from vqcodec.cli.console import Console, interruptible
from vqcodec.errors import VqcError

if TYPE_CHECKING:  # imports torch
    from vqcodec.batch.tasks import Weights
    from vqcodec.codec.rate_control import Goal
    from vqcodec.codec.tiles import Box
    from vqcodec.images.reading import ReadOptions
    from vqcodec.weights.registry import Model

    _FloatParam = click.ParamType[float]  # generic in new releases of click only
else:
    _FloatParam = click.ParamType

_Command: TypeAlias = Callable[..., None]
_Decorator: TypeAlias = Callable[[_Command], _Command]


def _combined(*options: _Decorator) -> _Decorator:
    """Combine several options into one decorator."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _grouped(name: str, kind: type[Any], *options: _Decorator) -> _Decorator:
    """Pass the values of several options to the command as one dataclass."""
    fields = [field.name for field in dataclasses.fields(kind)]

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def wrapper(*positional: Any, **arguments: Any) -> None:
            arguments[name] = kind(**{field: arguments.pop(field) for field in fields})
            command(*positional, **arguments)

        return _combined(*options)(wrapper)

    return decorate


def output_options(command: _Command) -> _Command:
    """Add the options of messages and results; the command gets a :class:`Console`, which sets the exit code."""

    @_combined(
        click.option("--json", "as_json", is_flag=True, help="Print results as JSON, one value per line."),
        click.option("--quiet", is_flag=True, help="Print only results and errors."),
        click.option("--no-progress", is_flag=True, help="Show no progress bar."),
        click.option("-v", "verbose", count=True, help="Print more messages; -vv also prints tracebacks."),
    )
    @functools.wraps(command)
    def wrapper(as_json: bool, quiet: bool, no_progress: bool, verbose: int, **arguments: Any) -> None:
        console = Console(verbose, quiet, as_json, not no_progress)
        with interruptible(), console.report_errors(None):
            command(console, **arguments)
        click.get_current_context().exit(1 if console.failed else 0)

    return wrapper


@dataclass(frozen=True)
class ModelChoice:
    """The model to use: an id, a weights file, or neither for the default."""

    model: str | None
    model_path: str | None

    def __post_init__(self) -> None:
        if self.model is not None and self.model_path is not None:
            raise click.UsageError("--model and --model-path cannot be combined.")
        if self.model == "":
            raise click.UsageError("model id must not be empty.")
        if self.model_path == "":
            raise click.UsageError("name of the weights file must not be empty.")

    @property
    def given(self) -> bool:
        """True if the user chose a model."""
        return bool(self.model or self.model_path)

    def load(self) -> "Model":
        """Load the model."""
        from vqcodec.weights import registry

        return registry.load_weights(self.model_path) if self.model_path else registry.load_model(self.model)

    def to_weights(self, device: str = "auto") -> "Weights":
        """Return the model and a device as an argument of the API."""
        from vqcodec.batch.tasks import Weights

        return Weights(self.model, self.model_path, device)


@dataclass(frozen=True)
class CodecChoice(ModelChoice):
    """The model to use and the device to run it on."""

    device: str


def _check_device(context: click.Context, option: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter("must be auto, cpu, cuda or cuda:N")
    return value


_which_model = (
    click.option("--model", metavar="ID", help="Model to use; 'vqcodec models' lists them."),
    click.option("--model-path", metavar="FILE", help="Weights file to use instead of an installed model."),
)
model_options = _grouped("model_choice", ModelChoice, *_which_model)
codec_options = _grouped(
    "codec_choice",
    CodecChoice,
    *_which_model,
    click.option(
        "--device",
        metavar="auto|cpu|cuda[:N]",
        default="auto",
        show_default=True,
        callback=_check_device,
        help="Device of the transforms; streams decode on any device.",
    ),
)
max_pixels_option = click.option(
    "--max-pixels",
    metavar="N",
    type=click.IntRange(min=0),
    default=defaults.MAX_PIXELS,
    show_default=True,
    help="Refuse pictures with more pixels; 0 means no limit.",
)


@dataclass(frozen=True)
class FileOptions:
    """Which files to process, and what to do about existing outputs."""

    recursive: bool
    force: bool
    skip_existing: bool
    jobs: int | None

    def __post_init__(self) -> None:
        if self.force and self.skip_existing:
            raise click.UsageError("--force and --skip-existing cannot be combined.")

    @property
    def existing(self) -> Existing:
        """Treatment of outputs that already exist."""
        return "replace" if self.force else "skip" if self.skip_existing else "refuse"


file_options = _grouped(
    "file_options",
    FileOptions,
    click.option("-r", "--recursive", is_flag=True, help="Process folders recursively; repeat their tree below DST."),
    click.option("-f", "--force", is_flag=True, help="Overwrite existing outputs."),
    click.option("--skip-existing", is_flag=True, help="Skip sources whose output exists."),
    click.option(
        "-j",
        "--jobs",
        metavar="N",
        type=click.IntRange(min=1),
        help="Number of processes.  [default: chosen from the number of cores and files]",
    ),
)
file_arguments = _combined(
    click.argument("sources", metavar="SRC...", nargs=-1, required=True),
    click.argument("target", metavar="DST"),
)


@dataclass(frozen=True)
class RateOptions:
    """Quality, or a target for rate, size or PSNR; at most one of them."""

    quality: float | None
    target_bpp: float | None
    target_size: float | None
    target_psnr: float | None

    def __post_init__(self) -> None:
        if sum(value is not None for value in dataclasses.astuple(self)) > 1:
            raise click.UsageError("--quality and the --target options cannot be combined.")

    def to_quality_and_goal(self) -> tuple[float, "Goal | None"]:
        """Return the quality, and the goal that replaces it."""
        from vqcodec.codec.rate_control import Goal

        quality = defaults.QUALITY if self.quality is None else self.quality
        if self.target_bpp is not None:
            return quality, Goal("bpp", self.target_bpp)
        if self.target_size is not None:
            return quality, Goal("size", self.target_size)
        if self.target_psnr is not None:
            return quality, Goal("psnr", self.target_psnr)
        return quality, None


class _FiniteRange(click.FloatRange):
    """A range without ``inf`` and ``nan``; click accepts ``nan`` because it is not below any bound."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        number = super().convert(value, param, context)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, context)
        return number


class _Size(_FloatParam):
    """A number of bytes; ``k`` and ``M`` mean thousands and millions."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKM]?)[bB]?", str(value))
        if match is None or not 0 < float(match[1]) < 1e18:
            self.fail(f"{value!r} is not a size like 20000, 20k or 1.5M", param, context)
        return float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()]


_POSITIVE = _FiniteRange(min=0, min_open=True)
_QUALITY = _FiniteRange(0, 100)
_QUALITY_HELP = "Quality; higher is better and larger.  Fractions are allowed."
quality_option = click.option(
    "-q",
    "--quality",
    metavar="0..100",
    type=_QUALITY,
    default=defaults.QUALITY,
    show_default=True,
    help=_QUALITY_HELP,
)
effort_option = click.option(
    "--effort",
    metavar=f"{min(defaults.EFFORTS)}..{max(defaults.EFFORTS)}",
    type=click.IntRange(min(defaults.EFFORTS), max(defaults.EFFORTS)),
    default=defaults.EFFORT,
    show_default=True,
    help="Encoder effort; higher is slower and gives smaller files.",
)
lossless_option = click.option(
    "--lossless/--lossy",
    default=None,
    help="Store the exact picture, or never.  [default: what costs less at this quality]",
)
rate_options = _grouped(
    "rate",
    RateOptions,
    click.option(
        "-q",
        "--quality",
        metavar="0..100",
        type=_QUALITY,
        help=f"{_QUALITY_HELP}  [default: {defaults.QUALITY}]",
    ),
    click.option("--target-bpp", metavar="BPP", type=_POSITIVE, help="Target bits per pixel."),
    click.option(
        "--target-size",
        metavar="BYTES",
        type=_Size(),
        help="Target file size, such as 20k or 1.5M.",
    ),
    click.option("--target-psnr", metavar="DB", type=_POSITIVE, help="Target PSNR."),
)


@dataclass(frozen=True)
class ImageOptions:
    """Treatment of alpha, metadata and orientation."""

    alpha: Literal["keep", "drop", "blend"]
    background: str
    metadata: str | None
    strip: bool
    auto_orient: bool
    strict: bool

    def __post_init__(self) -> None:
        if self.strip and self.metadata not in (None, "none"):
            raise click.UsageError("--strip and --metadata contradict each other.")

    def to_read_options(self) -> "ReadOptions":
        """Return the options as an argument of the API."""
        from vqcodec.images.reading import ReadOptions
        from vqcodec.stream.metadata import METADATA_KINDS

        wanted = "none" if self.strip else "all" if self.metadata is None else self.metadata
        kinds = {"all": frozenset(METADATA_KINDS), "none": frozenset[str]()}.get(wanted, frozenset(wanted.split(",")))
        try:
            return ReadOptions(self.alpha, self.background, kinds, self.auto_orient, self.strict)
        except VqcError as error:
            raise click.UsageError(f"{error}.") from None


image_options = _grouped(
    "image_options",
    ImageOptions,
    click.option(
        "--alpha",
        type=click.Choice(["keep", "drop", "blend"]),
        default="keep",
        show_default=True,
        help="Keep alpha losslessly, drop it, or blend the picture over the background.",
    ),
    click.option(
        "--background", metavar="COLOR", default="white", show_default=True, help="Background of --alpha blend."
    ),
    click.option("--metadata", metavar="all|none|exif,icc,xmp", help="Metadata to keep.  [default: all]"),
    click.option("--strip", is_flag=True, help="Keep no metadata, same as --metadata none."),
    click.option("--auto-orient", is_flag=True, help="Rotate the pixels according to the EXIF orientation."),
    click.option(
        "--strict", is_flag=True, help="Fail instead of warning if something would be lost, such as 16-bit precision."
    ),
)


def _to_box(context: click.Context, option: click.Parameter, value: str | None) -> "Box | None":
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
