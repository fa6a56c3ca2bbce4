"""Many pictures on one sheet."""

import math
from collections.abc import Sequence

from PIL import Image

GAP = 2
"""Pixels between two pictures."""


def contact_sheet(images: Sequence[Image.Image], columns: int | None = None) -> Image.Image:
    """Place pictures row by row on one white picture; by default about as many columns as rows."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    width, height = (max(image.size[axis] for image in images) + GAP for axis in (0, 1))
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (min(columns, len(images)) * width - GAP, rows * height - GAP), "white")
    for i, image in enumerate(images):
        sheet.paste(image.convert("RGB"), (i % columns * width, i // columns * height))
    return sheet
