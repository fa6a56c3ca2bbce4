"""Command line: ``python -m benchmarks``.

Commands import torch and the plotting libraries themselves, so that ``--help`` is quick.  Results go to stdout,
messages and the progress bar to stderr.  Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.
"""

import dataclasses
import functools
import json
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks.defaults import MEMBERS
from benchmarks.errors import BenchmarkError
from benchmarks.rd.codecs import CODECS
from vqcodec.defaults import EFFORT, EFFORTS, QUALITY

Command = TypeVar("Command", bound=Callable[..., Any])
_CODECS = ",".join(codec.name for codec in CODECS if codec.by_default)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_dataset_option = click.option(
    "--dataset", type=_FOLDER, help="Folder of pictures; default: photographs of scikit-image."
)


_images_option = click.option("--images", type=click.IntRange(min=1), help="Only the first N pictures.")
_model_path_option = click.option("--model-path", type=_FILE, help="Weights file; default: the default model.")


def _runs_option(default: int) -> Callable[[Command], Command]:
    return click.option(
        "--runs", type=click.IntRange(min=1), default=default, show_default=True, help="Times are medians of N runs."
    )


def _out_option(default: str, text: str) -> Callable[[Command], Command]:
    path = click.Path(file_okay=False, path_type=Path)
    return click.option("--out", type=path, default=Path(default), show_default=True, help=text)


def _qualities_option(default: str, text: str) -> Callable[[Command], Command]:
    return click.option("--qualities", default=default, show_default=True, callback=_numbers(float), help=text)


def _numbers(kind: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str], tuple[Any, ...]]:
    """Return a callback that parses a comma-separated list."""

    def parse(context: click.Context, option: click.Parameter, value: str) -> tuple[Any, ...]:
        try:
            numbers = tuple(kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number < math.inf for number in numbers):
            raise click.BadParameter("must be numbers above 0, separated by commas")
        return numbers

    return parse


def _rising(context: click.Context, option: click.Parameter, value: tuple[float, float]) -> tuple[float, float]:
    """Check a range, as a callback."""
    if not value[0] < value[1]:
        raise click.BadParameter("LOW must be below HIGH")
    return value


def _codec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select codecs and pictures."""
    for option in (
        click.option(
            "--device", default="auto", show_default=True, help="Device of vqc's transforms: auto, cpu, cuda[:N]."
        ),
        click.option(
            "--model-path",
            "weights",
            type=_FILE,
            multiple=True,
            help="Weights file to measure as well, as vqc:STEM; may be repeated.",
        ),
        click.option(
            "--codecs",
            default=_CODECS,
            show_default=True,
            callback=lambda _context, _option, value: tuple(filter(None, value.split(","))),
            help="Codecs to measure; also jpeg444, vqc:ID for another model, "
            f"vqc@{EFFORTS[0]} to vqc@{EFFORTS[-1]} for other efforts, and vqc-lossy for no exact pictures.",
        ),
        _dataset_option,
    ):
        command = option(command)
    return command


def _reporting(command: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one line and an exit code."""

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        from vqcodec import VqcError

        try:
            command(**arguments)
        except (BenchmarkError, VqcError) as error:
            click.echo(f"benchmarks: {error}", err=True)
            raise click.exceptions.Exit(1) from error
        except OSError as error:  # such as a folder that cannot be written to, or a full disk
            cause = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
            click.echo(f"benchmarks: {cause or error}", err=True)
            raise click.exceptions.Exit(1) from error
        except KeyboardInterrupt:
            click.echo("\nbenchmarks: interrupted; run the same command to continue", err=True)
            raise click.exceptions.Exit(130) from None

    return wrapper


def _tell(message: str) -> None:
    """Print a message, except with ``--quiet``."""
    if not click.get_current_context().meta.get(_QUIET):
        click.echo(f"benchmarks: {message}", err=True)


def _progress(items: Iterable[Any], length: int) -> Iterable[Any]:
    """Show a progress bar with the time left, on a terminal, except with ``--quiet`` or ``--no-progress``."""
    meta = click.get_current_context().meta
    hidden = bool(meta.get(_QUIET) or meta.get(_NO_PROGRESS))
    bar = click.progressbar(items, length=length, label="measuring", show_pos=True, hidden=hidden, file=sys.stderr)
    with bar:
        yield from bar


_QUIET, _NO_PROGRESS = "benchmarks.quiet", "benchmarks.no_progress"
"""Keys of the context's ``meta``."""


