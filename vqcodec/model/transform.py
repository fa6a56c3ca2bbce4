"""Pixels <-> latents: an orthonormal block transform per level plus convolutional residual branches.

The linear part starts as the principal components of training patches and is already a decent codec; every branch
ends in a layer that starts at zero, so training starts from that codec.  Quantization is not here: between analysis
and synthesis, ``vqvae.py`` turns each level's latents into codewords.

    analysis:   pixels -> features at every stride, linear latents at every stride
    project:    features (+ what coarser levels say) -> correction of a level's latents
    synthesis:  decoded latents -> what they say to the next finer level -> ... -> pixels
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqcodec.config import LevelConfig, ModelConfig
from vqcodec.model.layers import ResidualBlocks, ModuleSequence, QualityVector, conv, upsample, zero_init


@dataclass(frozen=True)
class Conditioning:
    """What the decoded coarser levels say to a level."""

    features: Tensor
    """(B, C, H, W) at the stride of the level that listens."""
    predicted: Tensor
    """(B, predicted, H, W): its leading latents, as far as the coarser level knows them."""


class BlockTransform(nn.Module):
    """Orthonormal transform of non-overlapping blocks, truncated to the leading coefficients, and its transpose."""

    def __init__(self, inputs: int, block: int, outputs: int):
        super().__init__()
        self.block = block
        basis = torch.zeros(outputs, inputs * block * block).fill_diagonal_(1)
        self.analysis = nn.Parameter(basis)
        self.synthesis = nn.Parameter(
            basis.T.clone(memory_format=torch.contiguous_format)
        )  # fused Adam wants state and weight strided alike

    @torch.no_grad()
    def start(self, basis: Tensor) -> None:
        """Set both directions to an orthonormal ``basis`` (outputs or fewer, inputs * block^2); the rest is zero."""
        self.analysis.zero_()[: len(basis)] = basis[: len(self.analysis)]
        self.synthesis.copy_(self.analysis.T)

    # Full precision: at high quality a latent spans more cells than bfloat16 has steps.
    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / block, W / block)."""
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(F.pixel_unshuffle(x.float(), self.block), self.analysis[:, :, None, None])

    def inverse(self, latents: Tensor) -> Tensor:
        """(B, outputs, H, W) -> (B, inputs, H * block, W * block); of fewer latents, as if the others were zero."""
        known = self.synthesis[:, : latents.shape[1], None, None]
        with torch.autocast(latents.device.type, enabled=False):
            return F.pixel_shuffle(F.conv2d(latents.float(), known), self.block)


class Analysis(nn.Module):
    """Pixels -> features at each level's stride.  Nothing decoded enters here."""

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
        """How many pixels away a pixel still matters for each level's features, coarse to fine."""
        stride = self.patch
        pixels = (1 + 2 * len(self.pixel_blocks)) * stride
        reach = []
        for blocks in self.blocks:
            pixels += stride  # the convolution that halves
            stride *= 2
            pixels += 2 * len(blocks) * stride
            reach.append(pixels)
        return reach[::-1]

    def forward(self, x: Tensor, quality: Tensor) -> list[Tensor]:
        """``x`` (B, 3, H, W), centred at 0 -> features (B, C, H / stride, W / stride), coarse to fine."""
        h = self.pixel_blocks(self.stem(x), quality)
        features = []
        for down, blocks in zip(self.down, self.blocks, strict=True):
            h = blocks(down(h), quality)
            features.append(h)
        return features[::-1]


class LatentProjection(nn.Module):
    """A level's features, and the conditioning from coarser levels, -> a correction of its linear latents."""

    def __init__(self, level: LevelConfig, coarse: LevelConfig | None, knots: int):
        super().__init__()
        heard = coarse.channels if coarse else 0
        self.join = nn.Conv2d(level.channels + heard, level.channels, 1)
        self.blocks = ResidualBlocks(level.analysis_blocks, level.channels, knots)
        self.out = zero_init(nn.Conv2d(level.channels, level.latents, 1))

    @property
    def reach(self) -> int:
        """How many positions away a feature still matters."""
        return 2 * len(self.blocks)

    def forward(self, features: Tensor, conditioning: Conditioning | None, quality: Tensor) -> Tensor:
        """-> (B, D, H, W)."""
        h = features if conditioning is None else torch.cat([features, conditioning.features.to(features.dtype)], 1)
        return self.out(self.blocks(self.join(h), quality)).float()


class LevelSynthesis(nn.Module):
    """Decoded latents of a level (and the conditioning it got) -> the conditioning to the next finer level."""

    def __init__(self, level: LevelConfig, coarse: LevelConfig | None, finer: LevelConfig, knots: int):
        super().__init__()
        self.join = conv(level.latents + (coarse.channels if coarse else 0), level.channels)
        self.blocks = ResidualBlocks(level.synthesis_blocks, level.channels, knots)
        self.up = upsample(level.channels, level.channels)
        self.fine_blocks = ResidualBlocks(1, level.channels, knots)
        self.transform = BlockTransform(finer.predicted, 2, level.latents)

    @property
    def reach(self) -> int:
        """How many positions of this level away a latent still matters."""
        return 1 + 2 * len(self.blocks) + len(self.fine_blocks)

    def forward(self, latents: Tensor, conditioning: Conditioning | None, quality: Tensor) -> Conditioning:
        """``latents`` (B, D, H, W) -> a conditioning at (2H, 2W)."""
        h = latents if conditioning is None else torch.cat([latents, conditioning.features.to(latents.dtype)], 1)
        h = self.up(self.blocks(self.join(h), quality))
        return Conditioning(self.fine_blocks(h, quality), self.transform.inverse(latents))


class PixelSynthesis(nn.Module):
    """Decoded latents of the finest level (and the conditioning it got) -> pixels."""

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
        """How many positions of the finest level away a latent still matters."""
        return 1 + 2 * len(self.blocks) + 1 + len(self.pixel_blocks)

    def forward(self, latents: Tensor, conditioning: Conditioning | None, quality: Tensor) -> Tensor:
        """``latents`` (B, D, H, W) -> (B, 3, H * stride, W * stride), centred at 0."""
        linear = self.transform.inverse(latents)
        h = latents if conditioning is None else torch.cat([latents, conditioning.features.to(latents.dtype)], 1)
        h = self.up(self.blocks(self.join(h), quality))
        h = torch.cat([h, F.pixel_unshuffle(linear, self.patch).to(h.dtype)], 1)
        h = self.pixel_blocks(self.pixel_join(h), quality) * self.scale.image(quality).to(h.dtype)
        return linear + F.pixel_shuffle(self.out(h), self.patch).float()
