"""Train the classifier that rejection sampling and the measures of samples need."""

import torch
from torch.nn import functional as F

from vqcodec.model.classifier import Classifier
from vqcodec.training.data import Crops

RATE = 2e-3
"""Peak learning rate (Adam); it falls to zero along a cosine."""


def train_classifier(crops: Crops, classes: tuple[str, ...], *, steps: int, batch: int, crop: int) -> Classifier:
    """Return a classifier of labelled crops of ``crop`` pixels, ready for use.

    The same seed of ``crops`` gives the same batches and the same initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(crops.seed)
        classifier = Classifier(classes)
    optimizer = torch.optim.Adam(classifier.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for number in range(steps):
        x, labels = crops.labelled(number, batch, crop)
        loss = F.cross_entropy(classifier(x), labels, label_smoothing=0.05)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return classifier.eval().requires_grad_(False)
