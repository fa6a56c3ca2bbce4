"""The pictures that the report shows: where a codec does best and worst against JPEG, at equal bytes.

JPEG gets at least as many bytes as the codec (the smallest of its files that is not smaller), so that what is seen is
never owed to a smaller JPEG.
"""

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.codecs import Codec, Jpeg
from benchmarks.datasets import Photo
from benchmarks.metrics import score
from benchmarks.results import Result

RATES = (0.2, 0.5)
"""Bits per pixel that the codec's mean is brought near to: where differences are plain, and where they are not."""
CROP = (960, 640)
"""Larger pictures are shown as their middle, in original pixels."""


@dataclass(frozen=True)
class View:
    """A picture as one codec gives it back."""

    caption: str
    source: str
    """A ``data:`` URL with lossless pixels."""


@dataclass(frozen=True)
class Scene:
    """One picture at one rate."""

    title: str
    width: int
    height: int
    """Of what is shown."""
    original: View
    codec: View
    jpeg: View


def choose(rates: Mapping[str, float], count: int = 2) -> list[tuple[str, str]]:
    """Pictures by rising BD-rate -> the best and the worst ``count``, each with what to say of it."""
    names = list(rates)
    best = names[:count]
    worst = [name for name in reversed(names[-count:]) if name not in best]
    return [(name, f"best for vqcodec: {rates[name]:+.0f} %") for name in best] + [
        (name, f"worst for vqcodec: {rates[name]:+.0f} %") for name in worst
    ]


def make_scenes(
    chosen: Sequence[tuple[str, str]], photos: Mapping[str, Photo], codec: Codec, label: str, jpeg: Jpeg, result: Result
) -> list[Scene]:
    """Every chosen picture at each of the :data:`RATES` that the codec has."""
    qualities = dict.fromkeys(_nearest_quality(result, rate) for rate in RATES)
    return [
        _scene(photos[name], remark, codec, label, jpeg, quality) for name, remark in chosen for quality in qualities
    ]


def _scene(photo: Photo, remark: str, codec: Codec, label: str, jpeg: Jpeg, quality: float) -> Scene:
    original = photo.load()
    data = codec.encode(original, quality)
    rival = jpeg_of_at_least(jpeg, original, len(data))
    bpp = 8 * len(data) / (original.width * original.height)
    shown = _crop(original)
    return Scene(
        f"{photo.name}, {bpp:.2f} bpp ({remark})",
        *shown.size,
        View("original", data_url(shown)),
        _view(label, codec, data, original),
        _view("JPEG", jpeg, rival, original),
    )


def jpeg_of_at_least(jpeg: Jpeg, image: Image.Image, size: int) -> bytes:
    """The smallest file of at least ``size`` bytes; the largest there is if none has them."""
    low, high = 1, 95
    while low < high:
        middle = (low + high) // 2
        if len(jpeg.encode(image, middle)) >= size:
            high = middle
        else:
            low = middle + 1
    return jpeg.encode(image, low)


def _view(label: str, codec: Codec, data: bytes, original: Image.Image) -> View:
    with tempfile.TemporaryDirectory(prefix="vqcodec-rd-") as folder:
        path = Path(folder) / f"scene{codec.suffix}"
        path.write_bytes(data)
        decoded = codec.decode(path)
    psnr = score(original, decoded).psnr_rgb
    return View(f"{label}: {len(data):,} bytes, {psnr:.2f} dB", data_url(_crop(decoded)))


def _nearest_quality(result: Result, bpp: float) -> float:
    pairs = zip(result.results["bpp"], result.results["quality"], strict=True)
    return min(pairs, key=lambda pair: abs(pair[0] - bpp))[1]


def _crop(image: Image.Image) -> Image.Image:
    width, height = (min(side, limit) for side, limit in zip(image.size, CROP, strict=True))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def data_url(image: Image.Image) -> str:
    """The picture, lossless, as text that HTML takes for an address."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
