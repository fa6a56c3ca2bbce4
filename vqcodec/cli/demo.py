"""A sample photograph through the codec, beside JPEG at the same size: what the first minutes should show.

The photograph comes with scikit-image: NASA's portrait of Eileen Collins, in the public domain.
"""

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from vqcodec import files, metrics
from vqcodec.images import formats

STREAM, COMPARISON = "out.vqc", "demo.png"
"""The names of the two files that :func:`run` writes."""

_CAPTION = 36
_GAP = 8


class _Codec(Protocol):
    def encode(self, image: Image.Image) -> bytes: ...
    def decode(self, data: bytes) -> Image.Image: ...


@dataclass(frozen=True)
class Version:
    """The photograph as one codec gave it back."""

    name: str
    image: Image.Image
    bytes: int
    bpp: float
    psnr: float

    @property
    def caption(self) -> str:
        """Name and figures in one line."""
        return f"{self.name}: {self.bytes} bytes, {self.bpp:.3f} bpp, {self.psnr:.2f} dB"


@dataclass(frozen=True)
class Demo:
    """What was measured."""

    vqcodec: Version
    jpeg: Version
    encode_seconds: float
    decode_seconds: float


def run(codec: _Codec, folder: Path) -> Demo:
    """Encode and decode at the default quality; write the stream and the comparison into ``folder``."""
    photo = Image.fromarray(skimage.data.astronaut())
    start = time.perf_counter()
    data = codec.encode(photo)
    encoded = time.perf_counter()
    decoded = codec.decode(data)
    end = time.perf_counter()
    ours = _version("vqcodec", photo, data, decoded)
    rival = jpeg_within(photo, len(data))
    jpeg = _version("JPEG", photo, rival, Image.open(io.BytesIO(rival)))
    files.write_atomically(folder / STREAM, data)
    comparison = _side_by_side({"original": photo, ours.caption: ours.image, jpeg.caption: jpeg.image})
    formats.save_image_atomically(comparison, folder / COMPARISON, "PNG")
    return Demo(ours, jpeg, encoded - start, end - encoded)


def jpeg_within(image: Image.Image, size: int) -> bytes:
    """The best JPEG of at most ``size`` bytes, or the smallest there is."""
    for quality in range(95, 0, -1):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if len(buffer.getvalue()) <= size:
            break
    return buffer.getvalue()


def _version(name: str, photo: Image.Image, data: bytes, image: Image.Image) -> Version:
    psnr = metrics.psnr(np.asarray(photo), np.asarray(image))
    return Version(name, image, len(data), metrics.bits_per_pixel(len(data), *photo.size), psnr)


def _side_by_side(panels: dict[str, Image.Image]) -> Image.Image:
    """Pictures of one size in a row, each under its caption."""
    width, height = next(iter(panels.values())).size
    sheet = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, _CAPTION + height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_CAPTION // 2)
    for i, (caption, image) in enumerate(panels.items()):
        left = i * (width + _GAP)
        draw.text((left + width // 2, _CAPTION // 2), caption, fill="black", font=font, anchor="mm")
        sheet.paste(image, (left, _CAPTION))
    return sheet
