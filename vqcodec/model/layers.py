"""Building blocks of the transforms: quality-conditioned residual blocks, up- and downsampling.

The masked convolutions of the prior are not here: they compute in integers and live in ``exact.py``.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

M = TypeVar("M", bound=nn.Module)


class QualityVector(nn.Module):
    """A learned vector for every quality: one per knot, linear in between."""

    def __init__(self, knots: int, channels: int, start: float = 0.0):
        super().__init__()
        self.values = nn.Parameter(torch.full((knots, channels), start))

    def forward(self, quality: Tensor) -> Tensor:
        """``quality`` (B,) in ``[0, knots - 1]`` -> (B, C)."""
        low = quality.long().clamp(0, len(self.values) - 2)
        return torch.lerp(self.values[low], self.values[low + 1], (quality - low)[:, None])

    def image(self, quality: Tensor) -> Tensor:
        """The same as (B, C, 1, 1), to be broadcast over a picture."""
        return self(quality)[:, :, None, None]


class ResidualBlock(nn.Module):
    """``x + scale(quality) * conv(relu(conv(relu(x)) + bias(quality)))``, 3x3, leaky."""

    def __init__(self, channels: int, knots: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.bias = QualityVector(knots, channels)
        self.scale = QualityVector(knots, channels, 1.0)
        with torch.no_grad():
            self.second.weight *= 0.3

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        y = self.first(F.leaky_relu(x, 0.1)) + self.bias.image(quality).to(x.dtype)
        return x + self.second(F.leaky_relu(y, 0.1)) * self.scale.image(quality).to(x.dtype)


class ModuleSequence(nn.ModuleList, Generic[M]):
    """A module list that knows what it holds, for the type checker's sake."""

    def __init__(self, parts: Iterable[M] = ()):
        super().__init__(parts)

    def __iter__(self) -> Iterator[M]:
        """The parts in order."""
        return cast(Iterator[M], super().__iter__())

    def __getitem__(self, index: int) -> M:  # type: ignore[override]
        """One part."""
        return cast(M, super().__getitem__(index))


class ResidualBlocks(ModuleSequence[ResidualBlock]):
    """ResidualBlock blocks, one after the other."""

    def __init__(self, count: int, channels: int, knots: int):
        super().__init__(ResidualBlock(channels, knots) for _ in range(count))

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        for block in self:
            x = block(x, quality)
        return x


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, or halves it with ``stride=2``."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


def upsample(inputs: int, outputs: int) -> nn.Sequential:
    """(B, inputs, H, W) -> (B, outputs, 2H, 2W) by sub-pixel convolution (Shi et al. 2016)."""
    return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 1), nn.PixelShuffle(2))


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Start a layer at zero, so that the branch which it ends starts as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
