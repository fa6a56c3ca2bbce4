"""A data set and codecs -> the folder of a report; what the ``rd`` command does once its arguments are read."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.codecs import ANCHOR, VQC, Choice, Codec, Jpeg, Opened, codec_class, is_vqc, open_codec
from benchmarks.datasets import WHY_LEFT_OUT, Dataset
from benchmarks.environment import environment
from benchmarks.errors import CodecUnavailable
from benchmarks.markdown import PICTURE, write_markdown
from benchmarks.page import write_page
from benchmarks.plots import plot_curves
from benchmarks.results import Result, from_measurements, write_images_csv
from benchmarks.scenes import choose, make_scenes
from benchmarks.style import label
from benchmarks.summary import Summary, rate, rate_images
from benchmarks.sweep import Journal, Sweep

Progress = Callable[[Iterable[object], int], Iterable[object]]
"""Passes on the items of an iterable of known length and tells the user."""


@dataclass(frozen=True)
class Request:
    """What to measure and where to write."""

    dataset: Dataset
    choices: tuple[Choice, ...]
    out: Path
    jobs: int
    runs: int
    points: int | None
    """At most so many qualities of each codec, evenly spread; None: all."""
    bpp_range: tuple[float, float] | None
    """BD-rates are given for these rates, too."""
    command: str
    markdown: Path | None


def choose_codecs(names: Sequence[str], weights: Sequence[Path], device: str, threads: int) -> tuple[Choice, ...]:
    """The codecs of these names and weights files, models first; JPEG is always among them: it is the anchor.

    Raises :class:`~benchmarks.errors.UnknownCodec`.
    """
    for name in names:
        codec_class(name)
    models = [Choice(name, None, device, threads) for name in names if is_vqc(name)]
    models += [Choice(f"{VQC}:{path.stem}", path.resolve(), device, threads) for path in weights]
    others = [Choice(name, None, device, threads) for name in names if not is_vqc(name)]
    if all(choice.name != ANCHOR for choice in others):
        others.insert(0, Choice(ANCHOR, None, device, threads))
    return tuple({choice.name: choice for choice in models + others}.values())


def command_line(
    dataset: Path | None, choices: Sequence[Choice], images: int | None, points: int | None, runs: int
) -> str:
    """The command that measures the same again, with names in place of the paths of this machine."""
    words = ["bin/rd-report"]
    if dataset is not None:
        words += ["--dataset", dataset.resolve().name]
    words += ["--codecs", ",".join(choice.name for choice in choices if choice.weights is None)]
    for choice in choices:
        words += ["--model-path", choice.weights.name] if choice.weights else []
    for flag, value in (("--images", images), ("--points", points)):
        words += [flag, str(value)] if value else []
    words += ["--runs", str(runs)] if runs > 1 else []
    return shlex.join(words)


def write_report(request: Request, tell: Callable[[str], None], progress: Progress) -> Summary:
    """Measure what is not measured yet and write every file of the report."""
    ready = open_codecs(request.choices, tell)
    codecs = [opened.codec for opened in ready.opened]
    left_out = ready.left_out | dict.fromkeys(request.dataset.left_out, WHY_LEFT_OUT)
    torch.set_num_threads(request.choices[0].threads)
    request.out.mkdir(parents=True, exist_ok=True)
    qualities = {codec.choice.name: _thin(codec.qualities, request.points) for codec in codecs}
    sweep = Sweep(codecs, request.dataset.photos, qualities, Journal(request.out / "measurements"), request.runs)
    if len(sweep.open) < len(sweep.tasks):
        tell(f"{len(sweep.tasks) - len(sweep.open)} of {len(sweep.tasks)} measurements are there already")
    for _ in progress(sweep.run(request.jobs), len(sweep.open)):
        pass

    record = {**environment(), "jobs": request.jobs, "threads": request.choices[0].threads, "runs": request.runs}
    measurements = {codec.choice.name: sweep.measurements(codec.choice) for codec in codecs}
    results = {
        codec.choice.name: from_measurements(
            label(codec.choice.name),
            f"{codec.description}; {codec.scale}",
            measurements[codec.choice.name],
            {**record, "load_seconds": opened.load_seconds},
        )
        for opened in ready.opened
        for codec in [opened.codec]
    }
    for codec in codecs:
        results[codec.choice.name].write(request.out / f"{codec.choice.stem}.json")
    write_images_csv(request.out / "images.csv", measurements)
    ratings = rate(results, ANCHOR, request.bpp_range)
    summary = Summary(
        request.dataset.name, len(request.dataset.photos), request.command, ANCHOR, ratings, left_out, record
    )
    summary.write(request.out / "summary.json")
    title = f"{summary.dataset}, {summary.images} picture{'s' if summary.images > 1 else ''}"
    plot_curves(request.out / PICTURE, results, title)
    _write_page(request, codecs, results, summary)
    if request.markdown:
        write_markdown(request.markdown, summary, results, request.out / PICTURE)
    return summary


@dataclass(frozen=True)
class Ready:
    """The codecs that are installed, and why the others are not."""

    opened: tuple[Opened, ...]
    left_out: dict[str, str]


def open_codecs(choices: Iterable[Choice], tell: Callable[[str], None]) -> Ready:
    """Load every codec that is installed; ``tell`` names the others."""
    opened, left_out = [], {}
    for choice in choices:
        try:
            opened.append(open_codec(choice))
        except CodecUnavailable as error:
            left_out[choice.name] = str(error)
            tell(f"{choice.name} is left out: {error}")
    return Ready(tuple(opened), left_out)


def _thin(qualities: Sequence[float], points: int | None) -> list[float]:
    """At most ``points`` of the qualities, the first and the last among them."""
    if points is None or points >= len(qualities):
        return list(qualities)
    return [qualities[i] for i in np.linspace(0, len(qualities) - 1, points).round().astype(int)]


def _write_page(request: Request, codecs: Sequence[Codec], results: Mapping[str, Result], summary: Summary) -> None:
    """With scenes and bars of the first vqc model, if there is one."""
    ours = next((codec for codec in codecs if is_vqc(codec.choice.name)), None)
    jpeg = next(codec for codec in codecs if isinstance(codec, Jpeg))
    scenes, image_rates = [], {}
    if ours:
        name = ours.choice.name
        image_rates = rate_images(results[name], results[ANCHOR])
        photos = {photo.name: photo for photo in request.dataset.photos}
        scenes = make_scenes(choose(image_rates), photos, ours, label(name), jpeg, results[name])
    write_page(request.out / "index.html", summary, results, scenes, image_rates)
