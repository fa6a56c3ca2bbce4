"""What training minimises: ``lambda * distortion + bpp``, for everything at once or for the prior alone.

The distortion is the squared error on the 0-255 scale, or a mixture of it and MS-SSIM (Wang 2003).

Choosing indices needs the prior's bits and the prior needs the indices.  The codec resolves that position by position;
in training it is done in two parallel passes: a first assignment with static prices, then the prior's bits given that
assignment, and with them the assignment that counts.
"""

import math
from dataclasses import dataclass

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor

from vqcodec.config import BIT_PRICE
from vqcodec.model.grids import Grids
from vqcodec.model.prior import LevelPrior, Prior, slice_bits
from vqcodec.model.quantizer import ProductQuantizer, expected_bits_gradient, straight_through
from vqcodec.model.transform import Conditioning
from vqcodec.model.vqvae import VQVAE

COMMITMENT = 0.25
DISSIMILARITY = 2000.0
"""Squared error (0-255 scale) over ``1 - MS-SSIM`` in decoded photographs: about the same at all rates."""


@dataclass(frozen=True)
class Assignment:
    """The assignment of one level's indices."""

    indices: Tensor
    """(B, G, H, W)"""
    rate_gradient: Tensor | None
    """(B, D, H, W): how the expected bits grow with the latents, None if not asked for."""


@torch.no_grad()
def assign_codewords(
    quantizers: list[ProductQuantizer],
    prior: LevelPrior,
    z: Tensor,
    coarse: Tensor | None,
    quality: Tensor,
    *,
    entropy_constrained: bool,
    want_gradient: bool,
) -> Assignment:
    """Choose codewords for scaled latents ``z`` (B, D, H, W), given the coarser level's indices."""
    b, _, height, width = z.shape
    parts = z.detach().float().split([q.config.channels for q in quantizers], 1)
    rows = [q.split(part) for q, part in zip(quantizers, parts, strict=True)]

    def as_grid(assignment: list[Tensor]) -> Tensor:
        return torch.cat([c.reshape(-1, b, height, width).transpose(0, 1) for c in assignment], 1)

    positions = height * width
    with torch.autocast(z.device.type, enabled=False):
        static = [q.static_logits(quality, positions) if entropy_constrained else None for q in quantizers]
        first = [q.costs(r, s).argmin(-1) for q, r, s in zip(quantizers, rows, static, strict=True)]
    if not entropy_constrained and not want_gradient:
        return Assignment(as_grid(first), None)
    logits = prior(as_grid(first), coarse, quality)
    chosen, gradients = [], []
    with torch.autocast(z.device.type, enabled=False):
        for quantizer, row, values in zip(quantizers, rows, logits, strict=True):
            costs = quantizer.costs(row, values if entropy_constrained else None)
            chosen.append(costs.argmin(-1))
            if want_gradient:
                gradient = expected_bits_gradient(costs, values, quantizer.codebook)
                gradients.append(quantizer.join(gradient, (b, height, width)))
    return Assignment(as_grid(chosen), torch.cat(gradients, 1) if want_gradient else None)


@dataclass(frozen=True)
class Encoding:
    """One batch through analysis, quantizer and prior.  Tensors are (B,) unless said otherwise."""

    grids: Grids
    latents: list[Tensor]
    """Scaled latents per level, (B, D, H, W), detached."""
    quantized: Tensor
    """(B, D, H, W): codewords of the finest level, straight-through."""
    conditioning: Conditioning | None
    bits: list[Tensor]
    """The prior's cross-entropy per level and slice, coarse to fine."""
    bpp: Tensor
    expected_bpp: Tensor
    """A surrogate whose gradient against the latents is that of the expected rate; its value means nothing."""
    commitment: Tensor
    """Squared error between latents and codewords, in cells, per pixel."""


def encode(model: VQVAE, prior: Prior, x: Tensor, quality: Tensor, *, train_transforms: bool) -> Encoding:
    """``x`` (B, 3, H, W) in [0, 1] down to bits.

    Gradients reach the prior if they are enabled at all, and the transforms only with ``train_transforms``.
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
            z = model.latents(level, pyramid, conditioning, quality)
            assignment = assign_codewords(
                list(quantizers),
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
            commitment = commitment + (z - codewords).square().sum((1, 2, 3))
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
    """Lambdas at ``quality`` (B,) and the weights that make all qualities count alike.

    At the optimum the loss grows about with the square root of lambda.
    """
    config = model.config
    ratio = math.log(config.lambda_max / config.lambda_min)
    lam = config.lambda_min * torch.exp(quality / (config.knots - 1) * ratio)
    return lam, 0.08 / lam.sqrt()


def mix(mse: Tensor, x: Tensor, y: Tensor, similarity: float) -> Tensor:
    """Squared error (B,) with the share ``similarity`` of it replaced by MS-SSIM of ``x`` and ``y`` (B, 3, H, W).

    MS-SSIM weighs errors by how flat their surroundings are.  Near the least squared error a little of it costs
    second-order PSNR for a first-order gain.
    """
    if not similarity:
        return mse
    loss = 1 - ms_ssim(y.float().clamp(0, 1), x, data_range=1, size_average=False)
    return torch.lerp(mse, DISSIMILARITY * loss, similarity)


def joint_loss(model: VQVAE, encoding: Encoding, distortion: Tensor, quality: Tensor) -> Tensor:
    """Stage 1: rate and distortion of everything at once, a scalar.  ``distortion`` (B,) on the 0-255 scale."""
    lam, weight = balance(model, quality)
    rate = encoding.bpp + encoding.expected_bpp
    commitment = COMMITMENT / BIT_PRICE * encoding.commitment
    return (weight * (lam * distortion + rate + commitment)).mean()


def prior_loss(model: VQVAE, encoding: Encoding, quality: Tensor) -> Tensor:
    """Stage 2: the rate alone, a scalar."""
    _, weight = balance(model, quality)
    return (weight * encoding.bpp).mean()


@torch.no_grad()
def learn_codebooks(model: VQVAE, encoding: Encoding, quality: Tensor) -> None:
    """Let every codebook follow what chose it in this batch."""
    for quantizers, z, indices in zip(model.quantizers, encoding.latents, encoding.grids.levels, strict=True):
        channels = [q.config.channels for q in quantizers]
        groups = [q.config.groups for q in quantizers]
        for quantizer, part, chosen in zip(quantizers, z.split(channels, 1), indices.split(groups, 1), strict=True):
            quantizer.learn(quantizer.split(part), chosen.transpose(0, 1).flatten(1), quality)
