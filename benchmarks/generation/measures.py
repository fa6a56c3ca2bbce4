"""How near a set of samples is to a set of real pictures, by their features."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.generation.pictures import Pictures
from vqcodec.training.classifier import train_classifier
from vqcodec.training.data import Crops

NEIGHBOURS = 3
"""Neighbours that span the manifolds of precision and recall, as in the paper."""


def inception_score(logits: Tensor) -> float:
    """Return ``exp E KL(p(y | x) || p(y))`` of logits (N, K) (Salimans et al. 2016, arXiv:1606.03498), up to K."""
    likely = logits.double().log_softmax(1)
    mean = likely.logsumexp(0) - math.log(len(likely))
    return float((likely.exp() * (likely - mean)).sum(1).mean().exp())


def precision_recall(real: Tensor, drawn: Tensor) -> tuple[float, float]:
    """Return improved precision and recall of features (N, D) and (M, D) (Kynkaanniemi et al. 2019, arXiv:1904.06991).

    Precision: the share of samples that lie in a ball around a real picture which reaches to its third neighbour among
    the real ones.  Recall: the same with the sets exchanged.
    """
    between = torch.cdist(drawn, real)
    precision = (between <= _radii(real)).any(1).float().mean()
    recall = (_radii(drawn) >= between.T).any(1).float().mean()
    return float(precision), float(recall)


def _radii(features: Tensor) -> Tensor:
    """Return the distance of each of the features (N, D) to its third neighbour, (N,)."""
    return torch.cdist(features, features).kthvalue(min(NEIGHBOURS + 1, len(features)), 1).values  # itself is first


@dataclass(frozen=True)
class ClassifierPlan:
    """Settings of the training of a study's classifiers."""

    steps: int = 300
    batch: int = 64
    seed: int = 0


def classification_accuracy(train: Pictures, test: Pictures, classes: tuple[str, ...], plan: ClassifierPlan) -> float:
    """Return the accuracy on ``test`` of a classifier that has seen ``train`` only.

    Of samples and real test pictures it is the classification accuracy score (Ravuri & Vinyals 2019, arXiv:1905.10887).
    """
    crops = Crops(list(train.pixels), plan.seed, labels=train.labels.tolist(), flip=False)
    edge = min(train.pixels.shape[2:])
    classifier = train_classifier(crops, classes, steps=plan.steps, batch=plan.batch, crop=edge)
    return classifier.accuracy(test.floats(), test.labels)
