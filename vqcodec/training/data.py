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


def find_class_folders(folder: str | Path) -> tuple[list[Path], list[int], tuple[str, ...]]:
    """Return the picture files of a folder of class folders, the class of each, and the names of the classes.

    Raises ``FileNotFoundError`` if there are fewer than two folders, or one has no picture.
    """
    folders = sorted(p for p in Path(folder).iterdir() if p.is_dir())
    if len(folders) < 2:
        raise FileNotFoundError(f"{folder}: not a folder of class folders, one for each class")
    files = [find_photos(own) for own in folders]
    labels = [number for number, own in enumerate(files) for _ in own]
    return [file for own in files for file in own], labels, tuple(p.name for p in folders)


def load_photo(path: str | Path) -> Tensor:
    """Read a photo as RGB, (3, H, W) uint8."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def load_photos(paths: Iterable[str | Path]) -> list[Tensor]:
    """Read photos in parallel, (3, H, W) uint8 each, in order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(load_photo, paths))


class Crops:
    """Random square crops of photos (3, H, W) uint8, randomly downscaled, and with ``flip`` mirrored.

    The share ``color_jitter`` of the crops gets another saturation and another colour of light (after Howard 2013,
    arXiv:1312.5402): few photographs are as strongly tinted as those under a coloured light.

    Batch ``n`` depends on the seed and ``n`` only, so that a resumed run gets the batches of an uninterrupted one.
    Photos smaller than a crop are not used.  ``labels`` are the classes of the photos, if they have any.
    """

    def __init__(
        self,
        photos: Sequence[Tensor],
        seed: int,
        *,
        labels: Sequence[int] | None = None,
        flip: bool = True,
        color_jitter: float = 0.0,
    ):
        self.photos, self.seed, self.labels, self.flip = photos, seed, labels, flip
        self.color_jitter = color_jitter

    def batch(self, number: int, count: int, size: int) -> Tensor:
        """Return batch ``number``: (count, 3, size, size) float in [0, 1]."""
        return self.labelled(number, count, size)[0]

    def labelled(self, number: int, count: int, size: int) -> tuple[Tensor, Tensor]:
        """Return batch ``number``, and the class of each crop, (count,): -1 without labels."""
        rng = np.random.default_rng((self.seed, number))
        large = [i for i, p in enumerate(self.photos) if min(p.shape[1:]) >= size]
        if not large:
            raise ValueError(f"no photograph is {size} pixels high and wide: use smaller crops")
        crops, labels = [], []
        for _ in range(count):
            chosen = large[rng.integers(len(large))]
            crops.append(self._crop(self.photos[chosen], size, rng))
            labels.append(-1 if self.labels is None else self.labels[chosen])
        return torch.stack(crops), torch.tensor(labels)

    def _crop(self, photo: Tensor, size: int, rng: np.random.Generator) -> Tensor:
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
        if self.color_jitter and rng.random() < self.color_jitter:
            crop = _jitter_colors(crop, rng)
        return crop.flip(2) if self.flip and rng.random() < 0.5 else crop


_MOST_SATURATED = 1.6
"""Largest factor of the distance from grey."""
_LEAST_GAIN = 0.25
"""Smallest gain of a channel beside the brightest one."""


def _jitter_colors(crop: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a crop (3, H, W) with another saturation, from grey to strong, and another colour of light."""
    grey = crop.mean(0, keepdim=True)
    crop = torch.lerp(grey, crop, rng.uniform(0, _MOST_SATURATED))
    gains = rng.uniform(_LEAST_GAIN, 1, 3)
    return (crop * torch.from_numpy(gains / gains.max()).float()[:, None, None]).clamp(0, 1)


def principal_axes(rows: Tensor) -> Tensor:
    """Return the orthonormal principal axes (D, D) of uncentred ``rows`` (N, D), as rows, by decreasing variance."""
    _, vectors = torch.linalg.eigh((rows.T @ rows / len(rows)).double())
    axes: Tensor = vectors.flip(1).T.float()
    return axes.contiguous()
