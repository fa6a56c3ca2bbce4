"""Choose between indices and exact pixels: the better buy, by the objective that models are trained for.

A picture costs ``bits + lambda * squared error``, with samples from 0 to 255 and the lambda of the asked quality; exact
pixels have no error.  Where indices are chosen they thus take fewer bytes than exact pixels would, so that neither size
nor PSNR falls where, at rising quality, exact pixels take over.

A photograph is hardly ever cheaper exactly; ``drawn.py`` tells it from a drawing, so that it pays for no trial.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from vqcodec.codec.drawn import looks_drawn
from vqcodec.codec.encoder import Coded
from vqcodec.codec.exact import encode_exact
from vqcodec.images.reading import Picture, Pixels
from vqcodec.stream.container import Section
from vqcodec.stream.planes import FAST, SMALL, Effort

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


def _squared_error(a: Pixels, b: Pixels) -> float:
    """Return the squared error (H, W, 3), as the mean of the three channels and the sum of all pixels."""
    rows = (int(np.square(x.astype(np.int32) - y).sum(dtype=np.int64)) for x, y in zip(a, b, strict=True))
    return sum(rows) / int(a.shape[2])
