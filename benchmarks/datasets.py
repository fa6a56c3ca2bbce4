"""Folder -> photos.  Any format that Pillow opens; what is measured is the upright 8-bit RGB picture."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageOps

from benchmarks.errors import NoPictures

BUNDLED = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""Photographs that come with scikit-image."""
WHY_LEFT_OUT = "it cannot be read or is too small"
LEAST_SIDE = 16
"""Smaller pictures are not photographs, and SSIM's window does not fit into them."""


@dataclass(frozen=True)
class Photo:
    """A picture of a data set, not yet loaded."""

    name: str
    """Path inside the data set."""
    path: Path

    def load(self) -> Image.Image:
        """The picture in mode RGB, turned as its EXIF data ask, without alpha channel and metadata.

        Some codecs would keep the metadata and others not, and only pixels are compared.
        """
        with Image.open(self.path) as image:
            return Image.fromarray(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))

    def digest(self) -> str:
        """What identifies the file's content."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Photos in the order of their names."""

    name: str
    photos: tuple[Photo, ...]
    left_out: tuple[str, ...] = ()
    """Files with a picture's suffix that Pillow cannot read, or that are too small to compare."""


def open_dataset(folder: Path | None = None, limit: int | None = None) -> Dataset:
    """The first ``limit`` pictures in and below a folder; the bundled photographs without a folder.

    Each is read once, so that none ends a long run for being damaged.  Raises :class:`NoPictures`.
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
        raise NoPictures(f"no picture in {folder}")
    return Dataset(folder.resolve().name, tuple(photos), tuple(left_out))


def _is_usable(photo: Photo) -> bool:
    try:
        return min(photo.load().size) >= LEAST_SIDE
    except Exception:  # Pillow's readers raise all sorts of things on damaged files
        return False
