"""A model small enough for tests: two levels, every kind of layer, codebooks in one, two, four and eight dimensions."""

import numpy as np
import torch
from numpy.typing import NDArray

from vqcodec.config import LevelConfig, ModelConfig, PriorConfig, SliceConfig
from vqcodec.training.network import Network

TINY = ModelConfig(
    "tiny",
    (
        LevelConfig(
            16,
            8,
            (SliceConfig(2, 1, 32, rank=8), SliceConfig(3, 1, 16, rank=8)),
            prior=PriorConfig(channels=12, hidden=16, attention_heads=1),
        ),
        LevelConfig(
            8,
            12,
            (SliceConfig(4, 2, 16, rank=12), SliceConfig(2, 4, 24, rank=12), SliceConfig(1, 8, 9, rank=12)),
            predicted=4,
            prior=PriorConfig(channels=16, hidden=16),
        ),
    ),
    pixel_channels=8,
    pixel_blocks=1,
    knots=3,
)


def tiny_network(seed: int = 0) -> Network:
    """Return a network with random weights; no layer keeps its zero initialisation."""
    torch.manual_seed(seed)
    network = Network(TINY)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        for level in network.prior:
            for head in level.heads:
                head.coefficients.weight *= 20
    return network.eval()


def random_grids(shapes: list[tuple[int, int]], seed: int = 0) -> list[NDArray[np.int32]]:
    """Return random indices (G, H, W) for the levels of :data:`TINY`."""
    rng = np.random.default_rng(seed)
    grids = []
    for level, shape in zip(TINY.levels, shapes, strict=True):
        grids.append(np.concatenate([rng.integers(s.size, size=(s.groups, *shape)) for s in level.slices]))
    return [g.astype(np.int32) for g in grids]
