"""Pixels <-> latents: an orthonormal block transform per level plus convolutional residual branches.

The block transforms start as principal components of training patches; every branch ends in a layer that starts at
zero, so training starts from a linear transform codec.  ``vqvae.py`` composes these networks with the quantizers:

    Analysis, BlockTransform:  pixels -> features and linear latents at every stride
    LatentProjection:          features (+ conditioning from coarser levels) -> correction of a level's latents
    LevelSynthesis:            a level's decoded latents -> conditioning of the next finer level
    PixelSynthesis:            the finest level's decoded latents -> pixels
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqcodec.config import LevelConfig, ModelConfig
from vqcodec.model.layers import ModuleSequence, QualityVector, ResidualBlocks, conv, upsample, zero_init


@dataclass(frozen=True)
class Conditioning:
    """Output of the decoded coarser levels that conditions a level's analysis and synthesis."""

    features: Tensor
    """(B, C, H, W) at the stride of the conditioned level, ``C`` channels of the coarser level."""
    predicted: Tensor
    """(B, predicted, H, W): linear prediction of the conditioned level's leading latents."""


class BlockTransform(nn.Module):
    """Linear transform of non-overlapping blocks to their leading coefficients, and back; orthonormal at the start."""

    def __init__(self, inputs: int, block: int, outputs: int):
        super().__init__()
        self.block = block
        basis = torch.zeros(outputs, inputs * block * block).fill_diagonal_(1)
        self.analysis = nn.Parameter(basis)
        self.synthesis = nn.Parameter(
            basis.T.clone(memory_format=torch.contiguous_format)
        )  # fused Adam needs state and weight with equal strides

    @torch.no_grad()
    def start(self, basis: Tensor) -> None:
        """Set both directions to an orthonormal ``basis``, rows (<= outputs, inputs * block^2); other rows are zero."""
        self.analysis.zero_()[: len(basis)] = basis[: len(self.analysis)]
        self.synthesis.copy_(self.analysis.T)

    # In float32: at high quality a latent spans more cells than bfloat16 resolves.
    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to coefficients (B, outputs, H / block, W / block)."""
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(F.pixel_unshuffle(x.float(), self.block), self.analysis[:, :, None, None])

    def inverse(self, latents: Tensor) -> Tensor:
        """Map coefficients (B, <= outputs, H, W) to (B, inputs, H * block, W * block); missing ones count as zero."""
        known = self.synthesis[:, : latents.shape[1], None, None]
        with torch.autocast(latents.device.type, enabled=False):
            return F.pixel_shuffle(F.conv2d(latents.float(), known), self.block)


class Analysis(nn.Module):
    """Map pixels to features at each level's stride."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        pixel, finest, knots = config.pixel_channels, config.finest, config.knots
        self.patch = finest.stride // 2
        self.stem = nn.Sequential(nn.PixelUnshuffle(self.patch), conv(3 * self.patch**2, pixel))
        self.pixel_blocks = ResidualBlocks(config.pixel_blocks, pixel, knots)
        widths = [pixel, *(level.channels for level in reversed(config.levels))]
        self.down = ModuleSequence(conv(a, b, stride=2) for a, b in zip(widths, widths[1:], strict=False))
        self.blocks = ModuleSequence(ResidualBlocks(1, width, knots) for width in widths[1:])

    @property
    def reach(self) -> list[int]:
        """Receptive-field radius in pixels of each level's features, coarse to fine."""
        stride = self.patch
        pixels = (1 + 2 * len(self.pixel_blocks)) * stride
        reach = []
        for blocks in self.blocks:
            pixels += stride  # the strided convolution
            stride *= 2
            pixels += 2 * len(blocks) * stride
            reach.append(pixels)
        return reach[::-1]

    def forward(self, x: Tensor, quality: Tensor) -> list[Tensor]:
        """Map ``x`` (B, 3, H, W), centred at 0, to features (B, C, H / stride, W / stride), coarse to fine."""
        h = self.pixel_blocks(self.stem(x), quality)
        features = []
        for down, blocks in zip(self.down, self.blocks, strict=True):
            h = blocks(down(h), quality)
            features.append(h)
        return features[::-1]


