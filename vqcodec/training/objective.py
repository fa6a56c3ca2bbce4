"""Training losses: ``lambda * distortion + bpp`` for the whole network, ``bpp`` for the prior alone.

The distortion is the squared error on the 0-255 scale, or a mixture of it and MS-SSIM (Wang 2003).

The assignment of codewords needs the prior's bits, and the prior needs the assigned indices.  The codec resolves this
position by position; training uses two parallel passes: a first assignment with static codeword frequencies, then the
final one with the prior's bits given the first.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor
from torch.nn import functional as F

from vqcodec.config import BIT_PRICE
from vqcodec.model.grids import Grids
from vqcodec.model.prior import Predict, SlicePrediction, slice_bits
from vqcodec.model.quantizer import (
    LevelQuantizer,
    ProductQuantizer,
    expected_bits_gradient,
    outer_bits_gradient,
    places_of,
    shells_of,
    straight_through,
)
from vqcodec.model.transform import Conditioning
from vqcodec.model.vqvae import VQVAE
from vqcodec.outer_points import outer_symbols

COMMITMENT = 0.25
"""Weight of the commitment loss (van den Oord et al. 2017, arXiv:1711.00937)."""
DISSIMILARITY = 2000.0
"""Squared error (0-255 scale) over ``1 - MS-SSIM`` in decoded photographs: about the same at all rates."""


@dataclass(frozen=True)
class Assignment:
    """Codewords assigned to one level's latents."""

    indices: Tensor
    """(B, G, H, W)."""
    rate_gradient: Tensor | None
    """(B, D, H, W): gradient of the expected bits with respect to the latents, if requested."""


@torch.no_grad()
def assign_codewords(
    quantizers: LevelQuantizer,
    prior: Predict,
    z: Tensor,
    coarse: Tensor | None,
    quality: Tensor,
    *,
    entropy_constrained: bool,
    want_gradient: bool,
) -> Assignment:
    """Assign codewords to scaled latents ``z`` (B, D, H, W), given the coarser level's indices."""
    z, shape = z.detach().float(), (len(z), *z.shape[2:])
    with torch.autocast(z.device.type, enabled=False):
        first = quantizers.static_choice(z, quality)
    if not entropy_constrained and not want_gradient:
        return Assignment(quantizers.join_indices(first, shape), None)
    predictions = prior(quantizers.join_indices(first, shape), coarse, quality)
    chosen, gradients = [], []
    with torch.autocast(z.device.type, enabled=False):
        for quantizer, row, known, prediction in zip(quantizers, quantizers.split(z), first, predictions, strict=True):
            if entropy_constrained:
                indices, gradient = _assign_by_shells(quantizer, row, known, prediction, want_gradient)
            else:
                indices, gradient = _assign_nearest(quantizer, row, known, prediction)
            chosen.append(indices)
            if gradient is not None:
                gradients.append(gradient)
    return Assignment(
        quantizers.join_indices(chosen, shape), quantizers.join(gradients, shape) if want_gradient else None
    )


def _assign_nearest(
    quantizer: ProductQuantizer, z: Tensor, first: Tensor, prediction: SlicePrediction
) -> tuple[Tensor, Tensor]:
    """Return the nearest codewords ``first`` (G, N) of ``z`` (G, N, d), and the gradient (G, N, d) of their bits."""
    return first, expected_bits_gradient(quantizer.costs(z), prediction.words(), quantizer.codebook)


_SOFT_SHARE = 0.5
"""Where a latent is nearer to zero than this share of the zero cell's inradius, its expected bits are taken as flat."""


