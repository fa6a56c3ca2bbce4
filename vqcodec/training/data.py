"""A folder of photographs -> random crops for training.  Photos are decoded once and kept in memory as uint8."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm"}


def find_photos(folder: str | Path) -> list[Path]:
    """Return the picture files of a folder and its subfolders, sorted.  Raises ``FileNotFoundError`` if none."""
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder}: no photographs ({', '.join(sorted(SUFFIXES))}) in this folder")
    return files


def load_photo(path: str | Path) -> Tensor:
    """Read a photo as RGB, (3, H, W) uint8."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def load_photos(paths: Iterable[str | Path]) -> list[Tensor]:
    """Read photos in parallel, (3, H, W) uint8 each, in order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(load_photo, paths))


class Crops:
    """Random square crops of photos (3, H, W) uint8, randomly flipped and downscaled.

    Batch ``n`` depends on the seed and ``n`` only, so that a resumed run gets the batches of an uninterrupted one.
    Photos smaller than a crop are not used.
    """

    def __init__(self, photos: Sequence[Tensor], seed: int):
        self.photos, self.seed = photos, seed

    def batch(self, number: int, count: int, size: int) -> Tensor:
        """Return batch ``number``: (count, 3, size, size) float in [0, 1]."""
        rng = np.random.default_rng((self.seed, number))
        large = [p for p in self.photos if min(p.shape[1:]) >= size]
        if not large:
            raise ValueError(f"no photograph is {size} pixels high and wide: use smaller crops")
        return torch.stack([self._crop(large[rng.integers(len(large))], size, rng) for _ in range(count)])

    @staticmethod
    def _crop(photo: Tensor, size: int, rng: np.random.Generator) -> Tensor:
        _, height, width = photo.shape
        # Downscale a third of the crops by up to two, to vary the scale of the content.
        reduced = size
        if rng.random() < 1 / 3:
            reduced = min(int(size * rng.uniform(1, 2)), height, width)
        y, x = rng.integers(height - reduced + 1), rng.integers(width - reduced + 1)
        crop = photo[:, y : y + reduced, x : x + reduced].float() / 255
        if reduced != size:
            crop = F.interpolate(crop[None], (size, size), mode="bicubic", antialias=True, align_corners=False)[0]
            crop = crop.clamp(0, 1)
        return crop.flip(2) if rng.random() < 0.5 else crop


def principal_axes(rows: Tensor) -> Tensor:
    """Return the orthonormal principal axes (D, D) of uncentred ``rows`` (N, D), as rows, by decreasing variance."""
    _, vectors = torch.linalg.eigh((rows.T @ rows / len(rows)).double())
    axes: Tensor = vectors.flip(1).T.float()
    return axes.contiguous()
