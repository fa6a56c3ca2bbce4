"""Efforts: rounds never cost more, and streams do not depend on threads or on other pictures."""

import itertools

import numpy as np
import pytest
import torch
from skimage import data as samples

from tests.support.tiny import tiny_network
from vqcodec import Codec, defaults
from vqcodec.codec import encoder
from vqcodec.codec.effort import CONTEXT_FROM, PLANS, Plan, step_share
from vqcodec.images.reading import Picture
from vqcodec.model import rate_gradient
from vqcodec.model.grids import Grids
from vqcodec.model.rate_gradient import rate_gradients
from vqcodec.stream.container import Layout

PIXELS = np.ascontiguousarray(samples.chelsea()[100:148, 130:194])
WITH_CONTEXT = next(effort for effort, plan in enumerate(PLANS) if plan.rounds > CONTEXT_FROM)


@pytest.fixture(scope="module")
def shipped():
    return Codec(device="cpu")


def cost(codec, step, effort):
    """Return the rate-distortion cost of a stream of indices, in bits."""
    data = codec._encode_pictures([Picture(PIXELS, Layout.RGB)], [step], effort, lossless=False)[0]
    error = np.asarray(codec.decode(data)).astype(float) - PIXELS
    return 8 * len(data) + codec.model.config.lambda_at(step / 255) * np.square(error).sum() / 3


def test_more_rounds_never_cost_more(tiny_codec):
    costs = [cost(tiny_codec, 150, effort) for effort in range(2, WITH_CONTEXT + 1)]
    rounding = 1e-4  # the encoder judges its rounds in bfloat16 where the processor is faster with it
    assert all(b <= a * (1 + rounding) for a, b in itertools.pairwise(costs)), costs


def test_rounds_pay(shipped):
    costs = [cost(shipped, 60, effort) for effort in (2, 3, 4)]
    assert costs[2] <= costs[1] <= costs[0] and costs[2] < 0.995 * costs[0]


def test_plans_grow():
    assert len(PLANS) == len(defaults.EFFORTS)
    assert all(a.first_steps <= b.first_steps and a.rounds <= b.rounds for a, b in itertools.pairwise(PLANS))
    shares = [step_share(number) for number in range(20)]
    assert shares == sorted(shares, reverse=True) and shares[0] == 1


@pytest.mark.parametrize("name", ["tiny_codec", "shipped"])
def test_threads_and_other_pictures_change_nothing(request, monkeypatch, name):
    monkeypatch.setattr(encoder, "PLANS", (Plan(2, 2),))
    monkeypatch.setattr(encoder, "CONTEXT_FROM", 1)
    codec, effort = request.getfixturevalue(name), 0
    pictures = [PIXELS, np.ascontiguousarray(PIXELS[::-1, :40])]
    alone = [codec.encode(picture, 30, effort=effort, lossless=False) for picture in pictures]
    together = [one.data for one in codec.encode_batch(pictures, 30, effort=effort, lossless=False)]
    assert together == alone
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        again = [codec.encode(picture, 30, effort=effort, lossless=False) for picture in pictures]
    finally:
        torch.set_num_threads(threads)
    assert again == alone


def gradients_and_bits(network, seed=0):
    """Return random latents and indices of a network, and the gradients of their later bits."""
    generator = torch.Generator().manual_seed(seed)
    quality = torch.tensor([1.0])
    shapes = network.config.grid_shapes(16 * 12, 16 * 5)
    latents = [
        2 * torch.randn(1, level.latents, *shape, generator=generator)
        for level, shape in zip(network.config.levels, shapes, strict=True)
    ]
    grids = []
    for quantizer, z in zip(network.vqvae.quantizers, latents, strict=True):
        grids.append(quantizer.join_indices(quantizer.static_choice(z, quality), (1, *z.shape[2:])))
    return latents, grids, quality


def test_gradients_of_embeddings_are_those_of_all_bits():
    network = tiny_network().eval().requires_grad_(False)
    _, grids, quality = gradients_and_bits(network)
    found = rate_gradient._embedding_gradients(network.prior, grids, quality)
    leaves = []

    def embed(embedding):
        def forward(indices):
            leaves.append(type(embedding).forward(embedding, indices).requires_grad_())
            return leaves[-1]

        return forward

    part = network.prior[1]
    part.embedding.forward = embed(part.embedding)
    part.context.embedding.forward = embed(part.context.embedding)
    bits = torch.stack(network.prior.bits(Grids(tuple(grids)), quality)).sum()
    own, context = torch.autograd.grad(bits, leaves)
    torch.testing.assert_close(found[1][0][1], own, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[0][1][1], context, rtol=1e-4, atol=1e-4)


def test_bands_cost_no_accuracy(monkeypatch):
    """Parts of a picture give what the whole gives, but for what attention sees from far away."""
    network = tiny_network().eval().requires_grad_(False)
    latents, grids, quality = gradients_and_bits(network)
    whole = rate_gradients(network.vqvae, network.prior, latents, grids, quality)
    monkeypatch.setattr(rate_gradient, "_POSITIONS", 1)
    parts = rate_gradients(network.vqvae, network.prior, latents, grids, quality)
    for a, b in zip(whole, parts, strict=True):
        assert a.abs().max() > 0
        assert (a - b).square().mean() < 0.01 * a.square().mean()
