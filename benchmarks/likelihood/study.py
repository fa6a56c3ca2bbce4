"""The ``likelihood`` command: bounds of all pictures at all qualities; ``likelihood.json`` and a page."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from benchmarks.likelihood.bound import LEAST_VARIANCE, Coded, code, lossless_bits, pixel_bits
from benchmarks.rd.datasets import Dataset
from benchmarks.report.build import Progress
from benchmarks.report.sections import Section, lines, table, write_page
from vqcodec import Codec

_FORMATS = {"PNG": "PNG", "WebP lossless": "WEBP"}


@dataclass(frozen=True)
class Study:
    """Settings of a study."""

    dataset: Dataset
    codec: Codec
    qualities: tuple[float, ...]
    out: Path


def run(study: Study, progress: Progress) -> dict[str, Any]:
    """Measure, write the report and return its numbers."""
    photos, qualities = study.dataset.photos, study.qualities
    dimensions: list[int] = []
    lossless: dict[str, list[int]] = {name: [] for name in _FORMATS}
    coded: list[list[Coded]] = []

    def measure() -> Iterator[None]:
        for photo in photos:
            image = photo.load()
            dimensions.append(3 * image.width * image.height)
            for name, format in _FORMATS.items():
                lossless[name].append(lossless_bits(image, format))
            own: list[Coded] = []
            coded.append(own)
            for quality in qualities:
                own.append(code(study.codec, image, quality))
                yield

    for _ in progress(measure(), len(photos) * len(qualities)):
        pass
    total = sum(dimensions)
    points, per_picture = [], []
    for i, quality in enumerate(qualities):
        every = [own[i] for own in coded]
        variance = max(LEAST_VARIANCE, sum(one.squared_error for one in every) / total)
        pixels = [pixel_bits(one.counts, variance) for one in every]
        points.append(
            {
                "quality": quality,
                "sigma": math.sqrt(variance),
                "indices": sum(one.index_bits for one in every) / total,
                "pixels": sum(pixels) / total,
                "bound": (sum(one.index_bits for one in every) + sum(pixels)) / total,
            }
        )
        per_picture.append(
            [(one.index_bits + bits) / size for one, bits, size in zip(every, pixels, dimensions, strict=True)]
        )
    record: dict[str, Any] = {
        "dataset": study.dataset.name,
        "model": study.codec.model.id,
        "environment": environment(),
        "points": points,
        "lossless": {name: sum(bits) / total for name, bits in lossless.items()},
        "pictures": [
            {
                "name": photo.name,
                "bound": {str(quality): values[number] for quality, values in zip(qualities, per_picture, strict=True)},
                **{name: bits[number] / dimensions[number] for name, bits in lossless.items()},
            }
            for number, photo in enumerate(photos)
        ],
    }
    study.out.mkdir(parents=True, exist_ok=True)
    (study.out / "likelihood.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _write_page(study.out / "index.html", record)
    return record


def describe(record: dict[str, Any], write: Callable[[str], None]) -> None:
    """Write the numbers of the whole set, a line each."""
    for point in record["points"]:
        write(
            f"quality {point['quality']:5.1f}  indices {point['indices']:.3f} + pixels {point['pixels']:.3f} "
            f"= {point['bound']:.3f} bits per dimension, sigma {point['sigma']:.2f}"
        )
    for name, bits in record["lossless"].items():
        write(f"{name:14} {bits:.3f} bits per dimension")


def _write_page(path: Path, record: dict[str, Any]) -> None:
    points: Sequence[dict[str, float]] = record["points"]
    qualities = [str(point["quality"]) for point in points]
    curves = {
        name: [(point["quality"], point[key]) for point in points]
        for name, key in (("bound", "bound"), ("indices", "indices"), ("pixels given the indices", "pixels"))
    }
    ends = (points[0]["quality"], points[-1]["quality"])
    curves |= {name: [(x, bits) for x in ends] for name, bits in record["lossless"].items()}
    rows = [
        [picture["name"], *(picture["bound"][q] for q in qualities), *(picture[name] for name in record["lossless"])]
        for picture in record["pictures"]
    ]
    write_page(
        path,
        f"Likelihood of {record['dataset']}",
        f"{len(record['pictures'])} pictures, model {record['model']}. {record['environment']['date']}",
        [
            Section(
                "Bits per dimension",
                "An upper bound of -log2 p(x) / (3 H W): lower is better. Bits of the indices are exact, by the prior. "
                "Bits of the pixels are those of a Gaussian around the decoded picture, integrated over each of the "
                "256 levels; its variance is the mean squared error over all pictures at that quality, one number for "
                "the whole set.",
                figure=lines("quality", "bits per dimension", curves),
            ),
            Section(
                "All pictures",
                "The bound at each quality, and lossless files by Pillow at their strongest.",
                table(["Picture", *(f"quality {q}" for q in qualities), *record["lossless"]], rows),
            ),
        ],
    )
