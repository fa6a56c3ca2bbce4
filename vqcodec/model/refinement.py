"""Refine latents by gradient descent through the synthesis, for one picture at encoding time.

The analysis is amortised inference: good on average, not optimal for the picture at hand.  At a first choice of
codewords the gradient of the distortion says how each latent should change; a fraction of a Newton step in that
direction, before the final choice, saves bits at equal quality.  The decoder needs no change.

After Yang, Bamler & Mandt, "Improving Inference for Neural Image Compression", NeurIPS 2020, who take thousands of
small steps; with step sizes derived from the codebook's cells, a few steps give most of the gain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vqcodec.config import BIT_PRICE
from vqcodec.model.torch_state import half
from vqcodec.model.transform import Conditioning
from vqcodec.model.vqvae import VQVAE, FeaturePyramid

_STEP = 0.25
"""Share of the way to the estimated optimum that the first step goes."""
_FINEST_CURVATURE = 0.72, 1.07
"""Curvature of the error in the finest latents, in unit cells, at the lowest and the highest quality.  It would be 1 in
an orthonormal transform; the synthesis, which removes noise from the latents, follows a change of one only in part."""
_COARSE_CURVATURE = 0.5
"""The same of coarser levels' latents, if their gain were that of the quality."""
_LOOPS = 16
"""Most rounds of :func:`close_loop`."""
_LOOP_SHARE = 0.3
"""Squared error that :func:`close_loop` leaves, as a share of the quantization's."""
_SIMILARITY = 0.5
"""Share of the error that is weighted by local variance, as in SSIM."""
_BLOCK = 8
"""Edge in pixels of the blocks whose variance is taken."""
_TYPICAL_VARIANCE = 257.0
"""Harmonic mean of block variance + SSIM's constant in photographs, 0-255 scale."""


