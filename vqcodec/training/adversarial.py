"""A patch discriminator, which learns to tell original pictures from decoded ones, and its hinge loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (48, 96, 192)
"""Channels of the discriminator, each at half the resolution of the one before."""


class ConditionalDiscriminator(nn.Module):
    """Score each patch of a picture as original (positive) or decoded, beside the faithful picture of the same indices.

    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, with spectral
    normalisation (Miyato et al., ICLR 2018) as in HiFiC (Mentzer et al., NeurIPS 2020, appendix A.1).
    """

    def __init__(self) -> None:
        super().__init__()
        widths = [6, *WIDTHS]
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2)]
        layers += [spectral_norm(nn.Conv2d(widths[-1], widths[-1], 3, 1, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 1))

    def forward(self, x: Tensor, faithful: Tensor) -> Tensor:
        """Return scores (B, 1, H / 8, W / 8) of pictures ``x`` given ``faithful``, both (B, 3, H, W) in [0, 1]."""
        scores: Tensor = self.layers(2 * torch.cat([x, faithful], 1) - 1)
        return scores


def hinge(real: Tensor, decoded: Tensor) -> Tensor:
    """Return the discriminator's loss from scores of real and decoded pictures (Lim & Ye 2017, arXiv:1705.02894)."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + decoded).mean())