def _message_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--quiet`` and ``--no-progress``."""

    def keep(key: str) -> Callable[[click.Context, click.Parameter, bool], None]:
        return lambda context, _option, value: context.meta.update({key: value})

    for flag, key, text in (
        ("--no-progress", _NO_PROGRESS, "Show no progress bar."),
        ("--quiet", _QUIET, "Print only results and errors."),
    ):
        command = click.option(flag, is_flag=True, expose_value=False, callback=keep(key), help=text)(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Compare vqcodec with JPEG and its successors, and measure its speed."""


@main.command()
@_codec_options
@_out_option("report", "Folder of the report; existing measurements are kept.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Number of processes; default: one per core.")
@_runs_option(1)
@_images_option
@click.option("--points", type=click.IntRange(min=2), help="At most N qualities of each codec.")
@click.option(
    "--bpp",
    "bpp_range",
    type=(float, float),
    metavar="LOW HIGH",
    default=(0.1, 1.5),
    show_default=True,
    callback=_rising,
    help="Range of rates for additional BD-rates.",
)
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the report as Markdown, with its picture in a folder beside it.",
)
@_message_options
@_reporting
def rd(
    dataset: Path | None,
    codecs: tuple[str, ...],
    weights: tuple[Path, ...],
    device: str,
    out: Path,
    jobs: int | None,
    runs: int,
    images: int | None,
    points: int | None,
    bpp_range: tuple[float, float],
    markdown: Path | None,
) -> None:
    """Measure rate and distortion; write curves, BD-rates against JPEG, and an HTML page."""
    from benchmarks.environment import cores
    from benchmarks.rd.codecs import choose_codecs
    from benchmarks.rd.datasets import WHY_LEFT_OUT, open_dataset
    from benchmarks.report.build import Request, command_line, write_report

    jobs = jobs or cores()
    choices = choose_codecs(codecs, weights, device, threads=max(1, cores() // jobs))
    request = Request(
        dataset=open_dataset(dataset, images),
        choices=choices,
        out=out,
        jobs=jobs,
        runs=runs,
        points=points,
        bpp_range=bpp_range,
        command=command_line(dataset, choices, images, points, runs),
        markdown=markdown,
    )
    for name in request.dataset.left_out:
        _tell(f"{name} is left out: {WHY_LEFT_OUT}")
    summary = write_report(request, _tell, _progress)
    for rating in summary.ratings:
        if rating.bpp_range is None:
            percent = rating.bd_rate.percent
            text = "does not overlap with JPEG" if percent is None else f"{percent:+.2f} % bits relative to JPEG"
            click.echo(f"{rating.codec:12} {rating.metric:12} {text}")
    click.echo(f"wrote {out / 'index.html'}")


@main.command()
@_codec_options
@_out_option("report", "Folder of speed.json, speed.csv and speed.png.")
@click.option(
    "--sizes", default="0.1,0.4,1.5,6,24", show_default=True, callback=_numbers(float), help="Megapixels of a picture."
)
@click.option("--batches", default="1,4,16", show_default=True, callback=_numbers(int), help="Batch sizes, for vqc.")
@_runs_option(3)
@click.option("--threads", type=click.IntRange(min=1), help="Worker threads; default: one per core.")
@_reporting
def speed(
    dataset: Path | None,
    codecs: tuple[str, ...],
    weights: tuple[Path, ...],
    device: str,
    out: Path,
    sizes: tuple[float, ...],
    batches: tuple[int, ...],
    runs: int,
    threads: int | None,
) -> None:
    """Measure throughput and peak memory by picture size and batch size, and vqcodec's stages."""
    from benchmarks.environment import cores, environment
    from benchmarks.rd.codecs import choose_codecs, open_codecs
    from benchmarks.rd.datasets import open_dataset
    from benchmarks.timing import speed as timing
    from benchmarks.timing.plots import plot_speed

    threads = threads or cores()
    opened = open_codecs(choose_codecs(codecs, weights, device, threads), _tell)
    choices = [loaded.codec.choice for loaded in opened.loaded]
    photos = open_dataset(dataset).photos
    points = timing.plan(choices, sizes, batches)
    measured = _progress(timing.measure_speed(points, photos, runs, _tell), len(points))
    throughputs = [throughput for throughput in measured if throughput]
    shares = timing.measure_shares(choices, photos)
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "environment": {**environment(), "threads": threads},
        "throughput": [dataclasses.asdict(t) for t in throughputs],
        "stages": [dataclasses.asdict(s) for s in shares],
    }
    (out / "speed.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    timing.write_csv(out / "speed.csv", throughputs)
    plot_speed(out / "speed.png", throughputs)
    click.echo(timing.describe(throughputs, shares))
    click.echo(f"wrote {out / 'speed.json'}, speed.csv and speed.png")


@main.command()
@click.argument("a", type=_FILE)
@click.argument("b", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_reporting
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Compare results A and B: JSON files of reports, or any in CompressAI's schema."""
    from benchmarks.rd.compare import compare, describe
    from benchmarks.rd.results import read_result

    change = compare(read_result(a), read_result(b))
    click.echo(json.dumps(dataclasses.asdict(change), indent=1) if as_json else describe(change))


@main.command()
@_dataset_option
@_runs_option(5)
@click.option("--only", default="", help="Measure only ratios whose name contains this.")
@_reporting
def ratios(dataset: Path | None, runs: int, only: str) -> None:
    """Measure ratios of vqcodec's times: previews, regions, batches, efforts, processes."""
    from benchmarks.rd.datasets import open_dataset
    from benchmarks.timing import ratios as timing

    click.echo(timing.describe(list(timing.measure(open_dataset(dataset).photos, runs, only))))


@main.command()
@_dataset_option
@click.option("--sizes", default="0.4,12", show_default=True, callback=_numbers(float), help="Megapixels of a picture.")
@click.option(
    "--effort", type=click.IntRange(EFFORTS[0], EFFORTS[-1]), default=EFFORT, show_default=True, help="Encoder effort."
)
@_reporting
def scale(dataset: Path | None, sizes: tuple[float, ...], effort: int) -> None:
    """Measure the cost of large collections: time and memory of a worker of 'vqcodec batch'."""
    from benchmarks.rd.datasets import open_dataset
    from benchmarks.timing.scale import describe, measure

    costs = measure(open_dataset(dataset).photos, sizes, effort)
    click.echo(describe(list(_progress(costs, len(sizes)))))


@main.command()
@_dataset_option
@_images_option
@_reporting
def goals(dataset: Path | None, images: int | None) -> None:
    """Measure how closely the encoder meets target rates, sizes and PSNRs."""
    from benchmarks.rd.datasets import open_dataset
    from benchmarks.timing import goals as timing
    from vqcodec import Codec

    photos = open_dataset(dataset, images).photos
    attempts = _progress(timing.measure(Codec(device="cpu"), photos), len(photos) * len(timing.GOALS))
    click.echo(timing.describe(list(attempts)))


@main.command()
@_dataset_option
@click.option("--model", help="Id of the model; default: the default model.")
@click.option("--model-path", type=_FILE, help="Weights file to measure instead.")
@_images_option
@_qualities_option("5,15,30", "Qualities, up to 50.")
@_out_option("realism", "Folder of realism.json and index.html.")
@_message_options
@_reporting
def realism(
    dataset: Path | None,
    model: str | None,
    model_path: Path | None,
    images: int | None,
    qualities: tuple[float, ...],
    out: Path,
) -> None:
    """Measure faithful and lifelike pictures beside JPEG, WebP and AVIF at equal bytes."""
    from benchmarks.rd.datasets import open_dataset
    from benchmarks.realism.study import Study, command_line, describe, run

    command = command_line(dataset, model, model_path, images, qualities)
    study = Study(open_dataset(dataset, images), model, model_path, qualities, out, command)
    click.echo(describe(run(study, _tell, _progress)))
    click.echo(f"wrote {out / 'realism.json'} and index.html")


@main.command()
@_model_path_option
@click.option(
    "--data", type=_FOLDER, required=True, help="Folder of real pictures; of class folders for a model with classes."
)
@click.option(
    "--features",
    type=click.Choice(["classifier", "efficientnet", "inception"]),
    help="What compares pictures.  [default: a classifier of the data, efficientnet without class folders]",
)
@click.option(
    "--count", type=click.IntRange(min=10), default=100, show_default=True, help="Samples per class; in all without."
)
@click.option("--quality", type=click.FloatRange(0, 100), default=QUALITY, show_default=True, help="Quality drawn at.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Temperature of the samples that are rejected, shown and learned from.",
)
@click.option("--steps", type=click.IntRange(min=1), default=300, show_default=True, help="Steps of each classifier.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Random seed.")
@_out_option("generation", "Folder of the report.")
@_message_options
@_reporting
def generation(
    model_path: Path | None,
    data: Path,
    features: str | None,
    count: int,
    quality: float,
    temperature: float,
    steps: int,
    seed: int,
    out: Path,
) -> None:
    """Draw pictures from a model's prior and measure how good they are; write a page, sheets and generation.json."""
    from benchmarks.generation.measures import ClassifierPlan
    from benchmarks.generation.pictures import open_pictures
    from benchmarks.generation.study import Study, describe, run, sample_size
    from vqcodec import Codec

    codec = Codec(model_path=model_path, device="cpu")
    real = open_pictures(data, sample_size(codec))
    features = features or ("classifier" if real.classes else "efficientnet")
    study = Study(codec, real, features, count, quality, temperature, seed, ClassifierPlan(steps=steps), out)
    describe(run(study, _tell, _progress), click.echo)
    click.echo(f"wrote {out / 'index.html'}, samples.png, nearest.png and generation.json")


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@_reporting
def digits(folder: Path) -> None:
    """Write scikit-learn's digits to FOLDER as class folders of pictures, for 'vqcodec train' and 'generation'."""
    from benchmarks.generation.digits import write_digits

    click.echo(f"wrote {write_digits(folder)} pictures to {folder}")


@main.command()
@_dataset_option
@_model_path_option
@_qualities_option("20,40,60,80,100", "Qualities, up to 100.")
@_images_option
@_out_option("likelihood", "Folder of the report.")
@_message_options
@_reporting
def likelihood(
    dataset: Path | None, model_path: Path | None, qualities: tuple[float, ...], images: int | None, out: Path
) -> None:
    """Bound log p(x) of pictures in bits per dimension, beside lossless PNG and WebP; write a page."""
    from benchmarks.likelihood.study import Study, describe, run
    from benchmarks.rd.datasets import open_dataset
    from vqcodec import Codec

    study = Study(open_dataset(dataset, images), Codec(model_path=model_path, device="cpu"), qualities, out)
    describe(run(study, _progress), click.echo)
    click.echo(f"wrote {out / 'index.html'} and likelihood.json")


@main.command()
@_dataset_option
@_images_option
@_qualities_option("8,20,35,50,65", "Qualities of a curve.")
@click.option("--crop", type=click.IntRange(min=64), default=256, show_default=True, help="Edge of the middle, pixels.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Picture file to draw the table to.")
@_reporting
def efforts(
    dataset: Path | None, images: int | None, qualities: tuple[float, ...], crop: int, plot: Path | None
) -> None:
    """Measure what each effort saves and the time it takes, on the middle of each picture."""
    from benchmarks.rd.datasets import open_dataset
    from benchmarks.timing import efforts as timing
    from vqcodec import Codec

    photos = open_dataset(dataset, images).photos
    points = timing.measure(Codec(device="cpu"), photos, qualities, crop)
    summaries = timing.summarize(list(_progress(points, len(photos) * len(qualities) * len(EFFORTS))))
    click.echo(timing.describe(summaries))
    if plot is not None:
        timing.plot(plot, summaries)


@main.command()
@click.option("--data", type=_FOLDER, help="Folder of photographs, for crops of 64x64; default: scikit-learn's digits.")
@click.option(
    "--members",
    default=",".join(MEMBERS),
    callback=lambda _context, _option, value: tuple(filter(None, value.split(","))),
    help=f"Members to train, separated by commas; default: all of {' '.join(MEMBERS)}.",
)
@click.option("--steps", type=click.IntRange(min=10), default=1000, show_default=True, help="Training steps of each.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of batches and weights.")
@_out_option("bottlenecks", "Folder of the report; finished members are kept.")
@_message_options
@_reporting
def bottlenecks(data: Path | None, members: tuple[str, ...], steps: int, seed: int, out: Path) -> None:
    """Train the VQ-VAE family and its ancestors side by side; write a page, a table and bottlenecks.json."""
    from benchmarks.bottlenecks.members import choose
    from benchmarks.bottlenecks.study import Study, command_line, run

    study = Study(choose(members), data, steps, seed, out, command_line(data, members, steps, seed))
    for record in run(study, _tell, _progress):
        rate = "no code  " if record["bpp"] is None else f"{record['bpp']:.3f} bpp"
        click.echo(f"{record['run']:20} {rate}  {record['psnr']:6.2f} dB  {record['seconds_per_step']:.3f} s per step")
    click.echo(f"wrote {out / 'index.html'}, table.md and bottlenecks.json")
