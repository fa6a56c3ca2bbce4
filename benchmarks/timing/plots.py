"""Throughput and memory as a PNG file (matplotlib)."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter

from benchmarks.report.plots import plain_ticks
from benchmarks.report.style import looks
from benchmarks.timing.speed import Throughput


def plot_speed(path: Path, throughputs: Sequence[Throughput]) -> None:
    """Plot encoding and decoding rates and peak memory against the size of one picture."""
    single = [t for t in throughputs if t.batch == 1]
    codec_looks = looks(list(dict.fromkeys(t.codec for t in single)))
    panels: tuple[tuple[str, str, Callable[[Throughput], float]], ...] = (
        ("encoding, megapixels per second", "log", lambda t: t.encode_rate),
        ("decoding, megapixels per second", "log", lambda t: t.decode_rate),
        ("peak memory, MiB", "linear", lambda t: max(t.encode_peak_mib, t.decode_peak_mib)),
    )
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 4.6), layout="constrained")
    for axis, (title, scale, value) in zip(axes, panels, strict=True):
        for name, look in codec_looks.items():
            points = [(t.megapixels, value(t)) for t in single if t.codec == name]
            axis.plot(*zip(*points, strict=True), "o-", color=look.colour, linewidth=look.width, label=look.label)
        axis.set(xscale="log", xlabel="megapixels", title=title, yscale=scale)
        plain_ticks(axis.xaxis, sorted({round(t.megapixels, 1) for t in single}))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].legend(frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
