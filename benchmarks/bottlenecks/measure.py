"""One evaluation for all members, on held-out pictures."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.bottlenecks import affine, bounds
from benchmarks.bottlenecks.continuous import Gaussian, active_units
from benchmarks.bottlenecks.data import VIEWS
from benchmarks.bottlenecks.discrete import Discrete
from benchmarks.bottlenecks.index_prior import IndexPrior
from benchmarks.bottlenecks.protocol import Autoencoder, Member
from vqcodec.metrics import psnr_of_mse

BATCH = 32
"""Pictures per evaluated batch."""
BOUND_PICTURES = 8
"""Pictures whose log p(x) is bounded."""
BOUND_SAMPLES = 64
"""Samples of the importance-weighted bound."""
BOUND_CHAINS, BOUND_STEPS = 2, 30
"""Chains and steps of annealed importance sampling."""


def psnr(x: Tensor, y: Tensor) -> float:
    """Return the PSNR in dB of the mean squared error of pictures rounded to 8 bits; ``x`` and ``y`` in [0, 1]."""
    return psnr_of_mse(float(((255 * y.clamp(0, 1)).round() - (255 * x).round()).square().mean()))


def detail(x: Tensor, y: Tensor) -> float:
    """Return the energy of the Laplacian of ``y`` over that of ``x``, (B, C, S, S): below 1 where ``y`` is blurred."""
    kernel = x.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(x.shape[1], 1, 3, 3)

    def energy(pictures: Tensor) -> float:
        return float(F.conv2d(pictures.clamp(0, 1), kernel, groups=x.shape[1]).square().mean())

    return energy(y) / energy(x)


@torch.no_grad()
def encode_all(model: Autoencoder, pictures: Tensor) -> Tensor:
    """Return the encoder's output (N, inputs, H, W) for ``pictures`` (N, C, S, S)."""
    return torch.cat([model.encode(part) for part in pictures.split(BATCH)])


def usage(indices: Tensor, size: int) -> dict[str, float]:
    """Return perplexity and used codewords, means over the groups, of ``indices`` (N, G, H, W)."""
    counts = torch.stack([torch.bincount(i.flatten(), minlength=size) for i in indices.unbind(1)]).float()
    p = counts / counts.sum(1, keepdim=True)
    perplexity = torch.special.entr(p).sum(1).exp().mean()
    return {"perplexity": float(perplexity), "used codewords": float((counts > 0).float().sum(1).mean())}


@torch.no_grad()
def code_statistics(model: Autoencoder, pictures: Tensor) -> dict[str, float]:
    """Return what shows a collapse: used codewords of a discrete code, active units of a continuous one."""
    model.eval()
    if isinstance(model.bottleneck, Gaussian):
        return {"active units": active_units(model.bottleneck.posterior(encode_all(model, pictures))[0])}
    if isinstance(model.bottleneck, Discrete):
        parts = encode_all(model, pictures).split(BATCH)
        return usage(torch.cat([_indices(model, part) for part in parts]), model.shape.size)
    return {}


def _indices(model: Autoencoder, z: Tensor) -> Tensor:
    indices = model.bottleneck.code(z, 1.0).indices
    assert indices is not None, "a discrete code has indices"
    return indices


@dataclass(frozen=True)
class Measured:
    """Numbers and pictures of one member."""

    psnr: float
    """In dB, over all held-out pictures."""
    detail: float
    """Energy of the reconstructions' Laplacian over that of the originals."""
    bpp: float | None
    """Rate in bits per pixel, of the kind ``rate``; None where there is no code."""
    rate: str
    """``KL`` or ``prior`` (cross-entropy of the index prior)."""
    numbers: dict[str, float]
    """More numbers, by name."""
    reconstructions: Tensor
    """(N, C, S, S)."""
    samples: Tensor
    """(N, C, S, S), from the member's prior, or a normal distribution fitted to each latent where it has none."""
    upright: Tensor | None
    """(N, C, S, S): drawn without the affine matrix."""


