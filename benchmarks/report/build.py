"""Measure codecs on a data set and write the folder of a report: the ``rd`` command."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.environment import environment
from benchmarks.rd.codecs import ANCHOR, Choice, Codec, Jpeg, codec_label, is_vqc, open_codecs
from benchmarks.rd.datasets import WHY_LEFT_OUT, Dataset
from benchmarks.rd.published import published_results
from benchmarks.rd.results import Result, from_measurements, write_images_csv
from benchmarks.rd.sweep import Journal, Sweep
from benchmarks.report.markdown import PICTURE, write_markdown
from benchmarks.report.page import write_page
from benchmarks.report.plots import plot_curves
from benchmarks.report.scenes import choose, make_scenes
from benchmarks.report.summary import Summary, rate, rate_images

Progress = Callable[[Iterable[object], int], Iterable[object]]
"""Function that passes on the items of an iterable of known length and shows the progress."""


@dataclass(frozen=True)
class Request:
    """Settings of a report."""

    dataset: Dataset
    choices: tuple[Choice, ...]
    out: Path
    jobs: int
    runs: int
    points: int | None
    """Largest number of qualities of each codec, evenly spread; None for all."""
    bpp_range: tuple[float, float] | None
    """Range in bpp for additional BD-rates."""
    command: str
    """Command line that makes the same report."""
    markdown: Path | None
    """Page of Markdown to write besides."""


def command_line(
    dataset: Path | None, choices: Sequence[Choice], images: int | None, points: int | None, runs: int
) -> str:
    """Return the command that repeats the measurement, with names instead of local paths."""
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
    """Make the missing measurements and write all files of the report."""
    opened = open_codecs(request.choices, tell)
    codecs = [loaded.codec for loaded in opened.loaded]
    left_out = opened.left_out | dict.fromkeys(request.dataset.left_out, WHY_LEFT_OUT)
    torch.set_num_threads(request.choices[0].threads)
    request.out.mkdir(parents=True, exist_ok=True)
    qualities = {codec.choice.name: _thin(codec.qualities, request.points) for codec in codecs}
    sweep = Sweep(codecs, request.dataset.photos, qualities, Journal(request.out / "measurements"), request.runs)
    if len(sweep.missing) < len(sweep.tasks):
        tell(f"{len(sweep.tasks) - len(sweep.missing)} of {len(sweep.tasks)} measurements exist already")
    for _ in progress(sweep.run(request.jobs), len(sweep.missing)):
        pass

    record = {**environment(), "jobs": request.jobs, "threads": request.choices[0].threads, "runs": request.runs}
    measurements = {codec.choice.name: sweep.measurements(codec.choice) for codec in codecs}
    results = {
        codec.choice.name: from_measurements(
            codec_label(codec.choice.name),
            f"{codec.description}; {codec.scale}",
            measurements[codec.choice.name],
            {**record, "load_seconds": loaded.load_seconds},
        )
        for loaded in opened.loaded
        for codec in [loaded.codec]
    }
    for codec in codecs:
        results[codec.choice.name].write(request.out / f"{codec.choice.stem}.json")
    write_images_csv(request.out / "images.csv", measurements)
    results |= published_results(request.dataset)
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


def _thin(qualities: Sequence[float], points: int | None) -> list[float]:
    """Return at most ``points`` of the qualities, evenly spread, with the first and the last."""
    if points is None or points >= len(qualities):
        return list(qualities)
    return [qualities[i] for i in np.linspace(0, len(qualities) - 1, points).round().astype(int)]


def _write_page(request: Request, codecs: Sequence[Codec], results: Mapping[str, Result], summary: Summary) -> None:
    """Write the page, with scenes and bars of the first vqc model if there is one."""
    ours = next((codec for codec in codecs if is_vqc(codec.choice.name)), None)
    jpeg = next(codec for codec in codecs if isinstance(codec, Jpeg))
    scenes, image_rates = [], {}
    if ours:
        name = ours.choice.name
        image_rates = rate_images(results[name], results[ANCHOR])
        photos = {photo.name: photo for photo in request.dataset.photos}
        scenes = make_scenes(choose(image_rates), photos, ours, codec_label(name), jpeg, results[name])
    write_page(request.out / "index.html", summary, results, scenes, image_rates)
