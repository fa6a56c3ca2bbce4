"""Choose between indices and exact pixels: the better buy, by the objective that models are trained for.

A picture costs ``bits + lambda * squared error``, with samples from 0 to 255 and the lambda of the asked quality; exact
pixels have no error.  Where indices are chosen they thus take fewer bytes than exact pixels would, so that neither size
nor PSNR falls where, at rising quality, exact pixels take over.

A photograph is hardly ever cheaper exactly.  A small sample tells it from a drawing, so that it pays for no trial.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vqcodec.codec.encoder import Coded
from vqcodec.codec.exact import encode_exact
from vqcodec.images.reading import Picture, Pixels
from vqcodec.stream.container import Section
from vqcodec.stream.planes import FAST, SMALL, Effort, write_planes

_SAMPLES, _SAMPLE_EDGE = 4, 24
"""The sample is a square of so many blocks along each side, of so many pixels: about 2 ms for a picture of any size."""
_SAMPLE_EFFORT = Effort(25, 2)
_GREY_BPP, _COLOUR_BPP = 2.5, 3.0
"""Bits per pixel of a sample that is worth a trial.  Drawings have at most 2.4, photographs at least 4.6, and 2.5 if
they are grey: docs/PERFORMANCE.md."""
_SAMPLE_BYTES = 128
"""A sample of so few bytes is always worth a trial: headers decide then."""
_RAW_SHARE = 0.5
"""Indices of this share of the uncompressed size, as noise and tiny pictures have, are worth a trial, too."""
_SAVING = 0.8
"""Size after more effort as a share of that after little, at the least; 0.89 is the least that was seen."""
_ALWAYS_SMALL = 3
"""Encoder's effort from which photographs, too, are coded with :data:`SMALL`, which saves them less than 1 %."""


def store_exactly(picture: Picture, extras: Sequence[Section], effort: int) -> bytes:
    """Return the stream of exact pixels; ``extras`` are the sections of alpha and metadata."""
    return encode_exact(picture, extras, _efforts(effort, looks_drawn(picture))[-1])


def _efforts(effort: int, drawn: bool) -> tuple[Effort, ...]:
    """Return the efforts of lossless coding to try in turn, for an encoder's effort; the last one counts."""
    return (FAST, SMALL) if effort >= (1 if drawn else _ALWAYS_SMALL) else (FAST,)


def looks_drawn(picture: Picture) -> bool:
    """Return whether exact pixels may be worth a trial, from a sample of the picture."""
    height, width = picture.pixels.shape[:2]
    sample = picture.pixels[_sampled(height)][:, _sampled(width)]
    grey = picture.layout.is_grey
    size = len(write_planes(np.ascontiguousarray(sample[:, :, 0] if grey else sample), _SAMPLE_EFFORT))
    limit = (_GREY_BPP if grey else _COLOUR_BPP) * sample.shape[0] * sample.shape[1] / 8
    return bool(size <= max(limit, _SAMPLE_BYTES))


def better_buy(
    picture: Picture,
    extras: Sequence[Section],
    effort: int,
    indexed: Coded,
    lambda_: float,
    decoded: Callable[[Coded], Pixels],
) -> bytes:
    """Return the stream of exact pixels if it costs less than that of indices, otherwise the latter.

    Args:
        picture: what was encoded.
        extras: its sections of alpha and metadata, which both streams have.
        effort: the encoder's.
        indexed: the stream of indices.
        lambda_: the price of squared error at its quality, in bits.
        decoded: returns the colours (H, W, 3) that indices decode to.  Called only where the sizes do not decide.
    """
    height, width, channels = picture.pixels.shape
    raw = height * width * (1 if picture.layout.is_grey else channels)
    if len(indexed.data) < _RAW_SHARE * raw and not looks_drawn(picture):
        return indexed.data

    @functools.cache
    def cost() -> float:
        return len(indexed.data) + lambda_ * _squared_error(picture.pixels, decoded(indexed)) / 8

    efforts = _efforts(effort, drawn=True)
    exact = b""
    for which in efforts:
        exact = encode_exact(picture, extras, which)
        hoped = len(exact) * (1 if which is efforts[-1] else _SAVING)
        if hoped >= len(indexed.data) and hoped >= cost():
            return indexed.data
    return exact


def _sampled(length: int) -> slice | NDArray[np.intp]:
    """Return which rows, or columns, are in the sample."""
    if length <= _SAMPLES * _SAMPLE_EDGE:
        return slice(None)
    starts = np.linspace(0, length - _SAMPLE_EDGE, _SAMPLES).astype(np.intp)
    return (starts[:, None] + np.arange(_SAMPLE_EDGE)).ravel()


def _squared_error(a: Pixels, b: Pixels) -> float:
    """Return the squared error (H, W, 3), as the mean of the three channels and the sum of all pixels."""
    rows = (int(np.square(x.astype(np.int32) - y).sum(dtype=np.int64)) for x, y in zip(a, b, strict=True))
    return sum(rows) / int(a.shape[2])
