"""Two measures of realism by the features of EfficientNet-Lite0: of sets of patches, and of texture and structure."""

import torch
from torch import Tensor

from benchmarks.features import EfficientNetLite

PATCH = 64
"""Edge of the patches whose features are compared as a set."""
_CHANNELS = 320
"""Features of a patch."""
_STABLE = 1e-6
"""Keeps the quotients of :func:`dists` finite (Ding et al. 2020)."""


def patch_features(network: EfficientNetLite, x: Tensor) -> Tensor:
    """Return the mean features (N, 320) of a picture's (3, H, W) patches, in two grids half a patch apart.

    Heusel et al. 2017 compare such sets; of patches, and with the second grid, as HiFiC does (Mentzer et al. 2020,
    appendix A.7).
    """
    cut = [
        part.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).permute(1, 2, 0, 3, 4).flatten(0, 1)
        for part in (x, x[:, PATCH // 2 :, PATCH // 2 :])
        if min(part.shape[1:]) >= PATCH
    ]
    if not cut:
        return torch.zeros(0, _CHANNELS)
    return torch.cat([network.stages(part)[-1].mean((2, 3)) for patches in cut for part in patches.split(64)])


def dists(a: list[Tensor], b: list[Tensor]) -> float:
    """Return the distance in texture and structure of two pictures, from their features (1, C, H, W), 0 for equal ones.

    The formula of DISTS (Ding et al. 2020, arXiv:2004.07728, equations 4 to 6): means of features tell the texture,
    covariances the structure.  All features weigh the same; the published weights belong to another network.
    """
    similarity = []
    for x, y in zip(a, b, strict=True):
        mean_x, mean_y = x.mean((2, 3)), y.mean((2, 3))
        variance_x, variance_y = x.var((2, 3), correction=0), y.var((2, 3), correction=0)
        covariance = (x * y).mean((2, 3)) - mean_x * mean_y
        texture = (2 * mean_x * mean_y + _STABLE) / (mean_x**2 + mean_y**2 + _STABLE)
        structure = (2 * covariance + _STABLE) / (variance_x + variance_y + _STABLE)
        similarity.append((texture.mean() + structure.mean()).item() / 2)
    return 1 - sum(similarity) / len(similarity)
