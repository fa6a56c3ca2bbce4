"""What the members train on: crops of photographs, scikit-learn's digits, rotated digits."""

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from benchmarks.bottlenecks.protocol import Shape
from benchmarks.errors import NoPictures
from benchmarks.rd.datasets import open_dataset
from vqcodec.training.data import Crops

CROP = 64
"""Edge of a crop in pixels."""
HELD_OUT = 5
"""Every fifth picture is for evaluation only."""
TURN = math.radians(60)
"""Rotated digits are turned by up to this much in either direction."""
VIEWS = 8
"""Rotations of each held-out digit, evenly spread."""
_SHOWN = 96
"""Held-out crops, or rotated digits."""

PHOTOGRAPHS = Shape(channels=3, side=CROP, stride=8, width=32, groups=4, dim=8, size=256, sigma=0.05, batch=8)
DIGITS = Shape(channels=1, side=8, stride=4, width=32, groups=4, dim=4, size=32, sigma=0.1, batch=64)
ROTATED = Shape(channels=1, side=16, stride=16, width=32, groups=4, dim=4, size=32, sigma=0.1, batch=64)


class Source(Protocol):
    """Training batches and held-out pictures, samples in [0, 1]."""

    @property
    def name(self) -> str:
        """Name for the report."""

    @property
    def shape(self) -> Shape:
        """Sizes of pictures and of the members' networks."""

    @property
    def held_out(self) -> Tensor:
        """Pictures (N, C, S, S) that no batch contains."""

    @property
    def digest(self) -> str:
        """Hash of the data."""

    def batch(self, number: int, count: int) -> Tensor:
        """Return batch ``number``: (count, C, S, S), the same whenever it is asked for."""


@dataclass(frozen=True)
class Photographs:
    """Random crops of photographs; those of every fifth photograph are held out."""

    name: str
    crops: Crops
    held_out: Tensor
    digest: str
    shape: Shape = PHOTOGRAPHS
    left_out: tuple[str, ...] = ()
    """Files that cannot be read or are too small."""

    def batch(self, number: int, count: int) -> Tensor:
        """Return batch ``number``: (count, 3, 64, 64)."""
        return self.crops.batch(number, count, CROP)


def open_photographs(folder: Path, seed: int) -> Photographs:
    """Read the photographs in and below ``folder``.  Raises :class:`NoPictures` if fewer than 2 can be used."""
    dataset = open_dataset(folder)
    digest = hashlib.sha256()
    photos, small = [], []
    for photo in dataset.photos:
        pixels = torch.from_numpy(np.asarray(photo.load()).copy()).permute(2, 0, 1).contiguous()
        if min(pixels.shape[1:]) < CROP:
            small.append(photo.name)
            continue
        photos.append(pixels)
        digest.update(photo.digest().encode())
    if len(photos) < 2:
        raise NoPictures(f"{folder}: fewer than 2 photographs of at least {CROP}x{CROP} pixels")
    train = [photo for i, photo in enumerate(photos) if i % HELD_OUT]
    held_out = Crops(photos[::HELD_OUT], seed).batch(0, _SHOWN, CROP)
    left_out = (*dataset.left_out, *small)
    return Photographs(dataset.name, Crops(train, seed), held_out, digest.hexdigest(), left_out=left_out)


def _digits() -> tuple[Tensor, Tensor]:
    """Return the digits for training and those held out, (N, 1, 8, 8) each."""
    pictures = torch.from_numpy(load_digits().images).float()[:, None] / 16
    held = torch.arange(len(pictures)) % HELD_OUT == 0
    return pictures[~held], pictures[held]


def _digest(pictures: Tensor) -> str:
    return hashlib.sha256(pictures.numpy().tobytes()).hexdigest()


@dataclass(frozen=True)
class Digits:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels (Alpaydin & Kaynak 1998)."""

    seed: int
    name: str = "scikit-learn's digits"
    shape: Shape = DIGITS
    pictures: tuple[Tensor, Tensor] = field(default_factory=_digits, repr=False)

    @property
    def held_out(self) -> Tensor:
        """Every fifth digit, (N, 1, 8, 8)."""
        return self.pictures[1]

    @property
    def digest(self) -> str:
        """Hash of the digits for training."""
        return _digest(self.pictures[0])

    def batch(self, number: int, count: int) -> Tensor:
        """Return batch ``number``: (count, 1, 8, 8)."""
        rng = np.random.default_rng((self.seed, number))
        return self.pictures[0][rng.integers(len(self.pictures[0]), size=count)]


def rotate(pictures: Tensor, angles: Tensor) -> Tensor:
    """Return digits (N, 1, 8, 8) turned by ``angles`` (N,), in radians, in frames of 16x16 that hold all corners."""
    zoom = math.sqrt(2)
    cos, sin = zoom * torch.cos(angles), zoom * torch.sin(angles)
    zero = torch.zeros_like(cos)
    matrices = torch.stack([torch.stack([cos, sin, zero], 1), torch.stack([-sin, cos, zero], 1)], 1)
    grid = F.affine_grid(matrices, [len(pictures), 1, ROTATED.side, ROTATED.side], align_corners=False)
    return F.grid_sample(pictures, grid, align_corners=False)


@dataclass(frozen=True)
class RotatedDigits:
    """The digits, each time turned by another angle of up to 60 degrees."""

    seed: int
    name: str = "rotated digits"
    shape: Shape = ROTATED
    pictures: tuple[Tensor, Tensor] = field(default_factory=_digits, repr=False)

    @property
    def held_out(self) -> Tensor:
        """Held-out digits at :data:`VIEWS` angles each, (N * VIEWS, 1, 16, 16), the views of a digit together."""
        digits = self.pictures[1][:_SHOWN].repeat_interleave(VIEWS, 0)
        angles = torch.linspace(-TURN, TURN, VIEWS).repeat(len(digits) // VIEWS)
        return rotate(digits, angles)

    @property
    def digest(self) -> str:
        """Hash of the digits for training."""
        return _digest(self.pictures[0])

    def batch(self, number: int, count: int) -> Tensor:
        """Return batch ``number``: (count, 1, 16, 16)."""
        rng = np.random.default_rng((self.seed, number))
        digits = self.pictures[0][rng.integers(len(self.pictures[0]), size=count)]
        return rotate(digits, torch.from_numpy(rng.uniform(-TURN, TURN, count)).float())
