"""The indices of one level of a picture, in about two bytes each."""

import zlib

import numpy as np
from numpy.typing import NDArray

from vqcodec.coding.slice_symbols import Indices


class Grid:
    """Indices (G, H, W) of a level: zero, the codeword that adds nothing, where none were written.

    Only outer points far from the codebook need more than two bytes.  What is above the lower two bytes is kept
    compressed, tile by tile, for tiles that have such points.
    """

    def __init__(self, groups: int, rows: int, columns: int):
        self.shape = groups, rows, columns
        # Rows lie together in memory: the system gives pages to a large picture only as its rows are written.
        self._low = np.zeros((rows, groups, columns), np.int16)
        self._high: list[tuple[slice, slice, bytes]] = []
        """Rows and columns of a tile, and its (G, rows, columns) int16, compressed."""

    def write(self, rows: slice, columns: slice, indices: Indices) -> None:
        """Write the indices (G, rows, columns) of a tile, once."""
        low = indices.astype(np.int16)  # cuts what is above
        self._low[rows, :, columns] = low.swapaxes(0, 1)
        high = ((indices - low) >> 16).astype(np.int16)
        if high.any():
            self._high.append((rows, columns, zlib.compress(high.tobytes(), 1)))

    def read(self, rows: slice | None = None, columns: slice | None = None) -> Indices:
        """Return the indices (G, rows, columns) of a rectangle, by default of all."""
        rows, columns = rows or slice(0, self.shape[1]), columns or slice(0, self.shape[2])
        found: Indices = np.ascontiguousarray(self._low[rows, :, columns].swapaxes(0, 1), np.int32)
        for own_rows, own_columns, content in self._high:
            (here_y, there_y), (here_x, there_x) = _overlap(rows, own_rows), _overlap(columns, own_columns)
            if there_y.start < there_y.stop and there_x.start < there_x.stop:
                shape = self.shape[0], own_rows.stop - own_rows.start, own_columns.stop - own_columns.start
                high: NDArray[np.int16] = np.frombuffer(zlib.decompress(content), np.int16).reshape(shape)
                found[:, here_y, here_x] += high[:, there_y, there_x].astype(np.int32) << 16
        return found


def _overlap(wanted: slice, known: slice) -> tuple[slice, slice]:
    """Return what two slices have in common: counted from the start of one, and of the other."""
    start, stop = max(wanted.start, known.start), min(wanted.stop, known.stop)
    return slice(start - wanted.start, stop - wanted.start), slice(start - known.start, stop - known.start)
