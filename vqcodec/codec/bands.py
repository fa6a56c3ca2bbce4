"""A plane of bytes in bands of rows, so that the rows of a large picture that are done with can be freed."""

import numpy as np
from numpy.typing import NDArray


class Bands:
    """A plane (C, H, W) of int8, zero at first."""

    def __init__(self, channels: int, height: int, width: int, rows: int):
        """Make bands of ``rows`` rows, the last one shorter."""
        self.channels, self._rows = channels, rows
        self._bands = [np.zeros((channels, min(rows, height - top), width), np.int8) for top in range(0, height, rows)]

    def read(self, rows: slice, columns: slice) -> NDArray[np.int8]:
        """Return a copy of a part, (C, rows, columns), of bands that are not freed."""
        parts = []
        for number in range(rows.start // self._rows, -(-rows.stop // self._rows)):
            top = number * self._rows
            parts.append(self._bands[number][:, max(0, rows.start - top) : rows.stop - top, columns])
        return np.concatenate(parts, 1)

    def view(self, rows: slice, columns: slice) -> NDArray[np.int8]:
        """Return a view of a part, (C, rows, columns), of one band."""
        number, top = divmod(rows.start, self._rows)
        part: NDArray[np.int8] = self._bands[number][:, top : top + rows.stop - rows.start, columns]
        return part

    def free(self, row: int) -> None:
        """Free the bands that end at or before a row; they must not be used again."""
        for number in range(min(row // self._rows, len(self._bands))):
            self._bands[number] = self._bands[number][:, :0, :0].copy()
