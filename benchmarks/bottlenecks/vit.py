"""The transforms of ViT-VQGAN (Yu et al. 2022): a transformer over patches in place of the convolutions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.bottlenecks.protocol import Decoder, Shape

LAYERS = 4
"""Blocks of the encoder and of the decoder."""
HEADS = 4
WIDENING = 2
"""Channels of the transformer over those of the convolutions."""


class _Blocks(nn.Module):
    """Pre-norm transformer blocks with learned positions (Dosovitskiy et al. 2021)."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.width = WIDENING * shape.width
        self.position = nn.Parameter(0.02 * torch.randn(shape.grid**2, self.width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                self.width, HEADS, 2 * self.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(LAYERS)
        )
        self.norm = nn.LayerNorm(self.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W), each position a token."""
        tokens = x.flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed.transpose(1, 2).reshape(x.shape)


class Encoder(nn.Module):
    """Patches -> tokens -> latents."""

    def __init__(self, shape: Shape, inputs: int):
        super().__init__()
        self.patch = shape.stride
        self.blocks = _Blocks(shape)
        self.embed = nn.Conv2d(shape.channels * shape.stride**2, self.blocks.width, 1)
        self.out = nn.Conv2d(self.blocks.width, inputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, S, S) to (B, inputs, H, W)."""
        z: Tensor = self.out(self.blocks(self.embed(F.pixel_unshuffle(x, self.patch))))
        return z


class PatchDecoder(Decoder):
    """Latents -> tokens -> patches."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.patch = shape.stride
        self.blocks = _Blocks(shape)
        self.embed = nn.Conv2d(shape.latents, self.blocks.width, 1)
        self.last = nn.Conv2d(self.blocks.width, shape.channels * shape.stride**2, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (B, D, H, W) to pictures (B, C, S, S)."""
        return F.pixel_shuffle(self.last(self.blocks(self.embed(latents))), self.patch)


def patch_transformer(shape: Shape, inputs: int) -> tuple[nn.Module, Decoder]:
    """Return encoder and decoder."""
    return Encoder(shape, inputs), PatchDecoder(shape)
