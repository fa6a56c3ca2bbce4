"""The defining property of every member of the family of bottlenecks, and the study as a whole."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

pytest.importorskip("plotly")
pytest.importorskip("pytorch_msssim")
pytest.importorskip("sklearn")

from benchmarks.bottlenecks import adversarial, affine, bounds, continuous, discrete, no_code
from benchmarks.bottlenecks.convolutions import convolutions
from benchmarks.bottlenecks.data import CROP, DIGITS, ROTATED, VIEWS, Digits, RotatedDigits, open_photographs, rotate
from benchmarks.bottlenecks.index_prior import IndexPrior
from benchmarks.bottlenecks.measure import psnr, turn_upright, usage
from benchmarks.bottlenecks.members import FAMILY, choose
from benchmarks.bottlenecks.protocol import Shape
from benchmarks.bottlenecks.table import cost, markdown
from benchmarks.bottlenecks.training import Loop, plan_of
from benchmarks.bottlenecks.vit import patch_transformer
from benchmarks.cli import main
from benchmarks.defaults import MEMBERS
from benchmarks.errors import NoPictures
from vqcodec.training.objective import COMMITMENT

DOCS = Path(__file__).parents[2] / "docs"
TINY = Shape(channels=1, side=8, stride=4, width=8, groups=2, dim=3, size=8, sigma=0.1, batch=8)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def latents(count=6, shape=TINY):
    return torch.randn(count, shape.latents, shape.grid, shape.grid)


def train(member, source, steps, batch):
    """Train without the evaluations that a study makes on the way."""
    loop = Loop(member, source, plan_of(steps, batch, seed=0))
    for step in range(steps):
        loop.step(step)
    loop.model.eval()
    return loop.model


# No code


def test_plain_latents_pass_unchanged():
    z = latents()
    coded = no_code.Plain(TINY).code(z, 0)
    assert coded.quantized is z and coded.bits is None and coded.auxiliary == 0


def test_the_sparse_penalty_shrinks_latents_to_zero_by_soft_thresholding():
    target = torch.randn(1, TINY.latents, 2, 2) * 2
    z = target.clone().requires_grad_()
    optimizer = torch.optim.SGD([z], lr=0.02)
    for _ in range(400):
        loss = 0.5 * (z - target).square().sum() + no_code.Sparse(TINY).code(z, 0).auxiliary
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    expected = target.sign() * (target.abs() - no_code.ACTIVITY).clamp_min(0)
    torch.testing.assert_close(z.detach(), expected, atol=0.03, rtol=0)
    assert (expected == 0).any() and (expected != 0).any()


def test_the_denoising_residual_follows_the_score():
    """Vincent 2011: the residual is NOISE^2 times the score of the noisy data, here a known mixture."""
    centres = torch.tensor([[-0.3, 0.0], [0.3, 0.1]])
    spread = 0.1

    def noisy_score(x):
        variance = spread**2 + no_code.NOISE**2
        near = torch.softmax(-(x[:, None] - centres).square().sum(2) / (2 * variance), 1)
        return ((centres - x[:, None]) * near[:, :, None]).sum(1) / variance

    network = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(800):
        x = centres[torch.randint(2, (512,), generator=generator)]
        x = x + spread * torch.randn(x.shape, generator=generator)
        loss = (network(4 * no_code.add_noise(x, generator).pictures) - x).square().mean()
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 800)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    points = no_code.add_noise(centres.repeat(100, 1) + spread * torch.randn(200, 2), generator).pictures
    with torch.no_grad():
        residual = (network(4 * points) - points) / no_code.NOISE**2
    score = noisy_score(points)
    assert nn.functional.cosine_similarity(residual.flatten(), score.flatten(), 0) > 0.97
    assert (residual - score).square().mean() < 0.06 * score.square().mean()


def test_the_contractive_penalty_is_the_norm_of_a_linear_encoder():
    encoder = nn.Linear(5, 3)
    x = torch.randn(4, 5, requires_grad=True)
    z = encoder(x)
    probes = torch.eye(3)[:, None].expand(-1, 4, -1)
    norms = no_code.jacobian_norm(z, x, probes)
    torch.testing.assert_close(norms, encoder.weight.square().sum().expand(4))
    random = torch.randn(4000, 1, 3).expand(-1, 4, -1)
    torch.testing.assert_close(no_code.jacobian_norm(z, x, random) / 4000, norms, rtol=0.1, atol=0)


def test_the_contractive_penalty_has_a_gradient_for_the_encoder():
    encoder = nn.Linear(5, 3, bias=False)
    x = torch.randn(4, 5, requires_grad=True)
    no_code.jacobian_norm(encoder(x), x, torch.eye(3)[:, None].expand(-1, 4, -1)).mean().backward()
    torch.testing.assert_close(encoder.weight.grad, 2 * encoder.weight.detach())


def test_only_hidden_patches_count_for_the_masked_autoencoder():
    x = torch.rand(3, 1, 16, 16)
    corruption = no_code.hide_patches(x, torch.Generator().manual_seed(0))
    hidden = corruption.weight > 0
    assert hidden.float().mean() == no_code.HIDDEN
    assert corruption.weight.mean() == pytest.approx(1)
    assert (corruption.pictures[hidden] == 0.5).all()
    torch.testing.assert_close(corruption.pictures[~hidden], x[~hidden])
    assert (hidden.unfold(2, 4, 4).unfold(3, 4, 4).float().mean((4, 5)) % 1 == 0).all()  # whole patches


# Continuous code


def test_the_closed_form_kl_equals_monte_carlo():
    mean, log_variance = torch.tensor([0.7, -1.2, 0.0]), torch.tensor([-1.0, 0.4, 0.0])
    z = mean + torch.exp(0.5 * log_variance) * torch.randn(400_000, 3)
    log_q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance)).log_prob(z)
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    torch.testing.assert_close(continuous.gaussian_kl(mean, log_variance), (log_q - log_p).mean(0), atol=0.01, rtol=0)


def test_the_posterior_is_sampled_with_its_mean_and_deviation():
    bottleneck = continuous.Gaussian(TINY)
    z = torch.cat([torch.full((1, TINY.latents, 2, 2), 0.5), torch.full((1, TINY.latents, 2, 2), -2.0)], 1)
    samples = bottleneck.code(z.expand(4000, -1, -1, -1), 0).quantized
    assert samples.mean() == pytest.approx(0.5, abs=0.01)
    assert samples.std() == pytest.approx(math.exp(-1), abs=0.01)


def test_beta_weighs_the_kl_and_annealing_lets_it_rise():
    z = torch.randn(4, 2 * TINY.latents, 2, 2)
    coded = continuous.Gaussian(TINY, beta=4).code(z, 0)
    kl = math.log(2) * coded.bits.mean()
    assert coded.auxiliary == pytest.approx(4 * kl.item(), rel=1e-5)
    annealed = continuous.Gaussian(TINY, beta=4, annealed=True)
    weights = [annealed.weight(p) for p in (0, continuous.ANNEALING / 2, continuous.ANNEALING, 1)]
    assert weights == [0, 2, 4, 4]


def linear_vae(annealed, seed):
    """Train a linear VAE from small weights, not to the end; return the fraction of active units."""
    shape = Shape(channels=1, side=4, stride=4, width=8, groups=2, dim=4, size=8, sigma=0.5, batch=128)
    bottleneck = continuous.Gaussian(shape, annealed=annealed)
    torch.manual_seed(seed)
    encoder, decoder = nn.Linear(8, bottleneck.inputs), nn.Linear(8, 8)
    nn.init.normal_(encoder.weight, std=0.01)
    nn.init.normal_(decoder.weight, std=0.01)
    optimizer = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.05)
    steps = 100
    for step in range(steps):
        x = 0.6 * torch.randn(shape.batch, 8)
        coded = bottleneck.code(encoder(x)[:, :, None, None], step / steps)
        error = (decoder(coded.quantized.flatten(1)) - x).square().sum() / (2 * shape.sigma**2 * len(x))
        optimizer.zero_grad()
        (error + coded.auxiliary).backward()
        optimizer.step()
    with torch.no_grad():
        means, _ = bottleneck.posterior(encoder(0.6 * torch.randn(1000, 8))[:, :, None, None])
    return continuous.active_units(means)


def test_annealing_raises_the_active_units():
    """All 8 directions are worth their KL in the end; under the full KL they are found later."""
    plain, annealed = ([linear_vae(annealed, seed) for seed in range(3)] for annealed in (False, True))
    assert sum(annealed) > 1.5 * sum(plain) > 0


def test_the_mmd_tells_distributions_apart():
    a, b = torch.randn(800, 4), torch.randn(800, 4)
    assert abs(continuous.mmd(a, b)) < 0.02
    assert continuous.mmd(a, b + 1) > 0.2
    assert continuous.mmd(a, 0.3 * b) > 0.2


def test_the_wasserstein_penalty_pulls_latents_to_the_prior():
    z = (1.5 + 0.1 * torch.randn(32, TINY.latents, 2, 2)).requires_grad_()
    bottleneck = continuous.Wasserstein(TINY)
    optimizer = torch.optim.Adam([z], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        bottleneck.code(z, 0).auxiliary.backward()
        optimizer.step()
    assert abs(z.mean().item()) < 0.3 and 0.5 < z.std().item() < 1.5


def test_the_bounds_are_ordered_and_approach_the_evidence():
    """A linear Gaussian model, whose log p(x) is known, with a posterior that is off."""
    weight, sigma = torch.randn(6, 3), 0.5
    x = torch.randn(4, 3) @ weight.T + sigma * torch.randn(4, 6)
    covariance = weight @ weight.T + sigma**2 * torch.eye(6)
    evidence = torch.distributions.MultivariateNormal(torch.zeros(6), covariance).log_prob(x)
    precision = torch.eye(3) + weight.T @ weight / sigma**2
    mean = x @ weight @ torch.linalg.inv(precision) / sigma**2 + 0.3
    log_variance = -precision.diagonal().log().expand(4, 3)
    noise, unit = torch.full((4, 6), 2 * math.log(sigma)), torch.zeros(4, 3)

    def log_joint(z):
        return bounds.gaussian_log_density(z @ weight.T, x, noise) + bounds.gaussian_log_density(z, unit, unit)

    elbo, weighted = bounds.importance_weighted(log_joint, mean, log_variance, 50)
    annealed = bounds.annealed_importance(log_joint, mean, log_variance, chains=20, steps=60)
    assert elbo.mean() + 0.3 < weighted.mean() < evidence.mean() + 0.1
    torch.testing.assert_close(annealed, evidence, atol=0.3, rtol=0)


# Discrete code


@pytest.mark.parametrize("kind", [discrete.Learned, discrete.MovingAverage, discrete.EntropyConstrained])
def test_the_straight_through_gradient_is_the_decoders(kind):
    z = latents().requires_grad_()
    quantized = kind(TINY).code(z, 0).quantized
    decoder = nn.Conv2d(TINY.latents, 1, 1)
    loss = decoder(quantized).square().sum()
    at_decoder, at_encoder = torch.autograd.grad(loss, (quantized, z))
    assert at_decoder.abs().sum() > 0
    torch.testing.assert_close(at_encoder, at_decoder)


def test_the_nearest_codeword_is_chosen():
    bottleneck = discrete.Learned(TINY)
    with torch.no_grad():
        bottleneck.quantizer.codebook.normal_()
    z = latents()
    coded = bottleneck.code(z, 0)
    groups = z.reshape(6, 2, 3, 2, 2).permute(0, 1, 3, 4, 2)  # (B, G, H, W, d)
    distances = (groups[..., None, :] - bottleneck.quantizer.codebook[:, None, None]).square().sum(-1)
    assert torch.equal(coded.indices, distances.argmin(-1))
    assert (coded.bits == 2 * 2 * 2 * 3).all()  # positions, groups, log2 8


def test_the_codebook_loss_moves_codewords_and_the_commitment_moves_latents():
    bottleneck = discrete.Learned(TINY)
    z = latents().requires_grad_()
    coded = bottleneck.code(z, 0)
    at_z, at_codebook = torch.autograd.grad(coded.auxiliary, (z, bottleneck.quantizer.codebook))
    error = z.detach() - coded.quantized.detach()
    torch.testing.assert_close(at_z, 2 * COMMITMENT * error / len(z))
    rows = bottleneck.quantizer.split(error)
    expected = torch.zeros_like(at_codebook)
    chosen = coded.indices.transpose(0, 1).flatten(1)
    expected.scatter_add_(1, chosen[:, :, None].expand(-1, -1, 3), -2 * rows / len(z))
    torch.testing.assert_close(at_codebook, expected)


def test_moving_averages_equal_the_running_mean():
    bottleneck = discrete.MovingAverage(TINY)
    with torch.no_grad():
        bottleneck.start(torch.randn(2, 8, 3))
    counts, sums = bottleneck.quantizer.counts.clone(), bottleneck.quantizer.sums.clone()
    batches = [latents() for _ in range(5)]
    for step, z in enumerate(batches):
        rows, chosen = bottleneck.quantizer.split(z), bottleneck.code(z, 0).indices.transpose(0, 1).flatten(1)
        one_hot = nn.functional.one_hot(chosen, 8).float()
        counts = 0.99 * counts + 0.01 * one_hot.sum(1)
        sums = 0.99 * sums + 0.01 * one_hot.transpose(1, 2) @ rows
        bottleneck.learn(step)
    torch.testing.assert_close(bottleneck.quantizer.counts, counts)
    torch.testing.assert_close(bottleneck.quantizer.sums, sums)


def test_a_codeword_converges_to_the_mean_of_its_latents():
    bottleneck = discrete.MovingAverage(TINY)
    centre = torch.tensor([1.0, -2.0, 0.5]).repeat(2)[None, :, None, None]
    for step in range(600):
        z = centre + 0.1 * latents()
        indices = bottleneck.code(z, 0).indices
        bottleneck.learn(step)
    codewords = bottleneck.dequantize(indices).mean((0, 2, 3))
    torch.testing.assert_close(codewords, centre.flatten(), atol=0.1, rtol=0)


def test_revival_raises_the_perplexity_on_clustered_data():
    shape = Shape(channels=1, side=16, stride=4, width=8, groups=1, dim=2, size=16, sigma=0.1, batch=16)
    centres = 4 * torch.randn(16, 2)
    generator = torch.Generator().manual_seed(0)
    perplexity = {}
    for revival in (False, True):
        torch.manual_seed(0)
        bottleneck = discrete.MovingAverage(shape, revival)
        for step in range(8 * discrete.REVIVAL_STEPS):
            cluster = torch.randint(16, (16, 4, 4), generator=generator)
            z = centres[cluster].permute(0, 3, 1, 2) + 0.05 * torch.randn(16, 2, 4, 4, generator=generator)
            indices = bottleneck.code(z, 0).indices
            bottleneck.learn(step)
        perplexity[revival] = usage(indices, shape.size)["perplexity"]
    assert perplexity[True] > 1.5 * perplexity[False]


def test_the_gumbel_softmax_becomes_the_argmax_when_cold():
    logits = torch.randn(2, 3, 5)
    noise = -torch.empty_like(logits).exponential_(generator=torch.manual_seed(1)).log()
    torch.manual_seed(1)
    cold = discrete.gumbel_softmax(logits, 1e-5)
    torch.testing.assert_close(cold, nn.functional.one_hot((logits + noise).argmax(-1), 5).float())
    many = discrete.gumbel_softmax(logits[0, 0].expand(40_000, 5), 1e-5).mean(0)  # argmax has softmax's frequencies
    torch.testing.assert_close(many, logits[0, 0].softmax(0), atol=0.01, rtol=0)


def test_the_dvae_cools_down_and_uses_the_most_probable_codeword():
    temperatures = [discrete.Relaxed.temperature(p) for p in (0, 0.4, 0.8, 1)]
    assert temperatures == [1, pytest.approx(0.25), 1 / 16, 1 / 16]
    bottleneck = discrete.Gumbel(TINY).eval()
    z = torch.randn(3, bottleneck.inputs, 2, 2)
    coded = bottleneck.code(z, 1)
    one_hot = nn.functional.one_hot(bottleneck.logits(z).argmax(-1), 8).float()
    torch.testing.assert_close(coded.quantized, bottleneck.mix(one_hot))
    posterior = torch.distributions.Categorical(logits=bottleneck.logits(z))
    uniform = torch.distributions.Categorical(torch.ones(8))
    kl = torch.distributions.kl_divergence(posterior, uniform).sum((1, 2, 3)).mean()
    torch.testing.assert_close(coded.auxiliary, kl)


def test_the_dirichlet_kl_is_that_of_torch():
    alpha = 1 + torch.randn(4, 6).exp()
    expected = torch.distributions.kl_divergence(
        torch.distributions.Dirichlet(alpha), torch.distributions.Dirichlet(torch.ones_like(alpha))
    )
    torch.testing.assert_close(discrete.dirichlet_kl(alpha), expected)


def test_evidence_makes_the_evidential_choice_sure():
    bottleneck = discrete.Evidential(TINY)

    def spread_of_choice(evidence):
        z = torch.zeros(64, 2, 8, 2, 2)
        z[:, :, 3] = evidence
        coded = bottleneck.code(z.flatten(1, 2), 1.0)
        return coded.quantized.std(0).mean(), coded.auxiliary

    doubtful, sure = spread_of_choice(0.0), spread_of_choice(9.0)
    assert sure[0] < 0.2 * doubtful[0]
    assert sure[1] > doubtful[1] > 0


def test_the_entropy_constrained_choice_prefers_short_codes():
    bottleneck = discrete.EntropyConstrained(TINY)
    quantizer = bottleneck.quantizer
    z = (quantizer.codebook[:, 0] + quantizer.codebook[:, 1]).flatten()[None, :, None, None] / 2  # halfway
    for frequent in (0, 1):
        quantizer.frequencies.fill_(0.01)
        quantizer.frequencies[0, :, frequent] = 1 - 0.07
        coded = bottleneck.code(z.expand(1, -1, 2, 2), 0)
        assert (coded.indices == frequent).all()
        assert coded.bits.item() == pytest.approx(-8 * math.log2(0.93), rel=1e-4)
    quantizer.frequencies.fill_(1 / 8)  # equal prices: nearest neighbours
    rows = quantizer.split(latents())
    assert torch.equal(bottleneck.costs(rows).argmin(2), quantizer.costs(rows).argmin(2))


def test_the_entropy_constrained_loss_is_rate_plus_commitment():
    bottleneck = discrete.EntropyConstrained(TINY)
    z = (2 * latents()).requires_grad_()
    coded = bottleneck.code(z, 0)
    commitment = 6 * COMMITMENT * (z - coded.quantized).square().sum() / len(z)
    assert coded.auxiliary.item() == pytest.approx(math.log(2) * coded.bits.mean().item() + commitment.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(coded.auxiliary, z)
    pull = gradient - 12 * COMMITMENT * (z - coded.quantized).detach() / len(z)
    assert (pull * z).sum() > 0  # fewer bits: towards the frequent codewords around the origin


def test_the_index_prior_is_causal_and_learns():
    prior = IndexPrior(TINY)
    indices = torch.randint(8, (4, 2, 2, 2))
    before = prior(indices)
    changed = indices.clone()
    changed[:, 1, 0, 1] = (changed[:, 1, 0, 1] + 1) % 8
    after = prior(changed)
    order = [(row, column, group) for row in range(2) for column in range(2) for group in range(2)]
    for row, column, group in order:
        same = torch.equal(before[group, :, row, column], after[group, :, row, column])
        assert same == ((row, column, group) <= (0, 1, 1)), (row, column, group)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.01)
    for _ in range(60):
        first = torch.randint(8, (32, 1, 1, 1))
        loss = prior.bits(first.expand(-1, 2, 2, 2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 6  # the first index costs 3 bits, the 7 copies next to nothing
    samples = prior.sample(16, torch.Generator().manual_seed(0)).flatten(1)
    assert (samples == samples[:, :1]).float().mean() > 0.8


# Loss, transform, symmetry


def test_the_adaptive_weight_makes_both_gradients_equally_long():
    last = nn.Conv2d(3, 1, 1)
    y = last(torch.randn(2, 3, 4, 4))
    distortion, against = (y - 1).square().mean(), 50 * y.sigmoid().mean()
    weight = adversarial.adaptive_weight(distortion, against, last.weight)
    (a,) = torch.autograd.grad(distortion, last.weight, retain_graph=True)
    (b,) = torch.autograd.grad(weight * against, last.weight)
    assert a.norm().item() == pytest.approx(b.norm().item(), rel=1e-4)


def test_the_discriminator_scores_patches():
    discriminator = adversarial.PatchDiscriminator(DIGITS)
    x = torch.rand(2, 1, 16, 16)
    scores, features = discriminator(x)
    assert scores.shape == (2, 1, 4, 4)
    assert adversarial.feature_matching(features, features) == 0
    changed = x.clone()
    changed[:, :, -1, -1] += 1
    same = discriminator(changed)[0] == scores
    assert same[:, :, :2, :2].all() and not same[:, :, -1, -1].any()  # a score sees a patch


def test_a_transformer_sees_the_whole_picture_and_convolutions_a_part():
    shape = Shape(channels=1, side=64, stride=8, width=16, groups=2, dim=2, size=8, sigma=0.1, batch=8)
    x = torch.rand(1, 1, 64, 64)
    changed = x.clone()
    changed[..., 0, 0] += 1
    for transforms, far in ((convolutions, False), (patch_transformer, True)):
        encoder, decoder = transforms(shape, shape.latents)
        z = encoder(x)
        assert z.shape == (1, 4, 8, 8) and decoder(z).shape == x.shape
        moved = (encoder(changed) - z).abs().sum(1)[0] > 0
        assert moved[0, 0] and bool(moved[-1, -1]) == far


def test_an_affine_matrix_turns_the_picture():
    pose = torch.zeros(1, affine.POSE)
    pose[0, 0] = math.pi / 2 / affine.DEVIATIONS[0]
    matrix, shift = affine.affine_matrix(pose)
    torch.testing.assert_close(matrix[0], torch.tensor([[0.0, -1.0], [1.0, 0.0]]), atol=1e-6, rtol=0)
    assert (shift == 0).all()
    decoder = affine.CoordinateDecoder(ROTATED)
    z = torch.randn(1, ROTATED.latents, 1, 1)
    z[0, : affine.POSE, 0, 0] = 0
    upright = decoder(z)
    torch.testing.assert_close(upright, decoder.upright(z))
    z[0, 0] = pose[0, 0]
    assert any(torch.allclose(decoder(z), upright.rot90(k, (2, 3)), atol=1e-5) for k in (1, 3))
    torch.testing.assert_close(decoder.upright(z), upright)


def test_the_angle_of_a_turned_digit_is_measured():
    bar = torch.zeros(1, 1, 8, 8)
    bar[:, :, :, 3:5] = 1
    angles = torch.linspace(-1, 1, 9)
    measured = affine.axis_angles(rotate(bar.expand(9, -1, -1, -1), angles))
    slope = torch.polar(torch.ones(9), 2 * (measured - measured[4]))
    expected = torch.polar(torch.ones(9), -2 * angles), torch.polar(torch.ones(9), 2 * angles)
    assert min((slope - e).abs().max() for e in expected) < 0.1
    assert affine.angle_spread(measured[None]) > 20
    assert affine.angle_spread(measured[:1].expand(1, 9)) < 0.1


@pytest.mark.slow
def test_upright_pictures_vary_less_in_angle_than_the_inputs():
    source = RotatedDigits(0)
    model = train(choose(("affine-vae",))[0], source, steps=120, batch=32)
    _, spreads = turn_upright(model, source.held_out)
    assert spreads["angle spread, inputs"] > 30
    assert spreads["angle spread, upright"] < 0.5 * spreads["angle spread, inputs"]
    with torch.no_grad():
        y, _ = model(source.held_out)
    assert affine.angle_spread(affine.axis_angles(y).reshape(-1, VIEWS)) > 20  # with the matrix they turn again


# The study


def test_every_member_is_named_in_the_help_and_defined():
    assert [*dict.fromkeys(member.name for member in FAMILY)] == list(MEMBERS)
    text = " ".join(CliRunner().invoke(main, ["bottlenecks", "--help"]).output.split())
    assert " ".join(MEMBERS) in text


@pytest.mark.parametrize("member", FAMILY, ids=lambda member: member.run)
def test_every_member_learns(member):
    source = RotatedDigits(0) if member.rotated else Digits(0)
    x = source.held_out[:64]
    loop = Loop(member, source, plan_of(12, 16, seed=0))

    def quality():
        loop.model.eval()
        with torch.no_grad():
            return psnr(x, loop.model(x)[0])

    start = quality()
    for step in range(12):
        loss, _ = loop.step(step)
        assert math.isfinite(loss)
    assert quality() > start


def test_members_start_with_the_same_transforms_and_get_the_same_batches():
    source = Digits(0)
    first, second = (Loop(choose((name,))[0], source, plan_of(10, 16, seed=0)).model for name in ("ae", "dvae"))
    for a, b in ((first.decoder, second.decoder), (first.encoder.layers, second.encoder.layers)):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.equal(p, q)
    assert torch.equal(source.batch(3, 16), Digits(0).batch(3, 16))
    assert not torch.equal(source.batch(3, 16), source.batch(4, 16))


def test_beta_vae_includes_its_setting_one():
    assert [member.run for member in choose(("beta-vae",))] == ["vae", "beta-vae beta 0.25", "beta-vae beta 4"]


def report(folder, *arguments):
    command = ["bottlenecks", "--steps", "12", "--out", str(folder), *arguments]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def test_the_report_on_digits_is_written_and_continued(tmp_path):
    result = report(tmp_path, "--members", "vae,vqvae")
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "bottlenecks.json").read_text())
    vae, vqvae = summary["runs"]
    assert (vae["run"], vae["rate"], vqvae["run"], vqvae["rate"]) == ("vae", "KL", "vqvae", "prior")
    assert vae["numbers"]["ELBO"] < vae["numbers"]["IWAE bound"]
    nats = math.log(2) * vae["bpp"] + 10 ** (-vae["psnr"] / 10) / (2 * DIGITS.sigma**2)
    assert cost(vae, summary) == pytest.approx(nats)
    assert 1 <= vqvae["numbers"]["perplexity"] <= vqvae["numbers"]["used codewords"] <= DIGITS.size
    assert vqvae["course"][-1]["step"] == 12 and "used codewords" in vqvae["course"][0]
    page = (tmp_path / "index.html").read_text()
    assert page.split("<main>")[1].count("data:image/png;base64,") == 5  # originals once
    assert "exist already" not in result.stderr
    again = report(tmp_path, "--members", "vae,vqvae,ae")
    assert "2 of 3 runs exist already" in again.stderr
    assert json.loads((tmp_path / "bottlenecks.json").read_text())["runs"][1:] == [vae, vqvae]
    other = report(tmp_path, "--members", "ae", "--seed", "1", "--quiet")
    assert other.stderr == "" and "12.0" not in other.stderr


def test_photographs_are_split_and_cropped(tmp_path):
    rng = np.random.default_rng(0)
    for name in "abcdef":
        Image.fromarray(rng.integers(0, 256, (CROP + 6, CROP, 3), np.uint8)).save(tmp_path / f"{name}.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    source = open_photographs(tmp_path, seed=0)
    assert source.batch(0, 4).shape == (4, 3, CROP, CROP)
    assert len(source.crops.photos) == 4
    assert set(source.left_out) == {"small.png", "damaged.png"}
    assert report(tmp_path / "out", "--data", str(tmp_path), "--members", "ae").exit_code == 0


def test_what_cannot_be_studied_is_said_in_one_line(tmp_path):
    Image.new("RGB", (CROP, CROP)).save(tmp_path / "only.png")
    with pytest.raises(NoPictures, match="fewer than 2 photographs"):
        open_photographs(tmp_path, seed=0)
    for arguments, message in (
        (["--data", str(tmp_path)], "fewer than 2 photographs"),
        (["--members", "ae,gan"], "no member gan: choose among ae sparse-ae"),
        (["--members", ","], "no member is named: choose among ae sparse-ae"),
    ):
        result = report(tmp_path / "out", *arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("benchmarks: ") and message in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("path", sorted((DOCS / "results").glob("bottlenecks-*.json")), ids=lambda path: path.stem)
def test_the_page_has_the_numbers_of_the_committed_results(path):
    summary = json.loads(path.read_text(encoding="utf-8"))
    page = (DOCS / "BOTTLENECKS.md").read_text(encoding="utf-8")
    assert f"`{summary['command']}`" in page and f"(results/{path.name})" in page
    assert markdown(summary) in page
