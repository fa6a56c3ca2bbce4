"""Results of one codec: JSON in CompressAI's schema, mean curves, and a table of all pictures.

CompressAI (Begaint et al. 2020) publishes curves as ``{"name", "description", "results": {metric: [...]}}``: means over
the pictures of a set, sorted by quality.  Its plot tool reads these files, and :func:`read_result` reads its files.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.errors import InvalidResult
from benchmarks.rd.bdrate import Curve
from benchmarks.rd.measure import Measurement
from benchmarks.rd.metrics import similarity_db

Direction = Literal["encoding", "decoding"]
DIRECTIONS: tuple[Direction, ...] = ("encoding", "decoding")
Series = dict[str, list[float]]
"""Values of each metric, one for each quality."""


@dataclass(frozen=True)
class Metric:
    """A metric in the JSON file that has curves."""

    key: str
    title: str
    in_db: bool
    """True if the values are in dB; otherwise they are linear, and 1 means identical pictures."""


PSNR = Metric("psnr-rgb", "PSNR (RGB)", True)
PSNR_Y = Metric("psnr-y", "PSNR (luma)", True)
MS_SSIM = Metric("ms-ssim-rgb", "MS-SSIM (RGB)", False)
SSIM = Metric("ssim-rgb", "SSIM (RGB)", False)
METRICS = (PSNR, MS_SSIM, PSNR_Y, SSIM)


@dataclass(frozen=True)
class Result:
    """One codec on one set of pictures."""

    name: str
    description: str
    results: Series
    """Means over the pictures; ``quality`` has the codec's own scale, times are in seconds."""
    per_image: Mapping[str, Series] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    """Address of a published curve; empty if the codec was measured here."""

    @property
    def label(self) -> str:
        """Name in plots and tables."""
        return f"{self.name} (published)" if self.source else self.name

    def curve(self, metric: Metric) -> Curve | None:
        """Return the mean curve in dB; None if the metric was not measured."""
        return _curve(self.results, metric)

    def image_curve(self, image: str, metric: Metric) -> Curve | None:
        """Return the curve of one picture in dB; None if the metric was not measured."""
        return _curve(self.per_image[image], metric)

    def values_db(self, metric: Metric) -> list[float]:
        """Return the mean scores in dB, one for each quality."""
        return _in_db(self.results, metric)

    def median_time(self, direction: Direction) -> float:
        """Return the seconds per picture: the median over the qualities (the upper one of an even number)."""
        values = sorted(self.results[f"{direction}_time"])
        return values[len(values) // 2]

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def measured(results: Mapping[str, Result]) -> dict[str, Result]:
    """Return the results without the published ones."""
    return {name: result for name, result in results.items() if not result.source}


def common_metrics(results: Mapping[str, Result], metrics: Sequence[Metric] = METRICS) -> list[Metric]:
    """Return the metrics that all measured codecs have."""
    return [m for m in metrics if all(m.key in result.results for result in measured(results).values())]


def from_measurements(
    name: str, description: str, measurements: Sequence[Measurement], environment: Mapping[str, Any]
) -> Result:
    """Average the measurements of a codec; every picture must have the same qualities."""
    images: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        images.setdefault(measurement.image, []).append(measurement)
    per_image = {image: _series(points) for image, points in images.items()}
    # A metric has no mean if some picture is too small for it.
    common = set.intersection(*(set(series) for series in per_image.values()))
    first = next(iter(per_image.values()))
    means = {key: np.mean([series[key] for series in per_image.values()], 0).tolist() for key in first if key in common}
    return Result(name, description, means, per_image, environment)


def read_result(path: Path) -> Result:
    """Read a JSON file of these benchmarks or of CompressAI; raises :class:`InvalidResult`."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        results = {key: [float(value) for value in values] for key, values in record["results"].items()}
        lengths = {len(values) for values in results.values()}
        if "bpp" not in results or len(lengths) != 1:
            raise ValueError("'bpp' is missing, or the series differ in length")
        return Result(
            record.get("name", path.stem),
            record.get("description", ""),
            results,
            record.get("per_image", {}),
            record.get("environment", {}),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidResult(f"{path}: not a result in CompressAI's schema ({error})") from error


def write_images_csv(path: Path, measurements: Mapping[str, Sequence[Measurement]]) -> None:
    """Write a table with a row for each codec, picture and quality."""
    columns = ["codec", "image", "width", "height", "quality", "bytes", "bpp"]
    columns += ["psnr_rgb", "psnr_y", "ssim_rgb", "ms_ssim_rgb", "encode_seconds", "decode_seconds"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for codec, points in measurements.items():
            for point in points:
                record = point.to_json()
                scores = record.pop("scores")
                writer.writerow({"codec": codec, "bpp": f"{point.bpp:.6f}", **record, **scores})


def _series(points: Sequence[Measurement]) -> Series:
    series = {
        "quality": [p.quality for p in points],
        "bpp": [p.bpp for p in points],
        "psnr-rgb": [p.scores.psnr_rgb for p in points],
        "psnr-y": [p.scores.psnr_y for p in points],
        "ssim-rgb": [p.scores.ssim_rgb for p in points],
        "encoding_time": [p.encode_seconds for p in points],
        "decoding_time": [p.decode_seconds for p in points],
    }
    ms_ssim = [p.scores.ms_ssim_rgb for p in points if p.scores.ms_ssim_rgb is not None]
    return series | ({"ms-ssim-rgb": ms_ssim} if len(ms_ssim) == len(points) else {})


def _curve(series: Mapping[str, Sequence[float]], metric: Metric) -> Curve | None:
    return Curve.through(series["bpp"], _in_db(series, metric)) if metric.key in series else None


def _in_db(series: Mapping[str, Sequence[float]], metric: Metric) -> list[float]:
    values = series[metric.key]
    return list(values) if metric.in_db else [similarity_db(value) for value in values]
