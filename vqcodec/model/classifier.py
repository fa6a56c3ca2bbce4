"""A small convolutional classifier: it says of which class a sample is, and its features compare sets of pictures."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 128)
"""Channels of the stages, each at half the resolution of the one before it."""


class Classifier(nn.Module):
    """Pictures -> logits of classes.  Pictures may have any size of at least 8x8 pixels."""

    def __init__(self, classes: Sequence[str]):
        super().__init__()
        self.classes = tuple(classes)
        stages: list[nn.Module] = []
        inputs = 3
        for width in WIDTHS:
            stages += [
                nn.Conv2d(inputs, width, 3, padding=1),
                nn.GroupNorm(8, width),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, 2, padding=1),
                nn.GroupNorm(8, width),
                nn.ReLU(),
            ]
            inputs = width
        self.stages = nn.Sequential(*stages)
        self.last = nn.Linear(WIDTHS[-1], len(classes))

    def features(self, x: Tensor) -> Tensor:
        """Map pictures (B, 3, H, W) in [0, 1] to features (B, 128)."""
        features: Tensor = self.stages(2 * x - 1).mean((2, 3))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, 3, H, W) in [0, 1] to logits (B, classes)."""
        logits: Tensor = self.last(self.features(x))
        return logits

    @torch.no_grad()
    def accuracy(self, x: Tensor, labels: Tensor) -> float:
        """Return the share of pictures (B, 3, H, W) in [0, 1] that are found to be of their class ``labels`` (B,)."""
        found = torch.cat([self(part).argmax(1) for part in x.split(256)])
        return float((found == labels).float().mean())
