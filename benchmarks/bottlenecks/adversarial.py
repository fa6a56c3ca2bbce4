"""The loss of VQ-GAN (Esser, Rombach & Ommer 2021): a patch discriminator beside the squared error."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.bottlenecks.protocol import Shape

START = 0.3
"""Fraction of the training before the discriminator takes part."""
MAX_WEIGHT = 1e4
"""Bound of the adaptive weight (the authors' code)."""
SHARE = 0.8
"""Factor of the adaptive weight (the authors' code)."""
MATCHING = 0.02
"""Weight of the feature-matching term, nats per sample of a picture and unit of mean absolute difference."""


class PatchDiscriminator(nn.Module):
    """Score each patch of a picture as real (positive) or decoded (Isola et al. 2017)."""

    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.width
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(shape.channels, width, 4, 2, 1),
                nn.Conv2d(width, width, 3, 1, 1),
                nn.Conv2d(width, width, 4, 2, 1),
            ]
        )
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores (B, 1, S / 4, S / 4) and the features of each layer for pictures (B, C, S, S)."""
        features = []
        h = x - 0.5
        for layer in self.layers:
            h = F.leaky_relu(layer(h), 0.2)
            features.append(h)
        return self.out(h), features


def adaptive_weight(distortion: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """Return the weight that makes both losses' gradients in the decoder's ``last`` layer equally long (equation 7)."""
    (g_distortion,) = torch.autograd.grad(distortion, last, retain_graph=True)
    (g_adversarial,) = torch.autograd.grad(adversarial, last, retain_graph=True)
    weight: Tensor = (g_distortion.norm() / (g_adversarial.norm() + 1e-6)).clamp(max=MAX_WEIGHT)
    return weight.detach()


def feature_matching(real: list[Tensor], decoded: list[Tensor]) -> Tensor:
    """Return the mean absolute difference of the discriminator's features (Larsen et al. 2016), in place of LPIPS."""
    return torch.stack([(a.detach() - b).abs().mean() for a, b in zip(real, decoded, strict=True)]).mean()


def generator_loss(discriminator: PatchDiscriminator, x: Tensor, y: Tensor, distortion: Tensor, last: Tensor) -> Tensor:
    """Return what the discriminator adds to the loss of the reconstruction ``y`` of ``x``, in units of the distortion.

    ``last`` is the weight of the decoder's last layer.
    """
    with torch.no_grad():
        _, real = discriminator(x)
    scores, decoded = discriminator(y)
    adversarial: Tensor = -scores.mean()
    weight = SHARE * adaptive_weight(distortion, adversarial, last)
    return weight * adversarial + MATCHING * feature_matching(real, decoded)
