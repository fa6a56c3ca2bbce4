"""scikit-learn's handwritten digits as class folders of pictures: data for a model that trains in minutes."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

EDGE = 32
"""Edge of the enlarged pictures, from 8x8."""
HELD_OUT = 5
"""Every fifth digit is for tests."""


def write_digits(folder: Path) -> int:
    """Write the 1,797 digits (Alpaydin & Kaynak 1998) to ``train/CLASS`` and ``test/CLASS``; return their number."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        own = folder / ("train" if number % HELD_OUT else "test") / str(label)
        own.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(np.round(pixels * (255 / 16)).astype(np.uint8))
        small.resize((EDGE, EDGE), Image.Resampling.BICUBIC).save(own / f"{number:04}.png")
    return len(digits.target)
