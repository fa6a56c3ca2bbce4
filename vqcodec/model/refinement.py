"""Latents -> better latents: what the synthesis would rather be given, found by its own gradient.

The analysis was trained on many pictures and one pass of it is a guess for this one.  At a choice of codewords, the
gradient of the error says how each latent should differ; a part of a Newton step in that direction, before the next
choice, saves bits at equal quality.  The decoder is not concerned.

After Yang, Bamler & Mandt, "Improving Inference for Neural Image Compression", NeurIPS 2020, who take thousands of
small steps; with the step size that the codebook's cells suggest, the first is most of what there is to gain.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vqcodec.config import BIT_PRICE
from vqcodec.model.torch_state import half
from vqcodec.model.transform import Conditioning
from vqcodec.model.vqvae import VQVAE, FeaturePyramid

_COARSE_STEP, _FINEST_STEP = 0.05, 0.3
"""Parts of a Newton step.  Finer levels make up for the errors of coarser ones, which may therefore go less far."""
_SIMILARITY = 0.5
"""Part of the error that counts as in SSIM, by its surroundings."""
_BLOCK = 8
"""Pixels along each side of what counts as surroundings."""
_TYPICAL_VARIANCE = 257.0
"""Harmonic mean over blocks of photographs of variance + SSIM's constant, on the 0-255 scale."""


@torch.no_grad()
def first_choice(model: VQVAE, pyramid: FeaturePyramid, quality: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Scaled latents and codewords of each level, (1, D, H, W), chosen by distance and average bits."""
    conditioning: Conditioning | None = None
    latents, codewords = [], []
    for level, quantizers in enumerate(model.quantizers):
        with half(quality.device):
            z = model.latents(level, pyramid, conditioning, quality)
        parts = []
        for quantizer, part in zip(quantizers, z.split([q.config.channels for q in quantizers], 1), strict=True):
            chosen = quantizer.usual_choice(quantizer.split(part), quality)
            parts.append(quantizer.join(quantizer.lookup(chosen), (1, *z.shape[2:])))
        latents.append(z)
        codewords.append(torch.cat(parts, 1))
        if level + 1 < len(model.quantizers):
            with half(quality.device):
                conditioning = model.advance(level, codewords[-1], conditioning, quality)
    return latents, codewords


@torch.enable_grad()
def corrections(
    model: VQVAE,
    x: Tensor,
    latents: Sequence[Tensor],
    codewords: Sequence[Tensor],
    quality: Tensor,
    size: tuple[int, int],
) -> list[Tensor]:
    """What to add to the scaled latents of each level, (1, D, H, W).

    Args:
        model: one whose codewords are chosen by distance and bits.
        x: a picture (1, 3, H, W) in [0, 1], padded; only ``size = (height, width)`` of it counts.
        latents: of each level, (1, D, H, W).
        codewords: what was chosen for them.
        quality: (1,) among the knots.
    """
    leaves = [chosen.detach().requires_grad_() for chosen in codewords]
    conditioning: Conditioning | None = None
    with half(x.device):
        for level, chosen in enumerate(leaves[:-1]):
            conditioning = model.advance(level, chosen, conditioning, quality)
        pixels = model.pixels(leaves[-1], conditioning, quality)
    height, width = size
    error = ((pixels - x).square() * importance(x))[:, :, :height, :width].sum()
    lam = model.config.lambda_at(float(quality) / (model.config.knots - 1))
    gradients = torch.autograd.grad(error * (lam * 255**2 / 3), leaves)  # in bits per cell
    steps = [_COARSE_STEP] * (len(latents) - 1) + [_FINEST_STEP]
    return [
        step * (chosen - gradient * (BIT_PRICE / 2) - z)
        for step, z, chosen, gradient in zip(steps, latents, codewords, gradients, strict=True)
    ]


def importance(x: Tensor) -> Tensor:
    """How much a squared error counts at each pixel of ``x`` (1, 3, H, W) in [0, 1]: (1, 1, H, W), about 1 on average.

    For a part it counts as in 1 - SSIM (Wang 2004), which for small errors is their square over twice the variance
    around them plus a constant: what is lost among leaves would be seen in the sky.
    """
    y = x.mean(1, keepdim=True) * 255
    mean, power = (F.avg_pool2d(v, _BLOCK, ceil_mode=True) for v in (y, y.square()))
    visible = _TYPICAL_VARIANCE / ((power - mean.square()).clamp(min=0) + (0.03 * 255) ** 2)
    visible = F.interpolate(visible, x.shape[2:], mode="bilinear")
    return 1 - _SIMILARITY + _SIMILARITY * visible