def measure(member: Member, model: Autoencoder, prior: IndexPrior | None, x: Tensor, samples: int) -> Measured:
    """Evaluate a trained member on ``x`` (N, C, S, S), and draw ``samples`` pictures."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model.eval()
    parts, bits, statistics, indices = [], [], [], []
    with torch.no_grad():
        for part in x.split(BATCH):
            y, coded = model(part)
            parts.append(y)
            bits += [] if coded.bits is None else [coded.bits]
            indices += [] if coded.indices is None else [coded.indices]
            statistics.append(coded.statistics)
    y = torch.cat(parts)
    pixels = model.shape.side**2
    bpp = float(torch.cat(bits).mean()) / pixels if bits else None
    numbers = {key: sum(s[key] for s in statistics) / len(statistics) for key in statistics[0]}
    numbers |= code_statistics(model, x)
    kind = "KL" if bits else "none"
    if prior and indices:
        assert bpp is not None
        numbers["fixed-length bpp"] = model.shape.fixed_bits / pixels
        numbers["own bpp"] = bpp
        with torch.no_grad():
            bpp = float(torch.cat([prior.bits(part) for part in indices]).mean()) / pixels
        kind = "prior"
    if isinstance(model.bottleneck, Gaussian):
        numbers |= likelihood_bounds(model, x[:: max(1, len(x) // BOUND_PICTURES)][:BOUND_PICTURES])
    if member.corrupt:
        numbers |= corrupted_psnr(member, model, x, generator)
    upright = None
    if member.rotated:
        upright, spreads = turn_upright(model, x)
        numbers |= spreads
    drawn = draw(model, prior, x, samples, generator)
    return Measured(psnr(x, y), detail(x, y), bpp, kind, numbers, y, drawn, upright)


@torch.no_grad()
def draw(model: Autoencoder, prior: IndexPrior | None, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` pictures from the index prior, the member's prior, or normal distributions fitted to latents.

    The last is "ex-post density estimation" in its simplest form (Ghosh et al. 2020).
    """
    if prior and isinstance(model.bottleneck, Discrete):
        return model.decode(model.bottleneck.dequantize(prior.sample(count, generator)))
    latents = model.bottleneck.draw(count, generator)
    if latents is None:
        z = encode_all(model, x)
        latents = z.mean(0) + z.std(0) * torch.randn(count, *z.shape[1:], generator=generator)
    return model.decode(latents)


def likelihood_bounds(model: Autoencoder, x: Tensor) -> dict[str, float]:
    """Return bounds on log p(x), mean over pictures ``x`` (N, C, S, S), in nats per picture."""
    assert isinstance(model.bottleneck, Gaussian)
    mean, log_variance = model.bottleneck.posterior(encode_all(model, x))
    noise = torch.full_like(x, 2 * torch.log(torch.tensor(model.shape.sigma)).item())
    unit = torch.zeros_like(mean)

    def log_joint(z: Tensor) -> Tensor:
        y = model.decode(z.flatten(0, 1)).reshape(*z.shape[:2], *x.shape[1:])
        return bounds.gaussian_log_density(y, x, noise) + bounds.gaussian_log_density(z, unit, unit)

    for parameter in model.parameters():
        parameter.requires_grad_(False)
    elbo, weighted = bounds.importance_weighted(log_joint, mean, log_variance, BOUND_SAMPLES)
    annealed = bounds.annealed_importance(log_joint, mean, log_variance, chains=BOUND_CHAINS, steps=BOUND_STEPS)
    return {"ELBO": float(elbo.mean()), "IWAE bound": float(weighted.mean()), "AIS bound": float(annealed.mean())}


@torch.no_grad()
def corrupted_psnr(member: Member, model: Autoencoder, x: Tensor, generator: torch.Generator) -> dict[str, float]:
    """Return the PSNR of corrupted pictures before and after reconstruction, where the reconstruction counts."""
    assert member.corrupt is not None
    corruption = member.corrupt(x, generator)
    y = torch.cat([model(part)[0] for part in corruption.pictures.split(BATCH)])
    counts = corruption.weight.expand_as(x) > 0
    return {
        "corrupted PSNR, dB": psnr(x[counts], corruption.pictures[counts]),
        "restored PSNR, dB": psnr(x[counts], y[counts]),
    }


@torch.no_grad()
def turn_upright(model: Autoencoder, x: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Return upright pictures of ``x``, :data:`VIEWS` views of each digit in a row, and how much the angles vary."""
    assert isinstance(model.bottleneck, Gaussian) and isinstance(model.decoder, affine.CoordinateDecoder)
    mean, _ = model.bottleneck.posterior(encode_all(model, x))
    upright = model.decoder.upright(mean) + 0.5
    spread = {
        f"angle spread, {name}": affine.angle_spread(affine.axis_angles(pictures).reshape(-1, VIEWS))
        for name, pictures in (("inputs", x), ("upright", upright))
    }
    return upright, spread
