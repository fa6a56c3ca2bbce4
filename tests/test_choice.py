"""The choice of indices: what the encoder and training take as the cheapest is the cheapest of all."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tiny import random_head, random_prediction
from vqcodec.coding import symbols
from vqcodec.coding.likelihood import CodeLength
from vqcodec.coding.symbols import RateDistortionSelector, SliceLatents
from vqcodec.coding.traversal import Wavefront
from vqcodec.config import BIT_PRICE, SliceConfig
from vqcodec.model.quantizer import ProductQuantizer
from vqcodec.outer_points import nearest
from vqcodec.training.objective import _price_of_use

COUNT = 40
"""Positions of a wavefront."""


def cost(prediction_of, indices, z, points):
    """Return the squared error + price of bits (N,) of ``indices`` (N, G), whose values are ``points`` (N, G, d)."""
    counter = CodeLength(len(indices), lambda *_: indices)
    items = np.arange(len(indices))
    counter.exchange(0, Wavefront(items, items), prediction_of())
    return np.square(z - points).sum((1, 2)) + BIT_PRICE * counter.bits


@pytest.mark.parametrize("strength", [0.02, 0.1])
@pytest.mark.parametrize(
    ("config", "spread"),
    [
        (SliceConfig(1, 1, 9), 4.0),
        (SliceConfig(3, 1, 4), 1.5),
        (SliceConfig(2, 2, 8), 1.0),
        (SliceConfig(4, 2, 3), 1.0),
        (SliceConfig(2, 4, 9), 0.7),
        (SliceConfig(2, 8, 5), 0.6),
    ],
    ids=str,
)
def test_the_encoder_chooses_the_least_cost(monkeypatch, config, spread, strength):
    """Against all combinations of codewords and near outer points, but for latents that are zero by rule."""
    monkeypatch.setattr(symbols, "LEAST_OUTER_COST", 0.0)  # otherwise outer points are not always tried
    head = random_head(config, strength=strength)
    codebooks = ProductQuantizer(config, 2, entropy_constrained=True).codebook.numpy()
    rng = np.random.default_rng(3)
    z = (rng.laplace(size=(COUNT, config.groups, config.dim)) * spread).astype(np.float32)
    radii, words_radii = np.linalg.norm(z, axis=2), np.linalg.norm(codebooks, axis=2)
    plainly_zero = radii <= words_radii[:, 1:].min(1) / 2
    prediction_of = partial(random_prediction, head, COUNT)
    selector = RateDistortionSelector([SliceLatents.of(z.reshape(COUNT, -1), codebooks)])
    chosen = selector(0, Wavefront(np.arange(COUNT), np.zeros(COUNT, np.intp)), prediction_of())
    assert not chosen[plainly_zero].any()

    outer, places = nearest(config, z.reshape(-1, config.dim))
    outer, places = outer.reshape(z.shape[:2]), places.reshape(z.shape)
    own = np.where((chosen < 0)[:, :, None], places, codebooks[np.arange(config.groups), np.maximum(chosen, 0)])
    assert (chosen[chosen < 0] == outer[chosen < 0]).all()
    found = cost(prediction_of, chosen, z, own)
    least = np.full(COUNT, np.inf)
    for combination in itertools.product(range(-1, config.size), repeat=config.groups):
        take = np.array(combination)
        indices = np.where(take < 0, outer, take).astype(np.int32)
        indices[plainly_zero] = 0
        points = np.where(
            (indices < 0)[:, :, None], places, codebooks[np.arange(config.groups), np.maximum(indices, 0)]
        )
        least = np.minimum(least, cost(prediction_of, indices, z, points))
    assert (found <= least + 2e-3).all()
    if strength == 0.02:
        assert (chosen != 0).any() and (chosen == 0).any()


@pytest.mark.parametrize("config", [SliceConfig(3, 2, 12), SliceConfig(1, 16, 20)], ids=str)
def test_without_shells_each_index_is_chosen_alone(config):
    head = random_head(config, by_shells=False, strength=0.02)
    codebooks = ProductQuantizer(config, 2, entropy_constrained=False).codebook.numpy()
    z = np.random.default_rng(0).normal(size=(COUNT, config.groups, config.dim)).astype(np.float32)
    selector = RateDistortionSelector([SliceLatents.of(z.reshape(COUNT, -1), codebooks)])
    prediction_of = partial(random_prediction, head, COUNT)
    chosen = selector(0, Wavefront(np.arange(COUNT), np.zeros(COUNT, np.intp)), prediction_of())
    found = cost(prediction_of, chosen, z, codebooks[np.arange(config.groups), chosen])
    for group, word in itertools.product(range(config.groups), range(config.size)):
        other = chosen.copy()
        other[:, group] = word
        assert (found <= cost(prediction_of, other, z, codebooks[np.arange(config.groups), other]) + 2e-3).all()


@given(st.integers(1, 5), st.integers(0, 2**32), st.floats(0, 1), st.floats(0.1, 5))
def test_the_price_of_use_is_a_difference_of_code_lengths(groups, seed, zeros, spread):
    rng = np.random.default_rng(seed)
    used = rng.random(groups) >= zeros
    zero_share = rng.uniform(0.01, 0.99, groups) ** spread
    zero_share = np.clip(zero_share, 1e-3, 1 - 1e-3)
    lengths = rng.dirichlet(np.full(groups + 1, 1.0)) + 1e-6

    def bits(used):
        """The length, zeros within it, and that the last one is not zero; without shells and codewords."""
        length = int(np.flatnonzero(used).max(initial=-1)) + 1
        total = -np.log2(lengths[length])
        for place in range(length):
            if not used[place]:
                total -= np.log2(zero_share[place])
        return total if not length else total + np.log2(1 - zero_share[length - 1])

    found = _price_of_use(
        torch.from_numpy(-np.log2(zero_share))[:, None],
        torch.from_numpy(-np.log2(lengths))[None],
        torch.from_numpy(np.where(used, rng.choice([4, -17], groups), 0))[:, None],
    )
    for place in range(groups):
        with_it, without = used.copy(), used.copy()
        with_it[place], without[place] = True, False
        assert float(found[place, 0]) == pytest.approx(bits(with_it) - bits(without), abs=1e-4)
