"""Grids of codebook indices: the noun between the model, which makes them, and the coder, which packs them."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Grids:
    """The indices of a batch of equally large pictures, one tensor per level, coarse to fine.

    Each level is ``(B, G, H, W) int64``: ``G`` indices side by side at every position of a grid of ``H`` rows.
    """

    levels: tuple[Tensor, ...]

    @property
    def top(self) -> Tensor:
        """The coarsest grid: layout, illumination, large shapes."""
        return self.levels[0]

    @property
    def bottom(self) -> Tensor:
        """The finest grid: texture and edges."""
        return self.levels[-1]
