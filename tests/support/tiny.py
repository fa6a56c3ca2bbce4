"""A model small enough for tests: two levels, every kind of layer, codebooks in one, two, four and eight dimensions."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vqcodec.config import LevelConfig, ModelConfig, PriorConfig, SliceConfig
from vqcodec.outer_points import largest_digit_bits, pack
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


PLAIN = dataclasses.replace(TINY, entropy_constrained=False)
"""The same, with one symbol for each index."""


def tiny_network(seed: int = 0, config: ModelConfig = TINY) -> Network:
    """Return a network with random weights; no layer keeps its zero initialisation."""
    torch.manual_seed(seed)
    network = Network(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        for level in network.prior:
            for head in level.heads:
                head.coefficients.weight *= 20
                if head.shells is not None:
                    head.shells.length.weight *= 20
                    head.shells.shell.weight *= 20
    return network.eval()


def random_grids(
    shapes: Sequence[tuple[int, int]], seed: int = 0, config: ModelConfig = TINY, zeros: float = 0.5
) -> list[NDArray[np.int32]]:
    """Return random indices (G, H, W) for the levels of ``config``: with shells, many zeros and some outer points."""
    rng = np.random.default_rng(seed)
    grids = []
    for level, shape in zip(config.levels, shapes, strict=True):
        parts = []
        for s in level.slices:
            chosen = rng.integers(s.size, size=(s.groups, *shape))
            if config.entropy_constrained:
                outer = random_outer_points(s, chosen.size, rng).reshape(chosen.shape)
                chosen = np.where(rng.random(chosen.shape) < 0.1, outer, chosen)
                chosen = np.where(rng.random(chosen.shape) < zeros, 0, chosen)
            parts.append(chosen)
        grids.append(np.concatenate(parts).astype(np.int32))
    return grids


def random_outer_points(config: SliceConfig, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return the indices (count,) of outer points with coordinates of every magnitude."""
    shell = rng.integers(len(config.outer_bits), size=count)
    bits = largest_digit_bits(config)[shell]
    digits = rng.integers(1 << rng.integers(bits[:, None] + 1, size=(count, config.dim)))
    largest = rng.integers(config.dim, size=count)
    digits[np.arange(count), largest] = rng.integers(1 << bits - 1, 1 << bits)
    return pack(config, shell, digits * rng.choice([-1, 1], size=digits.shape))
