"""Rate-distortion curves as a PNG file (matplotlib)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display is needed

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.rd.results import MS_SSIM, PSNR, Metric, Result, common_metrics
from benchmarks.report.style import Look, curve_looks

RATE_TICKS = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 2.5)
SHOWN_BPP = (0.09, 2.7)
"""Range of the rate axis in bpp; outside it, photographs are ruined or hardly compressed."""


def plot_curves(path: Path, results: Mapping[str, Result], title: str) -> None:
    """Plot PSNR and MS-SSIM against rate, side by side, with a label at the end of each line."""
    codec_looks = curve_looks(results)
    metrics = common_metrics(results, (PSNR, MS_SSIM))
    figure, axes = pyplot.subplots(1, len(metrics), figsize=(7 * len(metrics), 6), squeeze=False, layout="constrained")
    for axis, metric in zip(axes[0], metrics, strict=True):
        for name, result in results.items():
            if metric.key in result.results:
                _draw(axis, result, metric, codec_looks[name])
        _set_up(axis, metric)
        _label_lines(axis)
    figure.suptitle(title, fontsize=14)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _draw(axis: Axes, result: Result, metric: Metric, look: Look) -> None:
    axis.plot(
        result.results["bpp"],
        result.values_db(metric),
        label=look.label,
        color=look.colour,
        linewidth=look.width,
        linestyle="--" if look.dashed else "-",
        marker="o",
        markersize=3.5,
        zorder=look.width,
    )


def _set_up(axis: Axes, metric: Metric) -> None:
    """Set up the axes: a logarithmic axis of rates, and limits that show all points."""
    axis.set_xscale("log")
    axis.set_xlim(*SHOWN_BPP)
    plain_ticks(axis.xaxis, RATE_TICKS)
    axis.set_xlabel("bits per pixel")
    axis.set_ylabel(f"{metric.title}, dB")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    lines = [_points(line) for line in axis.lines]
    shown = [y for points in lines for x, y in points if SHOWN_BPP[0] <= x <= SHOWN_BPP[1]]
    shown += [_end(points)[1] for points in lines]
    margin = 0.03 * (max(shown) - min(shown)) + 0.1
    axis.set_ylim(min(shown) - margin, max(shown) + margin)


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Set the ticks of a logarithmic axis, without exponents."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _label_lines(axis: Axes) -> None:
    """Write each label at the height where its line ends or leaves the axes; move labels apart that would overlap."""
    low, high = axis.get_ylim()
    ends = sorted(((_end(_points(line)), line) for line in axis.lines), key=lambda end: end[0][1])
    gap, floor = (high - low) * 0.037, -math.inf
    top = high - gap * len(ends)
    for rank, ((x, y), line) in enumerate(ends):
        place = max(min(y, top + gap * (rank + 1)), floor)
        floor = place + gap
        axis.annotate(
            str(line.get_label()),
            xy=(x, y),
            xytext=(SHOWN_BPP[1] * 1.04, place),
            color=line.get_color(),
            va="center",
            annotation_clip=False,
            fontweight="bold" if line.get_linewidth() > 2 else "normal",
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "alpha": 0.35, "linewidth": 0.8},
        )


def _end(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the point where a line ends, or leaves the axes at the highest rate."""
    x, y = zip(*sorted(points), strict=True)
    edge = min(x[-1], SHOWN_BPP[1])
    return edge, float(np.interp(math.log(edge), np.log(x), y))


def _points(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]
