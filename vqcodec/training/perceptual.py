"""The perceptual distance LPIPS between two pictures (Zhang et al., CVPR 2018, arXiv:1801.03924).

In its shift-tolerant form, which halves features after a blur (Ghildyal & Liu, ECCV 2022, arXiv:2207.13686).

Only the weights of the package ``stlpips-pytorch`` are read, as tensors: none of its code is run, nothing is unpickled.
"""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Net = Literal["alex", "vgg"]
"""AlexNet, or VGG-16: five times as slow."""

_PACKAGE = "stlpips_pytorch"
_POOL = {"alex": 3, "vgg": 2}
"""Edge of the windows of which each network takes the maximum before it halves its features."""
_PADDING = {11: 2, 5: 2, 3: 1}
"""Padding of convolutions, by the edge of their kernels."""
_EPS = 1e-10


def _weights_file(net: Net) -> Path:
    """Return the file of a network's weights.  Raises ``ModuleNotFoundError`` if the package is missing."""
    spec = find_spec(_PACKAGE)  # without importing it: that would need torchvision
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {_PACKAGE!r}", name="stlpips-pytorch")
    return Path(spec.origin).parent / "weights" / "vST0.0" / f"{net}_shift_tolerant.pth"


class PerceptualDistance(nn.Module):
    """The distance of pictures in the features of a network that was trained to see.  Its weights are frozen."""

    _shift: Tensor
    _scale: Tensor

    def __init__(self, net: Net = "alex"):
        """Raises ``ModuleNotFoundError`` if the package ``stlpips-pytorch`` is not installed."""
        super().__init__()
        tensors = torch.load(_weights_file(net), map_location="cpu", weights_only=True)
        self._pool = _POOL[net]
        found: dict[int, set[int]] = {}
        for name, tensor in tensors.items():
            if part := re.fullmatch(r"net\.slice(\d)\.(\d+)\.(weight|bias|filt)", name):
                self.register_buffer(f"{part[3]}_{part[2]}", tensor)
                found.setdefault(int(part[1]), set()).add(int(part[2]))
            elif part := re.fullmatch(r"lin(\d)\.model\.1\.weight", name):
                self.register_buffer(f"shares_{part[1]}", tensor)
        self._stages = [sorted(found[stage]) for stage in sorted(found)]
        """Numbers of the layers of each stage, after which features are compared."""
        self.register_buffer("_shift", tensors["scaling_layer.shift"])
        self.register_buffer("_scale", tensors["scaling_layer.scale"])

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the features (B, C, H, W) of each stage, fine to coarse, for pictures (B, 3, H, W) in [0, 1]."""
        h = (2 * x - 1 - self._shift) / self._scale
        features = []
        for stage in self._stages:
            for layer in stage:
                blur = getattr(self, f"filt_{layer}", None)
                if blur is None:
                    kernel = getattr(self, f"weight_{layer}")
                    h = F.conv2d(h, kernel, getattr(self, f"bias_{layer}"), padding=_PADDING[kernel.shape[-1]])
                else:
                    h = F.max_pool2d(h, self._pool, 1) if stage is not self._stages[0] else h
                    h = F.conv2d(F.pad(h, (2, 2, 2, 2), mode="reflect"), blur, stride=2, groups=len(blur))
                if layer + 1 not in stage:  # rectifiers have no weights, but a number
                    h = F.relu(h)
            features.append(h)
        return features

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distance (B,) of pictures ``x`` and ``y`` (B, 3, H, W) in [0, 1]; gradients reach both."""
        return self.compare(self.features(x), self.features(y))

    def compare(self, one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """Return the distance (B,) of pictures, given what :meth:`features` returns for them."""
        distance = one[0].new_zeros(len(one[0]))
        for stage, (a, b) in enumerate(zip(one, other, strict=True)):
            difference = (_normalized(a) - _normalized(b)).square()
            distance = distance + F.conv2d(difference, getattr(self, f"shares_{stage}")).mean((1, 2, 3))
        return distance


def _normalized(features: Tensor) -> Tensor:
    """Scale the features of each position to length 1; zeros stay, and have a finite gradient."""
    return features * (features.square().sum(1, keepdim=True) + _EPS).rsqrt()
