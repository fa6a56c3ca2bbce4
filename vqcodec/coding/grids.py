"""Code the grids of a level: the walk with its ports, in numpy or with compiled functions.

Both give the same indices and bytes.  numba (``pip install vqcodec[fast]``) is optional; loading it takes as long as
walking some grids in numpy, so it is loaded once there is more to do.  Environment variable ``NUMBA_DISABLE_JIT=1``
turns it off.
"""

import threading
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vqcodec.coding.integer_prior import IntegerLevelPrior
from vqcodec.coding.likelihood import CodeLength
from vqcodec.coding.rans import payload_words
from vqcodec.coding.sampling import GridSeed, IndexSampler
from vqcodec.coding.slice_symbols import Indices
from vqcodec.coding.symbols import (
    FixedIndices,
    IndexDecoder,
    IndexEncoder,
    RateDistortionSelector,
    min_words,
    slice_latents,
)
from vqcodec.coding.traversal import NumpyTrunk, Trunk, WavefrontLayout, walk

if TYPE_CHECKING:  # at run time only where it is installed, and when it pays
    from vqcodec.coding.compiled import CompiledDecoder, CompiledEncoder

LOAD_AFTER = 12_000
"""Positions to walk in a process before loading numba pays."""


class _Compiled:
    """The compiled walk, loaded when it pays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions = 0
        self._tried = False
        self._module: ModuleType | None = None

    def get(self, positions: int) -> ModuleType | None:
        """Return the module ``compiled`` for a walk over some positions, or None to walk in numpy."""
        with self._lock:
            self._positions += positions
            if not self._tried and self._positions >= LOAD_AFTER:
                self._tried = True
                self._module = _load()
            return self._module


def _load() -> ModuleType | None:
    """Return the module ``compiled``; None without numba, or where it cannot compile or keep what it compiled."""
    try:
        import numba

        if numba.config.DISABLE_JIT:
            return None
        from vqcodec.coding import compiled
    except Exception:  # numba has no common class for its errors
        return None
    return compiled


_compiled = _Compiled()


def _compiled_for(prior: IntegerLevelPrior, shapes: Sequence[tuple[int, int]]) -> ModuleType | None:
    if prior.heads[0].shells is None:
        return None
    return _compiled.get(sum(height * width for height, width in shapes))


def decode_grids(
    prior: IntegerLevelPrior,
    payloads: Sequence[bytes],
    shapes: Sequence[tuple[int, int]],
    coarse: Sequence[Indices] | None,
    quality: Sequence[int],
) -> list[Indices]:
    """Return the indices (G, H, W) of each grid from its payload; see :func:`~vqcodec.coding.traversal.walk`.

    Raises :class:`~vqcodec.errors.MalformedStream` for a payload that is too short for its grid before anything of the
    grid's size is allocated, :class:`~vqcodec.errors.CorruptStream` for damage.
    """
    for payload, shape in zip(payloads, shapes, strict=True):  # refuse what is too short before numba is loaded for it
        payload_words(payload, min_words(shape))
    compiled = _compiled_for(prior, shapes)
    port: IndexDecoder | CompiledDecoder
    trunk: type[Trunk]
    if compiled is None:
        port, trunk = IndexDecoder(payloads, shapes), NumpyTrunk
    else:
        port, trunk = compiled.CompiledDecoder(prior, payloads, shapes), compiled.CompiledTrunk
    indices = walk(prior, WavefrontLayout(prior, shapes), coarse, quality, port, trunk)
    port.finish()
    return indices


def encode_grids(
    prior: IntegerLevelPrior,
    latents: Sequence[NDArray[np.float32]],
    codebooks: Sequence[NDArray[np.float32]],
    coarse: Sequence[Indices] | None,
    quality: Sequence[int],
) -> tuple[list[Indices], list[bytes]]:
    """Choose indices for latents (D, H, W) in codebook cells; return those (G, H, W) and the payload of each grid.

    ``codebooks`` are (G, K, d) per slice; see :func:`~vqcodec.coding.traversal.walk` for the others.
    """
    shapes = [(grid.shape[1], grid.shape[2]) for grid in latents]
    layout = WavefrontLayout(prior, shapes)
    slices = slice_latents(layout, latents, codebooks)
    compiled = _compiled_for(prior, shapes)
    port: IndexEncoder | CompiledEncoder
    trunk: type[Trunk]
    if compiled is None:
        port, trunk = IndexEncoder(shapes, RateDistortionSelector(slices)), NumpyTrunk
    else:
        port, trunk = compiled.CompiledEncoder(prior, shapes, slices), compiled.CompiledTrunk
    indices = walk(prior, layout, coarse, quality, port, trunk)
    return indices, port.to_bytes()


def sample_grids(
    prior: IntegerLevelPrior,
    seeds: Sequence[GridSeed],
    shapes: Sequence[tuple[int, int]],
    coarse: Sequence[Indices] | None,
    quality: Sequence[int],
    temperature: float,
) -> list[Indices]:
    """Draw the indices (G, H, W) of each grid from the prior; see :func:`~vqcodec.coding.traversal.walk`."""
    port = IndexSampler(seeds, temperature)
    return walk(prior, WavefrontLayout(prior, shapes), coarse, quality, port, _trunk_for(prior, shapes))


def code_lengths(
    prior: IntegerLevelPrior,
    grids: Sequence[Indices],
    coarse: Sequence[Indices] | None,
    quality: Sequence[int],
) -> NDArray[np.float64]:
    """Return ``-log2 p`` in bits of the indices (G, H, W) of each grid; see :func:`~vqcodec.coding.traversal.walk`."""
    shapes = [(grid.shape[1], grid.shape[2]) for grid in grids]
    layout = WavefrontLayout(prior, shapes)
    port = CodeLength(len(grids), FixedIndices(layout, grids, [head.config.groups for head in prior.heads]))
    walk(prior, layout, coarse, quality, port, _trunk_for(prior, shapes))
    return port.bits


def _trunk_for(prior: IntegerLevelPrior, shapes: Sequence[tuple[int, int]]) -> type[Trunk]:
    """Return the trunk of a walk whose port is in numpy."""
    compiled = _compiled_for(prior, shapes)
    return NumpyTrunk if compiled is None else compiled.CompiledTrunk