@torch.no_grad()
def first_choice(
    model: VQVAE, pyramid: FeaturePyramid, corrections: Sequence[Tensor], quality: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Return each level's scaled latents and codewords (1, D, H, W), chosen by distance and average bits.

    ``corrections`` (1, C, H, W) are added to each level's leading latents; ``quality`` (1,) in ``[0, knots - 1]``.
    """
    conditioning: Conditioning | None = None
    latents, codewords = [], []
    for level in range(len(model.quantizers)):
        with half(quality.device, min(pyramid.linear[0].shape[2:])):
            z = model.latents(level, pyramid, conditioning, quality)
        z[:, : corrections[level].shape[1]] += corrections[level]
        latents.append(z)
        codewords.append(_static_codewords(model, level, z, quality))
        if level + 1 < len(model.quantizers):
            with half(quality.device, min(pyramid.linear[0].shape[2:])):
                conditioning = model.advance(level, codewords[-1], conditioning, quality)
    return latents, codewords


def _static_codewords(model: VQVAE, level: int, z: Tensor, quality: Tensor) -> Tensor:
    """Return the codewords (1, D, H, W) of scaled latents ``z`` (1, D, H, W), chosen by distance and average bits."""
    quantizer = model.quantizers[level]
    return quantizer.lookup(quantizer.join_indices(quantizer.static_choice(z, quality), (1, *z.shape[2:])))


@torch.enable_grad()
def close_loop(model: VQVAE, x: Tensor, z: Tensor, conditioning: Conditioning | None, quality: Tensor) -> Tensor:
    """Return scaled latents (1, D, H, W) of the finest level from which the synthesis makes the picture ``x``.

    The analysis is not exact, least of all for pictures unlike those of the training.  Conjugate gradients (Polak &
    Ribiere 1969) on the squared error, from ``z`` (1, D, H, W), until it is small beside that of the quantization.
    ``x`` is the padded picture (1, 3, H, W) in [0, 1].  In float32, as the rounds would amplify what bfloat16 rounds
    differently with another number of threads.
    """
    gain = model.gain(len(model.log_gain) - 1, quality)
    chosen = _static_codewords(model, len(model.quantizers) - 1, z, quality)
    goal = _LOOP_SHARE * _quantization_error(model, z, chosen, quality)
    direction, last = torch.zeros_like(z), torch.zeros_like(z)
    for _ in range(_LOOPS):
        leaf = z.detach().requires_grad_()
        y = model.pixels(leaf, conditioning, quality)
        error = x - y
        if _sum(error.square()) <= goal:
            break
        (gradient,) = torch.autograd.grad(error.square().sum(), leaf)
        length = _sum(last.square())
        turn = max(0.0, _sum(gradient * (gradient - last)) / length) if length else 0.0
        direction, last = turn * direction - gradient, gradient
        step = gain.mean().square() / 2 * direction
        with torch.no_grad():
            change = model.pixels(z + step, conditioning, quality) - y.detach()
        z = z + step * (_sum(error * change) / max(_sum(change.square()), 1e-30))
    return z.detach()


def _sum(values: Tensor) -> float:
    """Return the sum of a tensor, the same for any number of threads, which torch's own is not."""
    return float(values.detach().double().cpu().numpy().sum())


@dataclass(frozen=True)
class Refinement:
    """What a choice of codewords tells about the latents."""

    corrections: list[Tensor]
    """What to add to each level's scaled latents, (1, D, H, W), in cells."""
    pixels: Tensor
    """(1, 3, H, W): the picture of the codewords, nominally in [0, 1], not clipped."""
    is_exact: bool
    """Whether the squared error is that of the finest level's quantization, or less.  If not, as for pictures unlike
    those of the training, or at high quality, :func:`close_loop` helps."""


@torch.enable_grad()
def refine(
    model: VQVAE,
    x: Tensor,
    latents: Sequence[Tensor],
    codewords: Sequence[Tensor],
    quality: Tensor,
    size: tuple[int, int],
    share: float = 1.0,
    rate_gradients: Sequence[Tensor] | None = None,
) -> Refinement:
    """Return corrections of each level's scaled latents, the picture of the codewords, and whether that is exact.

    Args:
        model: an entropy-constrained model.
        x: the padded picture (1, 3, H, W) in [0, 1].
        latents: scaled latents (1, D, H, W) of each level.
        codewords: the codewords (1, D, H, W) chosen for them.
        quality: (1,) in ``[0, knots - 1]``.
        size: height and width of the picture without padding.
        share: how far to go, as a share of the first step.
        rate_gradients: those of the bits of later indices (1, D, H, W), if they count; see ``rate_gradient.py``.
    """
    leaves = [chosen.detach().requires_grad_() for chosen in codewords]
    conditioning: Conditioning | None = None
    with half(x.device, min(x.shape[2:]) // model.config.stride):
        for level, chosen in enumerate(leaves[:-1]):
            conditioning = model.advance(level, chosen, conditioning, quality)
        pixels = model.pixels(leaves[-1], conditioning, quality)
    height, width = size
    error = ((pixels - x).square() * importance(x))[:, :, :height, :width].sum()
    position = float(quality) / (model.config.knots - 1)
    lam = model.config.lambda_at(position)
    gradients = torch.autograd.grad(error * (lam * 255**2 / 3), leaves)  # in bits per cell
    if rate_gradients is not None:
        gradients = tuple(a + b for a, b in zip(gradients, rate_gradients, strict=True))
    low, high = _FINEST_CURVATURE
    unit = model.config.gain_at(position)
    curvatures = [_COARSE_CURVATURE * (unit / model.gain(level, quality)) ** 2 for level in range(len(latents) - 1)]
    curvatures.append(torch.full_like(quality, low + (high - low) * position))
    corrections = [
        share * _STEP * (chosen - gradient * (BIT_PRICE / 2) / curvature - z)
        for z, chosen, gradient, curvature in zip(latents, codewords, gradients, curvatures, strict=True)
    ]
    expected = _quantization_error(model, latents[-1], codewords[-1], quality)
    return Refinement(corrections, pixels.detach(), _sum((pixels - x).square()) <= expected)


def _quantization_error(model: VQVAE, z: Tensor, chosen: Tensor, quality: Tensor) -> float:
    """Return the squared error in pixels of codewords for ``z``, both (1, D, H, W), at the finest level."""
    gain = model.gain(len(model.log_gain) - 1, quality)
    return _sum(((z - chosen) / gain).square())


def importance(x: Tensor) -> Tensor:
    """Return weights (1, 1, H, W) of the squared error for ``x`` (1, 3, H, W) in [0, 1], about 1 on average.

    A share follows 1 - SSIM (Wang 2004), which for small errors is the squared error over twice the local variance
    plus a constant: an error is more visible in smooth areas than in texture.
    """
    y = x.mean(1, keepdim=True) * 255
    mean, power = (F.avg_pool2d(v, _BLOCK, ceil_mode=True) for v in (y, y.square()))
    visible = _TYPICAL_VARIANCE / ((power - mean.square()).clamp(min=0) + (0.03 * 255) ** 2)
    visible = F.interpolate(visible, x.shape[2:], mode="bilinear")
    return 1 - _SIMILARITY + _SIMILARITY * visible
