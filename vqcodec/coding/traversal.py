"""The traversal of a level's grids, shared by encoding and decoding.

Positions are visited wavefront by wavefront (``x + 2 * y``), all grids of a batch at once; at each wavefront slice by
slice.  An :class:`IndexPort` supplies the indices: given logits it chooses and encodes them (encoding), entropy-decodes
them (decoding), or returns known ones.  All else is the same code in both directions, so encoder and decoder agree.
"Item" is one grid of the batch: a picture, or a tile of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vqcodec.arithmetic import ATTENTION_TAPS, COLUMNS_PER_ROW, LIMIT, PAST, PAST_AND_HERE
from vqcodec.coding.integer_prior import IntegerLevelPrior, SlicePrediction
from vqcodec.coding.slice_symbols import Indices

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Wavefront:
    """The grid positions of one wavefront, ordered by item, then by row."""

    cells: NDArray[np.intp]
    """(N,) cell of each position in the :class:`WavefrontLayout`."""
    items: NDArray[np.intp]
    """(N,) item of each position."""


class WavefrontLayout:
    """Places all grids of a batch in one array of cells, with empty cells where taps fall outside a grid."""

    def __init__(self, prior: IntegerLevelPrior, shapes: Sequence[tuple[int, int]]):
        self.shapes = list(shapes)
        taps = PAST if prior.attention is None else ATTENTION_TAPS
        above = max(-dy for dy, _ in taps)
        side = max(abs(dx) for _, dx in taps)
        self.stride = max(width for _, width in shapes) + side
        cells, items, times = [], [], []
        start = side
        for item, (height, width) in enumerate(shapes):
            y, x = np.divmod(np.arange(height * width), width)
            cells.append(start + (y + above) * self.stride + x)
            items.append(np.full(height * width, item))
            times.append(x + COLUMNS_PER_ROW * y)
            start += (height + above) * self.stride
        self.cells_of = cells
        self.size = start + side
        flat, owner, time = np.concatenate(cells), np.concatenate(items), np.concatenate(times)
        order = np.lexsort((flat, owner, time))
        bounds = np.flatnonzero(np.diff(time[order])) + 1
        self.wavefronts = [
            Wavefront(c, i) for c, i in zip(np.split(flat[order], bounds), np.split(owner[order], bounds), strict=True)
        ]

    def offsets(self, taps: Sequence[tuple[int, int]]) -> NDArray[np.intp]:
        """Return what to add to a cell to get the cell of each tap."""
        return np.array([dy * self.stride + dx for dy, dx in taps])

    def buffer(self, channels: int) -> NDArray[np.float32]:
        """Return zeros (cells, channels)."""
        return np.zeros((self.size, channels), np.float32)

    def spread(self, grids: Sequence[NDArray[Number]]) -> NDArray[Number]:
        """Place grids (H, W, C) in an array (cells, C)."""
        result = np.zeros((self.size, grids[0].shape[2]), grids[0].dtype)
        for cells, grid in zip(self.cells_of, grids, strict=True):
            result[cells] = grid.reshape(len(cells), -1)
        return result

    def collect(self, values: Indices) -> list[Indices]:
        """Extract contiguous grids (G, H, W) from an array (cells, G)."""
        return [
            np.ascontiguousarray(values[cells].T.reshape(-1, height, width))
            for cells, (height, width) in zip(self.cells_of, self.shapes, strict=True)
        ]


class IndexPort(Protocol):
    """Supplies the indices during the traversal."""

    def exchange(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """Return the indices (N, G) of slice ``number`` at ``wavefront``, given the prior's prediction of them."""
        ...


def walk(
    prior: IntegerLevelPrior,
    layout: WavefrontLayout,
    coarse: Sequence[Indices] | None,
    quality: Sequence[int],
    port: IndexPort,
) -> list[Indices]:
    """Visit every position of every grid and return the indices (G, H, W) of each item.

    Args:
        prior: the level's prior.
        layout: the layout of the batch's grids.
        coarse: the next coarser level's indices (G', H / 2, W / 2) per item; None for the coarsest level.
        quality: quality step of each item.
        port: supplies the indices.
    """
    steps = np.asarray(quality)
    embedded = layout.buffer(prior.embedding.channels)
    occupied = np.zeros(layout.size, bool)
    """Cells whose embedding is not zero."""
    trunk = layout.buffer(prior.channels)
    indices = np.zeros((layout.size, sum(h.config.groups for h in prior.heads)), np.int32)
    context = None
    if prior.context is not None:
        assert coarse is not None
        context = layout.spread([prior.context(grid) for grid in coarse])
    past, near = layout.offsets(PAST), layout.offsets(PAST_AND_HERE)
    if prior.attention is not None:
        window = layout.offsets(ATTENTION_TAPS)
        keys = layout.buffer(prior.attention.width)
        values = layout.buffer(prior.attention.width).astype(np.float64)
        inside = np.zeros(layout.size, bool)
        inside[np.concatenate(layout.cells_of)] = True
    for wavefront in layout.wavefronts:
        cells, step = wavefront.cells, steps[wavefront.items]
        around = cells[:, None] + past
        busy = np.flatnonzero(occupied.take(around).any(1))
        h = prior.trunk_start(
            busy, embedded.take(around[busy], 0), None if context is None else context.take(cells, 0), step
        )
        if prior.attention is not None:
            seen = cells[:, None] + window
            query, keys[cells], values[cells] = prior.attention.queries_keys_values(h)
            h = np.clip(
                h + prior.attention(query, keys.take(seen, 0), values.take(seen, 0), inside.take(seen)), 0, LIMIT
            )
        trunk[cells] = h
        known = np.zeros((len(cells), prior.channels + prior.embedding.channels), np.float32)
        known[:, : prior.channels] = prior.trunk_end(trunk.take(cells[:, None] + near, 0), h)
        width, group = prior.channels, 0
        for number, head in enumerate(prior.heads):
            chosen = port.exchange(number, wavefront, head.predict(known[:, :width], step))
            end = width + prior.embedding.widths[number]
            if chosen.any():
                known[:, width:end] = prior.embedding.slice(number, chosen)
                indices[cells, group : group + chosen.shape[1]] = chosen
            width, group = end, group + chosen.shape[1]
        embedded[cells] = known[:, prior.channels :]
        occupied[cells] = known[:, prior.channels :].any(1)
    return layout.collect(indices)
