"""Grids of codebook indices: the quantizer's output and the prior's input."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Grids:
    """Indices of a batch of pictures of one size."""

    levels: tuple[Tensor, ...]
    """One tensor (B, G, H, W) int64 per level, coarse to fine: ``G`` indices at every grid position."""
