"""Tell drawings, text and screenshots from photographs, by how well a small sample of the pixels compresses."""

import numpy as np
from numpy.typing import NDArray

from vqcodec.images.reading import Picture
from vqcodec.stream.planes import Effort, write_planes

_SAMPLES, _SAMPLE_EDGE = 4, 24
"""The sample is a square of so many blocks along each side, of so many pixels: about 2 ms for a picture of any size."""
_SAMPLE_EFFORT = Effort(25, 2)
_GREY_BPP, _COLOUR_BPP = 2.5, 3.0
"""Bits per pixel of a sample that is worth a trial.  Drawings have at most 2.4, photographs at least 4.6, and 2.5 if
they are grey: docs/PERFORMANCE.md."""
_SAMPLE_BYTES = 128
"""A sample of so few bytes is always worth a trial: headers decide then."""


def looks_drawn(picture: Picture) -> bool:
    """Return whether exact pixels may be worth a trial, from a sample of the picture."""
    height, width = picture.pixels.shape[:2]
    sample = picture.pixels[_sampled(height)][:, _sampled(width)]
    grey = picture.layout.is_grey
    size = len(write_planes(np.ascontiguousarray(sample[:, :, 0] if grey else sample), _SAMPLE_EFFORT))
    limit = (_GREY_BPP if grey else _COLOUR_BPP) * sample.shape[0] * sample.shape[1] / 8
    return bool(size <= max(limit, _SAMPLE_BYTES))


def _sampled(length: int) -> slice | NDArray[np.intp]:
    """Return which rows, or columns, are in the sample."""
    if length <= _SAMPLES * _SAMPLE_EDGE:
        return slice(None)
    starts = np.linspace(0, length - _SAMPLE_EDGE, _SAMPLES).astype(np.intp)
    return (starts[:, None] + np.arange(_SAMPLE_EDGE)).ravel()
