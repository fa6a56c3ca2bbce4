"""Real pictures by class, of one size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from benchmarks.errors import NoPictures
from benchmarks.rd.datasets import open_dataset

HELD_OUT = 5
"""Every fifth picture is held out, where the folder does not say which."""


@dataclass(frozen=True)
class Pictures:
    """Pictures (N, 3, H, W) uint8 and the numbers of their classes (N,); all zero without classes."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def floats(self) -> Tensor:
        """Return the pictures as floats in [0, 1]."""
        return self.pixels.float() / 255


@dataclass(frozen=True)
class RealPictures:
    """The real pictures of a study."""

    name: str
    classes: tuple[str, ...]
    """Names of the class folders; empty without."""
    train: Pictures
    held_out: Pictures


def to_tensor(images: list[Image.Image]) -> Tensor:
    """Return images as (N, 3, H, W) uint8."""
    return torch.from_numpy(np.stack([np.asarray(image.convert("RGB")) for image in images])).permute(0, 3, 1, 2)


def open_pictures(folder: Path, size: tuple[int, int]) -> RealPictures:
    """Read a folder of class folders, or of ``train`` and ``test`` with class folders in each, or of pictures.

    Pictures are scaled and cut to ``size``.  Raises :class:`NoPictures`.
    """
    divided = (folder / "train").is_dir() and (folder / "test").is_dir()
    first = folder / "train" if divided else folder
    classes = tuple(sorted(p.name for p in first.iterdir() if p.is_dir()))
    if divided:
        train, held_out = (_read(folder / part, classes, size) for part in ("train", "test"))
    else:
        every = _read(folder, classes, size)
        held = torch.arange(len(every)) % HELD_OUT == 0
        train = Pictures(every.pixels[~held], every.labels[~held])
        held_out = Pictures(every.pixels[held], every.labels[held])
    if min(len(train), len(held_out)) < 2:
        raise NoPictures(f"{folder}: fewer than 10 pictures")
    return RealPictures(folder.resolve().name, classes, train, held_out)


def _read(folder: Path, classes: tuple[str, ...], size: tuple[int, int]) -> Pictures:
    images: list[Image.Image] = []
    labels: list[int] = []
    for number, own in enumerate([folder / name for name in classes] or [folder]):
        for photo in open_dataset(own).photos:
            images.append(ImageOps.fit(photo.load(), size, Image.Resampling.BICUBIC))
            labels.append(number)
    return Pictures(to_tensor(images), torch.tensor(labels))
