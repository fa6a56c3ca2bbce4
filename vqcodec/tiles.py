"""Pictures -> tiles: which part of each level's grid is coded on its own.

Transforms see whole pictures; only the entropy coding is tiled.  Tiles are numbered in raster order.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vqcodec.bitstream import Header, tile_grid

T = TypeVar("T")
Number = TypeVar("Number", bound=np.generic)


class Tiling:
    """The tiles of one level of a batch of pictures, as one list: all tiles of the first picture, then the next."""

    def __init__(self, headers: Sequence[Header], stride: int, shapes: Sequence[tuple[int, int]]):
        """``shapes`` holds ``(rows, columns)`` of each picture's grid, ``stride`` the level's pixels per position."""
        self._shapes = shapes
        self._edges = [max(1, (1 << header.tile_log2) // stride) for header in headers]
        self._counts = [tile_grid(header) for header in headers]

    def _windows(self, picture: int) -> list[tuple[slice, slice]]:
        rows, columns = self._counts[picture]
        edge = self._edges[picture]
        return [
            (slice(i * edge, (i + 1) * edge), slice(j * edge, (j + 1) * edge))
            for i in range(rows)
            for j in range(columns)
        ]

    @property
    def tile_shapes(self) -> list[tuple[int, int]]:
        """``(rows, columns)`` of every tile's grid."""
        result = []
        for picture, (height, width) in enumerate(self._shapes):
            for y, x in self._windows(picture):
                result.append((min(y.stop, height) - y.start, min(x.stop, width) - x.start))
        return result

    def repeat(self, per_picture: Sequence[T]) -> list[T]:
        """One value for each picture -> one for each tile."""
        return [
            value
            for value, (rows, columns) in zip(per_picture, self._counts, strict=True)
            for _ in range(rows * columns)
        ]

    def group(self, per_tile: Sequence[T]) -> list[list[T]]:
        """One value for each tile -> a list for each picture."""
        left = iter(per_tile)
        return [[next(left) for _ in range(rows * columns)] for rows, columns in self._counts]

    def split(self, grids: Sequence[NDArray[Number]]) -> list[NDArray[Number]]:
        """Grids (C, H, W) of pictures -> of tiles."""
        return [grid[:, y, x] for picture, grid in enumerate(grids) for y, x in self._windows(picture)]

    def join(self, tiles: Sequence[NDArray[Number]]) -> list[NDArray[Number]]:
        """Inverse of :meth:`split`."""
        grids = []
        for picture, parts in enumerate(self.group(tiles)):
            grid = np.empty((parts[0].shape[0], *self._shapes[picture]), parts[0].dtype)
            for part, (y, x) in zip(parts, self._windows(picture), strict=True):
                grid[:, y, x] = part
            grids.append(grid)
        return grids