def _assign_by_shells(
    quantizer: ProductQuantizer, z: Tensor, first: Tensor, prediction: SlicePrediction, want_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the cheapest indices (G, N) for ``z`` (G, N, d), and the gradient (G, N, d) of their expected bits.

    The price of an index being zero depends on the slice's other indices, which are taken from ``first`` (G, N).
    """
    assert prediction.shells is not None and prediction.lengths is not None
    config, octave = quantizer.config, math.log(2)
    own_bits = torch.log_softmax(prediction.shells, 2) / -octave
    own_bits += _price_of_use(own_bits[:, :, 0], torch.log_softmax(prediction.lengths, 1) / -octave, first)[:, :, None]
    of_word = shells_of(config, torch.arange(config.size, device=z.device))
    norms = quantizer.codebook.square().sum(2)
    apart = quantizer.apart(z, _SOFT_SHARE if want_gradient else 1.0)
    chosen, costs_of_chosen, gradients = [], [], []
    rows_of = places_of(apart)
    for group, (rows, words) in enumerate(zip(rows_of, prediction.words_at(rows_of), strict=True)):
        codebook = quantizer.codebook[group]
        shells = torch.stack([torch.logsumexp(part, 1) for part in words.split(config.shells, 1)], 1) / octave
        shells += own_bits[group, rows, : len(config.shells)]
        bits = shells[:, of_word].sub_(words, alpha=1 / octave)
        bits[:, 0] = 0
        costs = torch.addmm(norms[group], z[group, rows], codebook.T, alpha=-2).add_(bits, alpha=BIT_PRICE)
        least, best = costs.min(1)
        chosen.append(best)
        costs_of_chosen.append(least)
        if want_gradient:
            gradients.append(expected_bits_gradient(costs, bits.mul_(-octave), codebook))
    groups, places = apart.nonzero(as_tuple=True)
    latents = z[groups, places]

    def price(rows: Tensor, outer: Tensor) -> Tensor:
        points = outer_symbols(config, outer.int().cpu().numpy())
        logits = prediction.range_logits(groups[rows], places[rows], points)
        shells, ranges, place_bits = (
            torch.from_numpy(v).to(z.device) for v in (points.shells, points.ranges, points.place_bits)
        )
        digits = torch.log_softmax(logits, 2).gather(2, ranges[:, :, None])[:, :, 0] / -octave
        return own_bits[groups[rows], places[rows], len(config.shells) + shells] + (digits + place_bits).sum(1)

    best = quantizer.reach_out(latents, torch.cat(chosen), torch.cat(costs_of_chosen), price)
    indices = torch.zeros_like(first)
    indices[groups, places] = best
    if not want_gradient:
        return indices, None
    gradient = torch.zeros_like(z)
    gradient[groups, places] = torch.where((best < 0)[:, None], outer_bits_gradient(latents), torch.cat(gradients))
    return indices, gradient


def _price_of_use(zero_bits: Tensor, length_bits: Tensor, indices: Tensor) -> Tensor:
    """Return by how many bits an index not zero costs more than zero, without its own shell and codeword: (G, N).

    ``zero_bits`` (G, N) are the prices of shell 0, ``length_bits`` (N, G + 1) those of the slice's length; the other
    indices of the slice are those in ``indices`` (G, N).
    """
    groups = len(indices)
    number = torch.arange(1, groups + 1, device=indices.device)[:, None]
    used = torch.where(indices != 0, number, 0)
    before = F.pad(used.cummax(0).values[:-1], (0, 0, 1, 0))  # the length without this and the later ones
    zeros = F.pad(torch.where(indices == 0, zero_bits, 0).cumsum(0), (0, 0, 1, 0))  # by length
    known = F.pad(torch.log2(1 - torch.exp2(-zero_bits).clamp_max(1 - 1e-6)), (0, 0, 1, 0))  # the last one is not zero
    by_length = length_bits.T + zeros + known
    with_this = length_bits.T[1:] + zeros[:-1] + known[1:]
    later = number < used.amax(0)
    return torch.where(later, -zero_bits, with_this - by_length.gather(0, before))


@dataclass(frozen=True)
class Encoding:
    """A batch encoded by analysis, quantizer and prior.  Tensors are (B,) unless stated otherwise."""

    grids: Grids
    latents: list[Tensor]
    """Scaled latents per level, (B, D, H, W), detached."""
    quantized: Tensor
    """(B, D, H, W): codewords of the finest level, straight-through."""
    conditioning: Conditioning | None
    """Conditioning of the finest level."""
    bits: list[Tensor]
    """The prior's cross-entropy per level and slice, coarse to fine."""
    bpp: Tensor
    """Cross-entropy of all levels, bits per pixel."""
    expected_bpp: Tensor
    """Surrogate loss: its gradient is that of the expected rate, its value is meaningless."""
    commitment: Tensor
    """Squared error between latents and codewords, in cells, per pixel."""


def encode(model: VQVAE, prior: Iterable[Predict], x: Tensor, quality: Tensor, *, train_transforms: bool) -> Encoding:
    """Encode pictures ``x`` (B, 3, H, W) in [0, 1] at ``quality`` (B,) in ``[0, knots - 1]``.

    If gradients are enabled they reach the prior, and with ``train_transforms`` the transforms as well.
    """
    train_prior = torch.is_grad_enabled()
    with torch.set_grad_enabled(train_prior and train_transforms):
        pyramid = model.analyse(x, quality)
        conditioning, coarse = None, None
        grids, latents, bits = [], [], []
        expected = commitment = x.new_zeros(len(x))
        quantized = x.new_zeros(0)
        for level, (quantizers, level_prior) in enumerate(zip(model.quantizers, prior, strict=True)):
            if level:
                conditioning = model.advance(level - 1, quantized, conditioning, quality)
            unscaled, gain = model.unscaled(level, pyramid, conditioning, quality), model.gain(level, quality)
            z = unscaled * gain
            assignment = assign_codewords(
                quantizers,
                level_prior,
                z,
                coarse,
                quality,
                entropy_constrained=model.config.entropy_constrained,
                want_gradient=train_transforms,
            )
            with torch.set_grad_enabled(train_prior):
                bits += slice_bits(level_prior(assignment.indices, coarse, quality), assignment.indices)
            codewords = model.dequantize(level, assignment.indices)
            if assignment.rate_gradient is not None:
                expected = expected + (z * assignment.rate_gradient).sum((1, 2, 3))
            # The gain does not learn this: smaller latents are nearer to zero, but not to their codewords.
            commitment = commitment + (unscaled * gain.detach() - codewords).square().sum((1, 2, 3))
            quantized = straight_through(z, codewords)
            grids.append(assignment.indices)
            latents.append(z.detach())
            coarse = assignment.indices
    pixels = x.shape[2] * x.shape[3]
    bpp = torch.stack(bits).sum(0) / pixels
    return Encoding(
        Grids(tuple(grids)), latents, quantized, conditioning, bits, bpp, expected / pixels, commitment / pixels
    )


def balance(model: VQVAE, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Return lambdas (B,) at ``quality`` (B,), and loss weights (B,) that balance the qualities.

    At the optimum the loss grows roughly with the square root of lambda.
    """
    config = model.config
    ratio = math.log(config.lambda_max / config.lambda_min)
    lam = config.lambda_min * torch.exp(quality / (config.knots - 1) * ratio)
    return lam, 0.08 / lam.sqrt()


def mix(mse: Tensor, x: Tensor, y: Tensor, similarity: float) -> Tensor:
    """Return the distortion (B,): ``mse`` with the share ``similarity`` replaced by 1 - MS-SSIM of ``x`` and ``y``.

    ``x`` and ``y`` are (B, 3, H, W) in [0, 1].  Near the minimum of the squared error a small share gains MS-SSIM to
    first order and costs PSNR to second order only.
    """
    if not similarity:
        return mse
    loss = 1 - ms_ssim(y.float().clamp(0, 1), x, data_range=1, size_average=False)
    return torch.lerp(mse, DISSIMILARITY * loss, similarity)


def joint_loss(model: VQVAE, encoding: Encoding, distortion: Tensor, quality: Tensor) -> Tensor:
    """Return the loss of stage 1, a scalar: rate, distortion and commitment; ``distortion`` (B,), 0-255 scale."""
    lam, weight = balance(model, quality)
    rate = encoding.bpp + encoding.expected_bpp
    commitment = COMMITMENT / BIT_PRICE * encoding.commitment
    return (weight * (lam * distortion + rate + commitment)).mean()


def fixed_indices_loss(model: VQVAE, bpp: Tensor, distortion: Tensor, quality: Tensor) -> Tensor:
    """Return the loss of fine-tuning, a scalar: rate and distortion (B,) of indices that do not change."""
    lam, weight = balance(model, quality)
    return (weight * (lam * distortion + bpp)).mean()


def prior_loss(model: VQVAE, encoding: Encoding, quality: Tensor) -> Tensor:
    """Return the loss of stage 2, a scalar: the rate."""
    _, weight = balance(model, quality)
    return (weight * encoding.bpp).mean()


@torch.no_grad()
def observe_choices(model: VQVAE, encoding: Encoding, quality: Tensor) -> None:
    """Update the moving averages of all codebooks with the latents assigned to them in this batch."""
    for level, z, indices in zip(model.quantizers, encoding.latents, encoding.grids.levels, strict=True):
        for quantizer, rows, chosen in zip(level, level.split(z), level.split_indices(indices), strict=True):
            quantizer.observe(rows, chosen, quality)
