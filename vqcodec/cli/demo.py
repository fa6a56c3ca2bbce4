"""Compare vqcodec with JPEG at the same size on a sample photograph.

The photograph is part of scikit-image: NASA's portrait of Eileen Collins, in the public domain.
"""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from vqcodec import files, metrics
from vqcodec.images import formats

if TYPE_CHECKING:  # imports torch
    from vqcodec.codec.codec import Codec

STREAM, COMPARISON = "out.vqc", "demo.png"
"""Names of the two files that :func:`run` writes."""

_QUALITY = 25
"""Low enough to see the difference."""
_CAPTION = 36
"""Height of a caption in pixels."""
_GAP = 8
"""Pixels between two pictures."""


@dataclass(frozen=True)
class CodedPhoto:
    """The photograph, encoded and decoded by one codec."""

    name: str
    """Name of the codec."""
    image: Image.Image
    bytes: int
    bpp: float
    psnr: float
    """PSNR in dB."""

    @property
    def caption(self) -> str:
        """Name, size, rate and PSNR in one line."""
        return f"{self.name}: {self.bytes} bytes, {self.bpp:.3f} bpp, {self.psnr:.2f} dB"


@dataclass(frozen=True)
class Comparison:
    """Results of both codecs, and the times of vqcodec."""

    vqcodec: CodedPhoto
    jpeg: CodedPhoto
    encode_seconds: float
    decode_seconds: float


def run(codec: "Codec", folder: Path) -> Comparison:
    """Encode and decode the photograph at a low quality; write the stream and the comparison to ``folder``."""
    load_photo: Callable[[], npt.NDArray[np.uint8]] = skimage.data.astronaut  # has no annotations of its own
    photo = Image.fromarray(load_photo())
    start = time.perf_counter()
    data = codec.encode(photo, quality=_QUALITY)
    encoded = time.perf_counter()
    decoded = codec.decode(data)
    end = time.perf_counter()
    ours = _measure("vqcodec", photo, data, decoded)
    jpeg_data = jpeg_within(photo, len(data))
    jpeg = _measure("JPEG", photo, jpeg_data, Image.open(io.BytesIO(jpeg_data)))
    files.write_atomically(folder / STREAM, data)
    comparison = _side_by_side({"original": photo, ours.caption: ours.image, jpeg.caption: jpeg.image})
    formats.save_image_atomically(comparison, folder / COMPARISON, "PNG")
    return Comparison(ours, jpeg, encoded - start, end - encoded)


def jpeg_within(image: Image.Image, size: int) -> bytes:
    """Return the best JPEG of at most ``size`` bytes, or the smallest possible JPEG if none fits."""
    for quality in range(95, 0, -1):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if len(buffer.getvalue()) <= size:
            break
    return buffer.getvalue()


def _measure(name: str, photo: Image.Image, data: bytes, image: Image.Image) -> CodedPhoto:
    psnr = metrics.psnr(np.asarray(photo), np.asarray(image))
    return CodedPhoto(name, image, len(data), metrics.bits_per_pixel(len(data), *photo.size), psnr)


def _side_by_side(panels: dict[str, Image.Image]) -> Image.Image:
    """Place pictures of equal size in a row, each under its caption."""
    width, height = next(iter(panels.values())).size
    sheet = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, _CAPTION + height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_CAPTION // 2)
    for i, (caption, image) in enumerate(panels.items()):
        left = i * (width + _GAP)
        draw.text((left + width // 2, _CAPTION // 2), caption, fill="black", font=font, anchor="mm")
        sheet.paste(image, (left, _CAPTION))
    return sheet
