"""``vqcodec sample``: pictures drawn from the prior.  Torch and Pillow are imported when the command runs."""

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqcodec import defaults
from vqcodec.batch.jobs import STANDARD, Job, OutputPolicy
from vqcodec.cli.console import Console
from vqcodec.cli.options import CodecChoice, codec_options, max_pixels_option, output_options
from vqcodec.errors import InvalidSampling, VqcError

if TYPE_CHECKING:  # imports torch
    from PIL import Image

    from vqcodec.codec.sampler import Classify

_EXAMPLES = """\b
Examples:
  vqcodec sample sheet.png -n 16
  vqcodec sample variations/ -n 8 --from photo.vqc
  vqcodec sample threes.png -n 25 --class 3 --model-path digits.safetensors
  vqcodec sample best/ -n 25 --class 3 --keep 0.25 --model-path digits.safetensors"""

_CLASSIFIER_SUFFIX = ".classifier.safetensors"


def _to_size(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", value)
    if match is None or 0 in (width := int(match[1]), height := int(match[2])):
        raise click.BadParameter(f"{value!r} is not WIDTHxHEIGHT in pixels")
    return width, height


@click.command(short_help="Draw pictures from a model's prior.", epilog=_EXAMPLES)
@click.argument("target", metavar="OUT")
@click.option("-n", "--count", type=click.IntRange(1), default=16, show_default=True, help="Number of pictures.")
@click.option(
    "--size",
    metavar="WxH",
    callback=_to_size,
    help="Size in pixels.  [default: that of the crops that the model was trained on]",
)
@click.option(
    "-q",
    "--quality",
    metavar="0..100",
    type=click.FloatRange(0, 100),
    help=f"Draw what the prior expects at this quality.  [default: {defaults.QUALITY}]",
)
@click.option(
    "--temperature",
    metavar="T",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Below 1, likely indices become likelier; 0 takes the likeliest each time.",
)
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, help="Random seed.")
@click.option("--class", "label", metavar="NAME", help="Draw pictures of this class.")
@click.option("--from", "start", metavar="STREAM", help="Keep the top grid of this .vqc file and draw the rest.")
@click.option(
    "--keep",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Draw more, and keep this share: what a classifier finds likeliest of its class.",
)
@click.option(
    "--classifier",
    metavar="FILE|MODULE:NAME",
    help="Classifier of --keep: a file of 'vqcodec train classifier', or a torch module by its import path.  "
    f"[default: the weights file's name with {_CLASSIFIER_SUFFIX}]",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite existing outputs.")
@max_pixels_option
@codec_options
@output_options
def sample(
    console: Console,
    target: str,
    count: int,
    size: tuple[int, int] | None,
    quality: float | None,
    temperature: float,
    seed: int,
    label: str | None,
    start: str | None,
    keep: float,
    classifier: str | None,
    force: bool,
    max_pixels: int,
    codec_choice: CodecChoice,
) -> None:
    """Draw pictures from the prior of a model.

    OUT is a folder, for a PNG of each picture, or one picture file such as sheet.png, for all of them side by side.
    The same seed draws the same indices on every machine.
    """
    if start is not None and (size is not None or quality is not None):
        raise click.UsageError("--from keeps the stream's size and quality: leave out --size and --quality.")
    one_file = bool(Path(target).suffix) and not Path(target).is_dir()
    outputs = [target] if one_file else [str(Path(target) / f"{i:04}.png") for i in range(count)]
    policy = OutputPolicy("replace" if force else "refuse")
    for output in outputs:
        with console.report_errors(None, output):
            policy.should_run(Job(STANDARD, output))
    if console.failed:
        return
    from vqcodec.images.formats import picture_format, save_image_atomically
    from vqcodec.images.sheet import contact_sheet

    try:
        format_name = picture_format(Path(outputs[0]).suffix)
    except VqcError as error:
        raise click.UsageError(f"{error}.") from None
    images: list[Image.Image] = []
    with console.report_errors(codec_choice.model_path):
        codec = codec_choice.to_weights(codec_choice.device).load()
        classify = None
        if keep < 1:
            named = classifier or _beside(codec_choice.model_path)
            with console.report_errors(named):
                classify = _load_classifier(named)
        if console.failed:
            return
        with console.report_errors(start):
            images = codec.sample(
                count,
                size=size,
                quality=defaults.QUALITY if quality is None else quality,
                temperature=temperature,
                seed=seed,
                label=label,
                start=start,
                keep=keep,
                classifier=classify,
                max_pixels=max_pixels,
            )
    if console.failed:
        return
    if not one_file:
        with console.report_errors(None, target):
            Path(target).mkdir(parents=True, exist_ok=True)
    for output, image in zip(outputs, [contact_sheet(images)] if one_file else images, strict=True):
        with console.report_errors(None, output):
            save_image_atomically(image, output, format_name)
            console.file_written(
                {"output": output, "width": image.width, "height": image.height, "pictures": count if one_file else 1},
                f"{output}: {image.width}x{image.height}",
            )


def _beside(model_path: str | None) -> str:
    """Return the name of the classifier beside a weights file."""
    if model_path is None:
        raise click.UsageError("--keep needs a classifier: give --classifier.")
    return str(Path(model_path).with_suffix(_CLASSIFIER_SUFFIX))


def _load_classifier(named: str) -> "Classify":
    """Return the classifier in a file, or by its import path ``module:name``.  Raises :class:`InvalidSampling`."""
    from vqcodec.weights.classifier import load_classifier

    if not re.fullmatch(r"[\w.]+:\w+", named) or Path(named).exists():
        return load_classifier(named)
    module, name = named.split(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidSampling(f"cannot import it: {error}") from error
    return _instance(found)


def _instance(found: object) -> "Classify":
    """Return a module in evaluation mode, given one, or a class or function that makes one."""
    from torch import nn

    if not isinstance(found, nn.Module) and callable(found):
        found = found()
    if not isinstance(found, nn.Module):
        raise InvalidSampling("the import path of a classifier must name a torch module, or what makes one")
    return found.eval()
