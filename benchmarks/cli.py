"""Parse, call, print: ``python -m benchmarks``.

Whatever imports torch or draws is imported inside the commands, so that ``--help`` is immediate.  Results go to
stdout, messages and the progress bar to stderr.  Exit code 0: done; 1: it failed; 2: wrong usage; 130: interrupted.
"""

import dataclasses
import functools
import json
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from benchmarks.errors import BenchmarkError

_ALL = "vqc,jpeg,webp,jpeg2000,avif,jxl"
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _numbers(kind: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str], tuple[Any, ...]]:
    """A callback for a comma-separated list."""

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
    """A callback for a range."""
    if not value[0] < value[1]:
        raise click.BadParameter("LOW must be below HIGH")
    return value


def _codec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What to measure and on which pictures."""
    for option in (
        click.option(
            "--device", default="auto", show_default=True, help="Where the transforms of vqc run: auto, cpu, cuda[:N]."
        ),
        click.option(
            "--model-path",
            "weights",
            type=_FILE,
            multiple=True,
            help="Weights file to measure besides, as vqc:STEM; may be repeated.",
        ),
        click.option(
            "--codecs",
            default=_ALL,
            show_default=True,
            callback=lambda _context, _option, value: tuple(filter(None, value.split(","))),
            help="Also jpeg444, vqc:ID for a model that is not the default one, and vqc@0 to vqc@3 for its efforts.",
        ),
        click.option("--dataset", type=_FOLDER, help="Folder of pictures; scikit-image's photographs without."),
    ):
        command = option(command)
    return command


def _reporting(command: Callable[..., None]) -> Callable[..., None]:
    """Errors become one line and an exit code."""

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        from vqcodec import VqcError

        try:
            command(**arguments)
        except (BenchmarkError, VqcError) as error:
            click.echo(f"benchmarks: {error}", err=True)
            raise click.exceptions.Exit(1) from error
        except OSError as error:  # a folder that cannot be written to, a full disk
            cause = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
            click.echo(f"benchmarks: {cause or error}", err=True)
            raise click.exceptions.Exit(1) from error
        except KeyboardInterrupt:
            click.echo("\nbenchmarks: interrupted; the same command goes on from here", err=True)
            raise click.exceptions.Exit(130) from None

    return wrapper


def _tell(message: str) -> None:
    click.echo(f"benchmarks: {message}", err=True)


def _progress(items: Iterable[Any], length: int) -> Iterable[Any]:
    """A bar with the time left, on a terminal."""
    with click.progressbar(items, length=length, label="measuring", show_pos=True, file=sys.stderr) as bar:
        yield from bar


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Where vqcodec stands beside JPEG and its successors."""


@main.command()
@_codec_options
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder of the report; measurements that are there are not made again.",
)
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Processes; default: one per core.")
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Times are medians of so many.")
@click.option("--images", type=click.IntRange(min=1), help="Only the first N pictures.")
@click.option("--points", type=click.IntRange(min=2), help="At most N qualities of each codec.")
@click.option(
    "--bpp",
    "bpp_range",
    type=(float, float),
    metavar="LOW HIGH",
    default=(0.1, 1.5),
    show_default=True,
    callback=_rising,
    help="Besides the whole overlap, give BD-rates of the points in this range of rates.",
)
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the report as a page of Markdown, its picture in a folder beside it.",
)
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
    """Rate and distortion of every codec: curves, BD-rates against JPEG, and a page to look at."""
    from benchmarks.datasets import WHY_LEFT_OUT, open_dataset
    from benchmarks.environment import cores
    from benchmarks.report import Request, choose_codecs, command_line, write_report

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
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for speed.json, speed.csv and speed.png.",
)
@click.option(
    "--sizes", default="0.1,0.4,1.5,6,24", show_default=True, callback=_numbers(float), help="Megapixels of a picture."
)
@click.option(
    "--batches", default="1,4,16", show_default=True, callback=_numbers(int), help="Pictures at once, for vqc."
)
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Times are medians of so many.")
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
    """Throughput and peak memory against size and batch, and where vqcodec's time goes."""
    from benchmarks import speed as timing
    from benchmarks.datasets import open_dataset
    from benchmarks.environment import cores, environment
    from benchmarks.plots import plot_speed
    from benchmarks.report import choose_codecs, open_codecs

    threads = threads or cores()
    ready = open_codecs(choose_codecs(codecs, weights, device, threads), _tell)
    choices = [opened.codec.choice for opened in ready.opened]
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
    """What changed from result A to result B: JSON files of reports, or in CompressAI's schema."""
    from benchmarks.compare import compare, describe
    from benchmarks.results import read_result

    change = compare(read_result(a), read_result(b))
    click.echo(json.dumps(dataclasses.asdict(change), indent=1) if as_json else describe(change))


@main.command()
@click.option("--dataset", type=_FOLDER, help="Folder of pictures to tile from; scikit-image's photographs without.")
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Medians of so many.")
@click.option("--only", default="", help="Only the ratios whose name contains this.")
@_reporting
def ratios(dataset: Path | None, runs: int, only: str) -> None:
    """Times of vqcodec against each other: previews, regions, batches, efforts, whole processes."""
    from benchmarks import ratios as timing
    from benchmarks.datasets import open_dataset

    click.echo(timing.describe(list(timing.measure(open_dataset(dataset).photos, runs, only))))


@main.command()
@click.option("--dataset", type=_FOLDER, help="Folder of pictures to tile from; scikit-image's photographs without.")
@click.option("--sizes", default="0.4,12", show_default=True, callback=_numbers(float), help="Megapixels of a picture.")
@click.option("--effort", type=click.IntRange(0, 3), default=1, show_default=True, help="Of the encoder.")
@_reporting
def scale(dataset: Path | None, sizes: tuple[float, ...], effort: int) -> None:
    """Processor time and memory of one worker of 'vqcodec batch', and what ten million pictures cost."""
    from benchmarks.datasets import open_dataset
    from benchmarks.scale import describe, measure

    costs = measure(open_dataset(dataset).photos, sizes, effort)
    click.echo(describe(list(_progress(costs, len(sizes)))))


@main.command()
@click.option("--dataset", type=_FOLDER, help="Folder of pictures; scikit-image's photographs without.")
@click.option("--images", type=click.IntRange(min=1), help="Only so many.")
@_reporting
def goals(dataset: Path | None, images: int | None) -> None:
    """How near the encoder comes to sizes, rates and PSNRs that it is told, and after how many encodes."""
    from benchmarks import goals as reaching
    from benchmarks.datasets import open_dataset
    from vqcodec import Codec

    photos = open_dataset(dataset, images).photos
    approaches = _progress(reaching.measure(Codec(device="cpu"), photos), len(photos) * len(reaching.GOALS))
    click.echo(reaching.describe(list(approaches)))
