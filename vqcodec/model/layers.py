"""Building blocks of the transforms: quality-conditioned residual blocks, up- and downsampling.

The masked integer convolutions of the prior are in ``exact.py``.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

M = TypeVar("M", bound=nn.Module)


class QualityVector(nn.Module):
    """A learned vector per quality: one at each knot, interpolated linearly between knots."""

    def __init__(self, knots: int, channels: int, start: float = 0.0):
        super().__init__()
        self.values = nn.Parameter(torch.full((knots, channels), start))

    def forward(self, quality: Tensor) -> Tensor:
        """Return the vectors (B, C) at ``quality`` (B,) in ``[0, knots - 1]``."""
        low = quality.long().clamp(0, len(self.values) - 2)
        return torch.lerp(self.values[low], self.values[low + 1], (quality - low)[:, None])

    def image(self, quality: Tensor) -> Tensor:
        """Return the vectors as (B, C, 1, 1), to broadcast over a picture."""
        vectors: Tensor = self(quality)
        return vectors[:, :, None, None]


class ResidualBlock(nn.Module):
    """``x + scale(quality) * conv(f(conv(f(x)) + bias(quality)))`` with 3x3 kernels and the leaky ReLU ``f``."""

    def __init__(self, channels: int, knots: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.bias = QualityVector(knots, channels)
        self.scale = QualityVector(knots, channels, 1.0)
        with torch.no_grad():
            self.second.weight *= 0.3

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        """Map ``x`` (B, C, H, W) to (B, C, H, W) for ``quality`` (B,)."""
        y = self.first(F.leaky_relu(x, 0.1)) + self.bias.image(quality).to(x.dtype)
        branch: Tensor = self.second(F.leaky_relu(y, 0.1)) * self.scale.image(quality).to(x.dtype)
        return x + branch


class ModuleSequence(nn.ModuleList, Generic[M]):
    """A module list with a static element type."""

    def __init__(self, modules: Iterable[M] = ()):
        super().__init__(modules)

    def __iter__(self) -> Iterator[M]:
        """Iterate over the modules in order."""
        return cast(Iterator[M], super().__iter__())

    def __getitem__(self, index: int) -> M:  # type: ignore[override]
        """Return the module at ``index``."""
        return cast(M, super().__getitem__(index))


class ResidualBlocks(ModuleSequence[ResidualBlock]):
    """``count`` residual blocks in sequence."""

    def __init__(self, count: int, channels: int, knots: int):
        super().__init__(ResidualBlock(channels, knots) for _ in range(count))

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        """Map ``x`` (B, C, H, W) to (B, C, H, W) for ``quality`` (B,)."""
        for block in self:
            x = block(x, quality)
        return x


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps H and W, or halves them with ``stride=2``."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


def upsample(inputs: int, outputs: int) -> nn.Sequential:
    """Return a sub-pixel convolution (B, inputs, H, W) -> (B, outputs, 2H, 2W) (Shi et al. 2016)."""
    return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 1), nn.PixelShuffle(2))


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Set a layer's parameters to zero, so that a residual branch that ends in it starts at zero, and return it."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
