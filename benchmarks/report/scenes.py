"""Pictures that the page compares: those with the best and worst BD-rates against JPEG, at equal bytes.

The JPEG file is the smallest one with at least as many bytes as the codec's, so that the comparison never favours the
codec.
"""

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.rd.codecs import Codec, Jpeg
from benchmarks.rd.datasets import Photo
from benchmarks.rd.metrics import score
from benchmarks.rd.results import Result
from vqcodec import metrics

RATES = (0.2, 0.5)
"""Target mean rates in bpp: one with plain differences and one with small ones."""
CROP = (960, 640)
"""Largest width and height of a view; of larger pictures, the centre is shown at full resolution."""


@dataclass(frozen=True)
class View:
    """A picture as one codec decodes it."""

    caption: str
    source: str
    """A ``data:`` URL with lossless pixels."""


@dataclass(frozen=True)
class Scene:
    """One picture at one rate."""

    title: str
    width: int
    """Width of the views in pixels."""
    height: int
    """Height of the views in pixels."""
    original: View
    codec: View
    jpeg: View


def choose(rates: Mapping[str, float], count: int = 2) -> list[tuple[str, str]]:
    """Return the best and the worst ``count`` pictures, each with a remark; ``rates`` are BD-rates, sorted."""
    names = list(rates)
    best = names[:count]
    worst = [name for name in reversed(names[-count:]) if name not in best]
    return [(name, f"best for vqcodec: {rates[name]:+.0f} %") for name in best] + [
        (name, f"worst for vqcodec: {rates[name]:+.0f} %") for name in worst
    ]


def make_scenes(
    chosen: Sequence[tuple[str, str]], photos: Mapping[str, Photo], codec: Codec, label: str, jpeg: Jpeg, result: Result
) -> list[Scene]:
    """Make a scene of every chosen picture at the qualities nearest to the :data:`RATES`."""
    qualities = dict.fromkeys(_nearest_quality(result, rate) for rate in RATES)
    return [
        _scene(photos[name], remark, codec, label, jpeg, quality) for name, remark in chosen for quality in qualities
    ]


def _scene(photo: Photo, remark: str, codec: Codec, label: str, jpeg: Jpeg, quality: float) -> Scene:
    original = photo.load()
    data = codec.encode(original, quality)
    rival = jpeg.encode_at_least(original, len(data))
    bpp = metrics.bits_per_pixel(len(data), *original.size)
    shown = crop_centre(original)
    return Scene(
        f"{photo.name}, {bpp:.2f} bpp ({remark})",
        *shown.size,
        View("original", data_url(shown)),
        _view(label, codec, data, original),
        _view(jpeg.label, jpeg, rival, original),
    )


def _view(label: str, codec: Codec, data: bytes, original: Image.Image) -> View:
    with tempfile.TemporaryDirectory(prefix="vqcodec-rd-") as folder:
        path = Path(folder) / f"scene{codec.suffix}"
        path.write_bytes(data)
        decoded = codec.decode(path)
    psnr = score(original, decoded).psnr_rgb
    return View(f"{label}: {len(data):,} bytes, {psnr:.2f} dB", data_url(crop_centre(decoded)))


def _nearest_quality(result: Result, bpp: float) -> float:
    pairs = zip(result.results["bpp"], result.results["quality"], strict=True)
    return min(pairs, key=lambda pair: abs(pair[0] - bpp))[1]


def crop_centre(image: Image.Image) -> Image.Image:
    """Return the part of a picture that is shown: the centre, of at most :data:`CROP`."""
    width, height = (min(side, limit) for side, limit in zip(image.size, CROP, strict=True))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def data_url(image: Image.Image) -> str:
    """Return the picture, lossless, as a ``data:`` URL."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
