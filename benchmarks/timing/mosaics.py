"""Pictures of any size, tiled from photographs at their own resolution.

Larger pictures thus have more content, not smoother content.
"""

import math
from collections.abc import Sequence

from PIL import Image

from benchmarks.rd.datasets import Photo

_ASPECT = 1.5


def make_mosaic(photos: Sequence[Photo], megapixels: float) -> Image.Image:
    """Return a picture of ``megapixels``, with aspect ratio 3:2, tiled with the photos in turn."""
    width = round(math.sqrt(megapixels * 1e6 * _ASPECT))
    height = round(width / _ASPECT)
    images = [photo.load() for photo in photos]
    cell_width, cell_height = (min(sides) for sides in zip(*(image.size for image in images), strict=True))
    picture = Image.new("RGB", (width, height))
    columns, rows = math.ceil(width / cell_width), math.ceil(height / cell_height)
    for number in range(columns * rows):
        row, column = divmod(number, columns)
        picture.paste(
            images[number % len(images)].crop((0, 0, cell_width, cell_height)), (column * cell_width, row * cell_height)
        )
    return picture
