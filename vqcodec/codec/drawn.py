"""Tell drawings, text and screenshots from photographs, by how well a small sample of the pixels compresses."""

import numpy as np
from numpy.typing import NDArray

from vqcodec.images.reading import Picture, Pixels
from vqcodec.stream.planes import Effort, write_planes

_BLOCKS = 4
"""Blocks along each side of a mosaic."""
_SAMPLE_EDGE = 24
"""Edge in pixels of the sample's blocks: it takes about 2 ms for a picture of any size."""
_SAMPLE_EFFORT = Effort(25, 2)
_GREY_BPP, _COLOUR_BPP = 2.5, 3.0
"""Bits per pixel of a sample that is worth a trial.  Drawings have at most 2.4, photographs at least 4.6, and 2.5 if
they are grey: docs/PERFORMANCE.md."""
_SAMPLE_BYTES = 128
"""A sample of so few bytes is always worth a trial: headers decide then."""


def looks_drawn(picture: Picture) -> bool:
    """Return whether exact pixels may be worth a trial, from a sample of the picture."""
    sample = mosaic(picture.pixels, _SAMPLE_EDGE)
    grey = picture.layout.is_grey
    size = len(write_planes(np.ascontiguousarray(sample[:, :, 0] if grey else sample), _SAMPLE_EFFORT))
    limit = (_GREY_BPP if grey else _COLOUR_BPP) * sample.shape[0] * sample.shape[1] / 8
    return bool(size <= max(limit, _SAMPLE_BYTES))


def mosaic(pixels: Pixels, edge: int) -> Pixels:
    """Return a small picture (H, W, 3) of evenly spaced blocks of a picture, four by four, of so many pixels' edge.

    A side that is no longer than four blocks is kept whole.
    """
    rows, columns = (_sampled(length, edge) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[rows][:, columns])


def _sampled(length: int, edge: int) -> slice | NDArray[np.intp]:
    """Return which rows, or columns, are in a mosaic."""
    if length <= _BLOCKS * edge:
        return slice(None)
    starts = np.linspace(0, length - edge, _BLOCKS).astype(np.intp)
    return (starts[:, None] + np.arange(edge)).ravel()
