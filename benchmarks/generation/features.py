"""Networks whose features compare sets of pictures.

The measures of the literature use an Inception network whose weights are not in any package; EfficientNet-Lite0 (Tan &
Le 2019) is, and a classifier of the data itself says more of pictures unlike photographs.  Numbers of different
features cannot be compared.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.errors import FeaturesUnavailable
from benchmarks.features import EfficientNetLite
from vqcodec.model.classifier import Classifier

_BATCH = 64
_EFFICIENTNET_EDGE = 224
_INCEPTION_EDGE = 299


@dataclass(frozen=True)
class Features:
    """Map pictures (B, 3, H, W) in [0, 1] to features (B, D) and logits (B, K)."""

    name: str
    compute: Callable[[Tensor], tuple[Tensor, Tensor]]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map pictures (N, 3, H, W) in [0, 1] to features (N, D) and logits (N, K), in batches."""
        features, logits = zip(*(self.compute(part) for part in x.split(_BATCH)), strict=True)
        return torch.cat(features), torch.cat(logits)


def of_classifier(classifier: Classifier) -> Features:
    """Return the features of a classifier of the data."""

    def compute(x: Tensor) -> tuple[Tensor, Tensor]:
        features = classifier.features(x)
        return features, classifier.last(features)

    return Features("classifier of the data", compute)


def efficientnet() -> Features:
    """Return the features of EfficientNet-Lite0, trained on ImageNet.  Raises :class:`FeaturesUnavailable`."""
    network = EfficientNetLite()
    return Features("EfficientNet-Lite0", lambda x: network.features_and_logits(_resized(x, _EFFICIENTNET_EDGE)))


def inception() -> Features:
    """Return the features of torch-fidelity's Inception, whose weights it downloads on first use.

    Raises :class:`FeaturesUnavailable` without the library or its weights.
    """
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        network = NoTrainInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
    except (ImportError, OSError) as error:
        raise FeaturesUnavailable(f"Inception cannot be had: {error}; use other --features") from error

    def compute(x: Tensor) -> tuple[Tensor, Tensor]:
        bytes_ = (255 * _resized(x, _INCEPTION_EDGE)).round().byte()
        features, logits = network._torch_fidelity_forward(bytes_)
        return features, logits

    return Features("Inception", compute)


def _resized(x: Tensor, edge: int) -> Tensor:
    return F.interpolate(x, (edge, edge), mode="bilinear", align_corners=False, antialias=True)