class LatentProjection(nn.Module):
    """Map a level's features and its conditioning to a correction of its linear latents."""

    def __init__(self, level: LevelConfig, coarse: LevelConfig | None, knots: int):
        super().__init__()
        conditioned = coarse.channels if coarse else 0
        self.join = nn.Conv2d(level.channels + conditioned, level.channels, 1)
        self.blocks = ResidualBlocks(level.analysis_blocks, level.channels, knots)
        self.out = zero_init(nn.Conv2d(level.channels, level.latents, 1))

    @property
    def reach(self) -> int:
        """Receptive-field radius in grid positions of this level."""
        return 2 * len(self.blocks)

    def forward(self, features: Tensor, conditioning: Conditioning | None, quality: Tensor) -> Tensor:
        """Map ``features`` (B, C, H, W) to (B, D, H, W)."""
        h = features if conditioning is None else torch.cat([features, conditioning.features.to(features.dtype)], 1)
        correction: Tensor = self.out(self.blocks(self.join(h), quality))
        return correction.float()


class LevelSynthesis(nn.Module):
    """Map a level's decoded latents and its conditioning to the conditioning of the next finer level."""

    def __init__(self, level: LevelConfig, coarse: LevelConfig | None, finer: LevelConfig, knots: int):
        super().__init__()
        self.join = conv(level.latents + (coarse.channels if coarse else 0), level.channels)
        self.blocks = ResidualBlocks(level.synthesis_blocks, level.channels, knots)
        self.up = upsample(level.channels, level.channels)
        self.fine_blocks = ResidualBlocks(1, level.channels, knots)
        self.transform = BlockTransform(finer.predicted, 2, level.latents)

    @property
    def reach(self) -> int:
        """Receptive-field radius in grid positions of this level."""
        return 1 + 2 * len(self.blocks) + len(self.fine_blocks)

    def forward(self, latents: Tensor, conditioning: Conditioning | None, quality: Tensor) -> Conditioning:
        """Map ``latents`` (B, D, H, W) to a conditioning at (2H, 2W)."""
        h = latents if conditioning is None else torch.cat([latents, conditioning.features.to(latents.dtype)], 1)
        h = self.up(self.blocks(self.join(h), quality))
        return Conditioning(self.fine_blocks(h, quality), self.transform.inverse(latents))


class PixelSynthesis(nn.Module):
    """Map the finest level's decoded latents and its conditioning to pixels."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        level, pixel, knots = config.finest, config.pixel_channels, config.knots
        coarse = config.levels[-2] if len(config.levels) > 1 else None
        self.patch = level.stride // 2
        self.transform = BlockTransform(3, level.stride, level.latents)
        self.join = conv(level.latents + (coarse.channels if coarse else 0), level.channels)
        self.blocks = ResidualBlocks(level.synthesis_blocks, level.channels, knots)
        self.up = upsample(level.channels, pixel)
        self.pixel_join = conv(pixel + 3 * self.patch**2, pixel)
        self.scale = QualityVector(knots, pixel, 1.0)
        self.pixel_blocks = ResidualBlocks(config.pixel_blocks, pixel, knots)
        self.out = zero_init(conv(pixel, 3 * self.patch**2))

    @property
    def reach(self) -> int:
        """Receptive-field radius in grid positions of the finest level."""
        return 1 + 2 * len(self.blocks) + 1 + len(self.pixel_blocks)

    def forward(self, latents: Tensor, conditioning: Conditioning | None, quality: Tensor) -> Tensor:
        """Map ``latents`` (B, D, H, W) to pixels (B, 3, H * stride, W * stride), nominally in [0, 1], not clipped."""
        linear = self.transform.inverse(latents)
        h = latents if conditioning is None else torch.cat([latents, conditioning.features.to(latents.dtype)], 1)
        h = self.up(self.blocks(self.join(h), quality))
        h = torch.cat([h, F.pixel_unshuffle(linear, self.patch).to(h.dtype)], 1)
        h = self.pixel_blocks(self.pixel_join(h), quality) * self.scale.image(quality).to(h.dtype)
        return linear + F.pixel_shuffle(self.out(h), self.patch).float() + 0.5

    def linear(self, latents: Tensor) -> Tensor:
        """Map ``latents`` (B, D, H, W) to coarse pixels (B, 3, H * stride, W * stride) by the transform alone."""
        return self.transform.inverse(latents) + 0.5
