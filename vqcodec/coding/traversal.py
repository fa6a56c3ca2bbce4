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
from vqcodec.coding.integer_prior import Array, IntegerLevelPrior, SlicePrediction
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

    def inside(self) -> NDArray[np.bool_]:
        """Return which cells lie inside of a grid."""
        inside = np.zeros(self.size, bool)
        inside[np.concatenate(self.cells_of)] = True
        return inside

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


class Trunk(Protocol):
    """The part of a prior that reads all finished positions, and the buffers that it reads them from."""

    def __init__(
        self,
        prior: IntegerLevelPrior,
        layout: WavefrontLayout,
        coarse: Sequence[Indices] | None,
        quality: Sequence[int],
    ):
        """See :func:`walk` for the arguments."""

    def start(self, wavefront: Wavefront) -> Array:
        """Return the heads' inputs (N, C + E) at a wavefront: trunk features, and zeros for embeddings."""
        ...

    def fill(self, wavefront: Wavefront, number: int, chosen: Indices, known: Array) -> None:
        """Write the indices (N, G) of slice ``number``, and their embeddings into ``known`` (N, C + E)."""
        ...

    def finish(self, wavefront: Wavefront, known: Array) -> None:
        """Keep the embeddings of all slices at a wavefront."""
        ...

    def indices(self) -> list[Indices]:
        """Return the indices (G, H, W) of each item."""
        ...


class NumpyTrunk:
    """A :class:`Trunk` in numpy."""

    def __init__(
        self,
        prior: IntegerLevelPrior,
        layout: WavefrontLayout,
        coarse: Sequence[Indices] | None,
        quality: Sequence[int],
    ):
        self._prior, self._layout, self._steps = prior, layout, np.asarray(quality)
        self._embedded = layout.buffer(prior.embedding.channels)
        self._occupied = np.zeros(layout.size, bool)
        """Cells whose embedding is not zero."""
        self._trunk = layout.buffer(prior.channels)
        self._groups = np.cumsum([0, *(head.config.groups for head in prior.heads)]).tolist()
        """Codebooks before each slice."""
        self._indices = np.zeros((layout.size, self._groups[-1]), np.int32)
        self._context = None
        if prior.context is not None:
            assert coarse is not None
            self._context = layout.spread([prior.context(grid) for grid in coarse])
        self._past, self._near = layout.offsets(PAST), layout.offsets(PAST_AND_HERE)
        if prior.attention is not None:
            self._window = layout.offsets(ATTENTION_TAPS)
            self._keys = layout.buffer(prior.attention.width)
            self._values = layout.buffer(prior.attention.width).astype(np.float64)
            self._inside = layout.inside()

    def start(self, wavefront: Wavefront) -> Array:
        """See :class:`Trunk`."""
        prior, cells, step = self._prior, wavefront.cells, self._steps[wavefront.items]
        around = cells[:, None] + self._past
        busy = np.flatnonzero(self._occupied.take(around).any(1))
        context = None if self._context is None else self._context.take(cells, 0)
        h = prior.trunk_start(busy, self._embedded.take(around[busy], 0), context, step)
        if prior.attention is not None:
            seen = cells[:, None] + self._window
            query, self._keys[cells], self._values[cells] = prior.attention.queries_keys_values(h)
            keys, values, inside = self._keys.take(seen, 0), self._values.take(seen, 0), self._inside.take(seen)
            h = np.clip(h + prior.attention(query, keys, values, inside), 0, LIMIT)
        self._trunk[cells] = h
        known = np.zeros((len(cells), prior.channels + prior.embedding.channels), np.float32)
        known[:, : prior.channels] = prior.trunk_end(self._trunk.take(cells[:, None] + self._near, 0), h)
        return known

    def fill(self, wavefront: Wavefront, number: int, chosen: Indices, known: Array) -> None:
        """See :class:`Trunk`."""
        if chosen.any():
            channel, group = self._prior.heads[number].inputs, self._groups[number]
            embedded = self._prior.embedding.slice(number, chosen)
            known[:, channel : channel + embedded.shape[1]] = embedded
            self._indices[wavefront.cells, group : group + chosen.shape[1]] = chosen

    def finish(self, wavefront: Wavefront, known: Array) -> None:
        """See :class:`Trunk`."""
        embedded = known[:, self._prior.channels :]
        self._embedded[wavefront.cells] = embedded
        self._occupied[wavefront.cells] = embedded.any(1)

    def indices(self) -> list[Indices]:
        """See :class:`Trunk`."""
        return self._layout.collect(self._indices)


def walk(
    prior: IntegerLevelPrior,
    layout: WavefrontLayout,
    coarse: Sequence[Indices] | None,
    quality: Sequence[int],
    port: IndexPort,
    trunk_type: type[Trunk] = NumpyTrunk,
) -> list[Indices]:
    """Visit every position of every grid and return the indices (G, H, W) of each item.

    Args:
        prior: the level's prior.
        layout: the layout of the batch's grids.
        coarse: the next coarser level's indices (G', H / 2, W / 2) per item; None for the coarsest level.
        quality: quality step of each item.
        port: supplies the indices.
        trunk_type: computes the trunk.
    """
    trunk, steps = trunk_type(prior, layout, coarse, quality), np.asarray(quality)
    for wavefront in layout.wavefronts:
        known, step = trunk.start(wavefront), steps[wavefront.items]
        for number, head in enumerate(prior.heads):
            trunk.fill(wavefront, number, port.exchange(number, wavefront, head.predict(known, step)), known)
        trunk.finish(wavefront, known)
    return trunk.indices()
