"""What each effort of the encoder saves, and the time that it takes."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from benchmarks.rd.bdrate import Curve, bd_rate
from benchmarks.rd.datasets import Photo
from vqcodec import Codec, defaults, metrics


@dataclass(frozen=True)
class Point:
    """One picture at one quality and effort."""

    picture: str
    quality: float
    effort: int
    bpp: float
    psnr: float
    seconds: float
    """Processor time of encoding."""
    megapixels: float


def measure(
    codec: Codec,
    photos: Sequence[Photo],
    qualities: Sequence[float],
    crop: int,
    efforts: Sequence[int] = defaults.EFFORTS,
) -> Iterator[Point]:
    """Encode the middle of every photo, ``crop`` pixels square, as indices at every quality and effort."""
    for photo in photos:
        pixels = np.asarray(photo.load().convert("RGB"))
        top, left = (max(0, (edge - crop) // 2) for edge in pixels.shape[:2])
        pixels = np.ascontiguousarray(pixels[top : top + crop, left : left + crop])
        height, width = pixels.shape[:2]
        codec.encode(pixels[:64, :64], effort=max(efforts), lossless=False)  # the first call has set-up costs
        for quality in qualities:
            for effort in efforts:
                begin = time.process_time()
                data = codec.encode(pixels, quality, effort=effort, lossless=False)
                seconds = time.process_time() - begin
                psnr = metrics.psnr(pixels, np.asarray(codec.decode(data)))
                bpp = metrics.bits_per_pixel(len(data), width, height)
                yield Point(photo.name, quality, effort, bpp, psnr, seconds, height * width / 1e6)


@dataclass(frozen=True)
class Summary:
    """One effort against the lowest one."""

    effort: int
    bd_rate: float
    """Mean over the pictures, in percent of the bytes, at equal PSNR."""
    worst: float
    """The largest of the pictures."""
    worst_point: float | None
    """Most bits that a picture takes more at a quality than the next lower effort at the same PSNR, in percent."""
    ratio: float
    """Processor time over that of the lowest effort."""
    seconds: float
    """Processor time of a megapixel."""


def summarize(points: Sequence[Point]) -> list[Summary]:
    """Compare every effort with the lowest one, picture by picture."""
    efforts = sorted({p.effort for p in points})
    pictures = sorted({p.picture for p in points})
    curves = {
        (picture, effort): Curve.through(*zip(*((p.bpp, p.psnr) for p in own), strict=True))
        for picture in pictures
        for effort in efforts
        if (own := [p for p in points if (p.picture, p.effort) == (picture, effort)])
    }
    seconds = {e: sum(p.seconds for p in points if p.effort == e) for e in efforts}
    megapixels = sum(p.megapixels for p in points if p.effort == efforts[0])
    result = []
    for effort in efforts:
        rates = [bd_rate(curves[picture, efforts[0]], curves[picture, effort]).percent for picture in pictures]
        known = [rate for rate in rates if rate is not None]
        result.append(
            Summary(
                effort,
                bd_rate=statistics.mean(known),
                worst=max(known),
                worst_point=_worst_point(points, curves, effort, max((e for e in efforts if e < effort), default=None)),
                ratio=seconds[effort] / seconds[efforts[0]],
                seconds=seconds[effort] / megapixels,
            )
        )
    return result


def _worst_point(
    points: Sequence[Point], curves: Mapping[tuple[str, int], Curve], effort: int, lower: int | None
) -> float | None:
    if lower is None:
        return None
    found = (curves[p.picture, lower].excess(p.bpp, p.psnr) for p in points if p.effort == effort)
    return max((excess for excess in found if excess is not None), default=None)


def describe(summaries: Sequence[Summary]) -> str:
    """Format the summaries as a Markdown table."""
    rows = [
        "| effort | BD-rate, PSNR | worst picture | worst point against the effort below | processor time / effort 0 "
        "| seconds per megapixel |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for s in summaries:
        point = "-" if s.worst_point is None else f"{s.worst_point:+.1f} %"
        rates = f"{s.bd_rate:+.1f} % | {s.worst:+.1f} % | {point}"
        rows.append(f"| {s.effort} | {rates} | {s.ratio:.2f} | {s.seconds:.1f} |")
    return "\n".join(rows)


def plot(path: Path, summaries: Sequence[Summary]) -> None:
    """Plot the BD-rate of each effort against its time, as a picture file."""
    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axis.plot([s.seconds for s in summaries], [s.bd_rate for s in summaries], "o-")
    for s in summaries:
        axis.annotate(str(s.effort), (s.seconds, s.bd_rate), xytext=(5, 5), textcoords="offset points")
    axis.set(xscale="log", xlabel="seconds of processor time per megapixel", ylabel="bits at equal PSNR, percent")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
