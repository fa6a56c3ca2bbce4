"""Code one level of a batch of pictures, in either direction: group its tiles and walk each group's wavefronts.

The encoder gives latents and gets indices and payloads; the decoder gives payloads and gets indices.  Which tiles share
a walk, which coarser tile each one depends on, and how many walks run at once is decided here for both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vqcodec.codec.grid import Grid
from vqcodec.codec.tiles import Tiling
from vqcodec.coding.slice_symbols import Indices
from vqcodec.concurrency.grouping import GROUP_PIXELS
from vqcodec.concurrency.memory import trim_heap
from vqcodec.concurrency.threads import default_threads, map_in_threads

Source = TypeVar("Source")
Result = TypeVar("Result")


@dataclass(frozen=True)
class TileGroup(Generic[Source]):
    """Tiles of a level that share one walk.  Each list has an entry per tile."""

    sources: list[Source]
    """Latents (D, H, W) in codebook cells, or payloads."""
    shapes: list[tuple[int, int]]
    """``(rows, columns)`` of the tiles' grids."""
    coarse: list[Indices] | None
    """Indices (G', H / 2, W / 2) of the next coarser level; None at the coarsest."""
    steps: list[int]
    """Quality steps."""


@dataclass(frozen=True)
class CodedLevel(Generic[Result]):
    """The indices of one level."""

    tiling: Tiling
    grids: list[Grid]
    """One per picture; zero, the codeword that adds nothing, where a tile was not coded."""
    numbers: Sequence[int]
    """Which tiles were coded, in ascending order."""
    results: list[Result]
    """What ``code`` returned for these tiles, in the same order: payloads, or nothing when decoding."""

    def tile(self, number: int) -> Indices:
        """Return the indices (G, H, W) of a tile."""
        return self.grids[self.tiling.owners[number]].read(*self.tiling.windows[number])


def code_level(
    tiling: Tiling,
    codebooks: int,
    steps: Sequence[int],
    coarse: CodedLevel[Any] | None,
    numbers: Sequence[int],
    source: Callable[[int], Source],
    code: Callable[[TileGroup[Source]], tuple[list[Indices], list[Result]]],
) -> CodedLevel[Result]:
    """Code some tiles of a level.

    Args:
        tiling: the tiles of the level, of all pictures.
        codebooks: indices ``G`` at each position.
        steps: quality step of each picture.
        coarse: the next coarser level; None at the coarsest.
        numbers: which tiles to code, in ascending order.
        source: returns what a tile is coded from.  Called in the caller's thread, in the order of ``numbers``.
        code: turns a group into the indices and a result of each tile.  Called in several threads at once.
    """
    grids = tiling.blank(codebooks)
    tile_steps = tiling.repeat(steps)
    portions = tiling.portions(GROUP_PIXELS, numbers)
    groups = (
        TileGroup(
            [source(i) for i in portion],
            [tiling.tile_shapes[i] for i in portion],
            None if coarse is None else [coarse.tile(i) for i in portion],
            [tile_steps[i] for i in portion],
        )
        for portion in portions
    )
    results: list[Result] = []
    coded = map_in_threads(code, groups, min(default_threads(), len(portions)))
    for portion, (indices, made) in zip(portions, coded, strict=True):
        for i, tile in zip(portion, indices, strict=True):
            grids[tiling.owners[i]].write(*tiling.windows[i], tile)
        results += made
        if len(portions) > 1:
            trim_heap()  # a walk's buffers are large, and each thread has a heap of its own
    return CodedLevel(tiling, grids, numbers, results)
