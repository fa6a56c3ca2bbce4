"""Find and load photographs, in any format that Pillow opens, as upright 8-bit RGB pictures."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageOps

from benchmarks.errors import NoPictures

BUNDLED = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""Photographs that come with scikit-image."""
MIN_SIDE = 16
"""Smallest side of a picture in pixels; SSIM's window does not fit into smaller ones."""
WHY_LEFT_OUT = f"it cannot be read or has a side below {MIN_SIDE} pixels"


@dataclass(frozen=True)
class Photo:
    """A picture of a data set, loaded on demand."""

    name: str
    """Path inside the data set."""
    path: Path

    def load(self) -> Image.Image:
        """Load the picture in mode RGB, turned upright by its EXIF orientation, without alpha channel and metadata.

        Some codecs would keep the metadata and others not; only pixels are compared.
        """
        with Image.open(self.path) as image:
            return Image.fromarray(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))

    def digest(self) -> str:
        """Return the SHA-256 of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Photographs, sorted by name."""

    name: str
    photos: tuple[Photo, ...]
    left_out: tuple[str, ...] = ()
    """Files with a picture's suffix that Pillow cannot read, or that are too small to compare."""


def open_dataset(folder: Path | None = None, limit: int | None = None) -> Dataset:
    """Return the first ``limit`` pictures in and below a folder; without a folder, the bundled photographs.

    Each picture is read once, so that a damaged file cannot end a long run.  Raises :class:`NoPictures`.
    """
    if folder is None:
        root = Path(skimage.data.__file__).parent
        return Dataset("scikit-image", tuple(Photo(name, root / name) for name in BUNDLED[:limit]))
    suffixes = {suffix for suffix, format in Image.registered_extensions().items() if format in Image.OPEN}
    photos: list[Photo] = []
    left_out: list[str] = []
    for path in sorted(folder.rglob("*")):
        if len(photos) == limit:
            break
        if path.suffix.lower() in suffixes and path.is_file():
            photo = Photo(path.relative_to(folder).as_posix(), path)
            if _is_usable(photo):
                photos.append(photo)
            else:
                left_out.append(photo.name)
    if not photos:
        raise NoPictures(f"no readable picture in {folder}")
    return Dataset(folder.resolve().name, tuple(photos), tuple(left_out))


def _is_usable(photo: Photo) -> bool:
    try:
        return min(photo.load().size) >= MIN_SIDE
    except Exception:  # Pillow's readers raise many types of error on damaged files
        return False
