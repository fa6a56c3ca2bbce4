"""A model small enough for tests: two levels, every kind of layer, codebooks in one, two, four and eight dimensions."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vqcodec.arithmetic import LIMIT
from vqcodec.coding.integer_prior import Head, SlicePrediction
from vqcodec.config import QUALITY_STEPS, LevelConfig, ModelConfig, PriorConfig, SliceConfig
from vqcodec.model.prior import SliceHead
from vqcodec.model.prior_arrays import integer_prior
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
HEAD_INPUTS = 6
"""Features from which the heads of :func:`random_head` predict."""


def tiny_network(seed: int = 0, config: ModelConfig = TINY, strength: float = 1.0) -> Network:
    """Return a network with random weights; no layer keeps its zero initialisation.

    The greater ``strength``, the more certain the prior is of what it predicts.
    """
    torch.manual_seed(seed)
    network = Network(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        for level in network.prior:
            for head in level.heads:
                _strengthen(head, strength)
    return network.eval()


def second_synthesis(seed: int = 1) -> dict[str, torch.Tensor]:
    """Return random weights of a second synthesis of the tiny model."""
    state = tiny_network(seed).vqvae.pixel_synthesis.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith("transform.")}


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


def _strengthen(head: SliceHead, strength: float) -> None:
    """Multiply the layers that are almost zero at first, and vary the tables."""
    head.coefficients.weight.mul_(20 * strength)
    if head.shells is not None:
        for layer in (head.shells.length, head.shells.shell):
            layer.weight.mul_(20 * strength)
        for table in (head.shells.ranges, head.shells.ranges_quality):
            table.add_(0.5 * strength * torch.randn_like(table))


def random_head(config: SliceConfig, *, by_shells: bool = True, strength: float = 1.0, seed: int = 0) -> Head:
    """Return a head with random weights for a slice, with :data:`HEAD_INPUTS` inputs."""
    torch.manual_seed(seed)
    head = SliceHead(config, HEAD_INPUTS, 8, 2, by_shells)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        _strengthen(head, strength)
    return Head.read(integer_prior(nn.ModuleDict({"0": head})), "0", config, (HEAD_INPUTS, 8), by_shells=by_shells)


def random_prediction(head: Head, count: int, seed: int = 0) -> SlicePrediction:
    """Return the prediction of a head at ``count`` positions with random features."""
    rng = np.random.default_rng(seed)
    return head.predict(
        rng.integers(LIMIT + 1, size=(count, HEAD_INPUTS)).astype(np.float32), rng.integers(QUALITY_STEPS, size=count)
    )
