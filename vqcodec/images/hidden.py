"""Colours under transparent pixels: nobody sees them, so they are replaced by what costs least."""

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]

_NEUTRAL = 128


def fill_hidden(pixels: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> None:
    """Replace the colours of ``pixels`` (H, W, 3) where ``alpha`` (H, W) is 0, in place.

    They become a smooth continuation of the visible colours, by a pyramid of averages (pull-push; Gortler et al., The
    Lumigraph, 1996, section 3.4): the result depends on the visible pixels only.
    """
    seen = alpha > 0
    if seen.all():
        return
    if not seen.any():
        pixels[:] = _NEUTRAL
        return
    for channel in range(3):
        plane = pixels[:, :, channel]
        filled = _filled(np.where(seen, plane, 0).astype(np.float32), seen.astype(np.float32))
        np.copyto(plane, np.round(filled).astype(np.uint8), where=~seen)


def _filled(sums: Plane, weights: Plane) -> Plane:
    """Return the averages ``sums / weights``, and where the weight is 0 those of a coarser grid."""
    averages = (sums / np.maximum(weights, np.float32(1e-6))).astype(np.float32)
    if weights.all():
        return averages
    share = np.minimum(weights, np.float32(1))
    coarse = _filled(_halved(averages * share), _halved(share))
    filled: Plane = np.where(weights > 0, averages, _doubled(coarse, *weights.shape))
    return filled


def _halved(plane: Plane) -> Plane:
    """Return the sums of 2x2 values."""
    height, width = plane.shape
    padded = np.pad(plane, ((0, height % 2), (0, width % 2)))
    halved: Plane = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
    return halved


def _doubled(plane: Plane, height: int, width: int) -> Plane:
    """Return a grid of twice the size, interpolated linearly and cut to the given one."""
    for axis, size in ((0, height), (1, width)):
        edged = np.pad(plane, [(1, 1) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
        before, middle, after = (np.take(edged, range(i, i + plane.shape[axis]), axis) for i in range(3))
        both = np.stack([0.75 * middle + 0.25 * before, 0.75 * middle + 0.25 * after], axis + 1)
        shape = [2 * n if i == axis else n for i, n in enumerate(plane.shape)]
        plane = np.take(both.reshape(shape), range(size), axis).astype(np.float32)
    return plane
