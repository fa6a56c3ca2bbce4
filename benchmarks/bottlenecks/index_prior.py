"""A small autoregressive prior of the indices, for their rate and for samples: a PixelCNN (van den Oord et al. 2016).

It is trained beside each discrete member, on its indices, and sends it no gradient.  The codec's own prior works in
integers, on several levels; this one is as small as the purpose allows.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.bottlenecks.protocol import NATS_PER_BIT, Shape

WIDTH = 64


class _MaskedConv(nn.Conv2d):
    """3x3 convolution that sees positions above and to the left, and its own position unless ``first``."""

    mask: Tensor

    def __init__(self, first: bool):
        super().__init__(WIDTH, WIDTH, 3, padding=1)
        mask = torch.zeros(3, 3)
        mask[0], mask[1, 0], mask[1, 1] = 1, 1, float(not first)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=1)


class IndexPrior(nn.Module):
    """Probability of each index given all positions before it in raster order, and the groups before it there."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.tables = nn.Parameter(0.1 * torch.randn(shape.groups, shape.size, WIDTH))
        self.position = nn.Parameter(torch.zeros(WIDTH, shape.grid, shape.grid))
        self.first = _MaskedConv(first=True)
        self.more = nn.ModuleList(_MaskedConv(first=False) for _ in range(2))
        self.siblings = nn.Parameter(0.1 * torch.randn(shape.groups, shape.size, WIDTH))
        self.heads = nn.Parameter(0.1 * torch.randn(shape.groups, WIDTH, shape.size))
        self.bias = nn.Parameter(torch.zeros(shape.groups, 1, 1, 1, shape.size))

    def forward(self, indices: Tensor) -> Tensor:
        """Return logits (G, B, H, W, K) of ``indices`` (B, G, H, W)."""
        by_group = indices.transpose(0, 1)
        embedded = torch.stack([F.embedding(i, table) for i, table in zip(by_group, self.tables, strict=True)])
        h = self.first(embedded.sum(0).permute(0, 3, 1, 2)) + self.position
        for layer in self.more:
            h = h + layer(F.relu(h))
        context = h.permute(0, 2, 3, 1)
        siblings = torch.stack([F.embedding(i, table) for i, table in zip(by_group, self.siblings, strict=True)])
        before = torch.cat([torch.zeros_like(siblings[:1]), siblings[:-1].cumsum(0)])  # sums over the groups before
        return torch.einsum("gbhwc,gck->gbhwk", F.relu(context + before), self.heads) + self.bias

    def bits(self, indices: Tensor) -> Tensor:
        """Return the cross-entropy of ``indices`` (B, G, H, W) in bits per picture, (B,)."""
        logits = self(indices)
        nats = F.cross_entropy(logits.flatten(0, 3), indices.transpose(0, 1).flatten(), reduction="none")
        return nats.reshape(logits.shape[:4]).sum((0, 2, 3)) / NATS_PER_BIT

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw indices (count, G, H, W), position by position and group by group."""
        shape = self.shape
        indices = torch.zeros(count, shape.groups, shape.grid, shape.grid, dtype=torch.long)
        for row in range(shape.grid):
            for column in range(shape.grid):
                for group in range(shape.groups):
                    logits = self(indices)[group, :, row, column]
                    drawn = torch.multinomial(logits.softmax(1), 1, generator=generator)
                    indices[:, group, row, column] = drawn[:, 0]
        return indices
