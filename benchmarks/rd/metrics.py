"""Compare a decoded picture with the original, both 8-bit RGB.

* PSNR over all RGB samples, and over luma (ITU-R BT.601, full range), in dB.
* SSIM of Wang et al. 2004 (Gaussian window, sigma 1.5), averaged over R, G and B, by scikit-image.
* MS-SSIM of Wang et al. 2003 (five scales), averaged over R, G and B, by ``pytorch-msssim``; linear, 1 is identical.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pytorch_msssim import ms_ssim
from skimage.metrics import structural_similarity

from vqcodec import metrics

IDENTICAL_DB = 100.0
"""PSNR of identical pictures; infinity would spoil means and is not valid JSON."""
MS_SSIM_SIDE = 161
"""Smallest side for MS-SSIM, which halves the picture four times and then needs an 11-pixel window."""

_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Scores:
    """Metrics of one decoded picture."""

    psnr_rgb: float
    """In dB."""
    psnr_y: float
    """In dB, of luma."""
    ssim_rgb: float
    """Linear; 1 means identical."""
    ms_ssim_rgb: float | None
    """Linear; None for pictures with a side below :data:`MS_SSIM_SIDE`."""


def score(original: Image.Image, decoded: Image.Image) -> Scores:
    """Compute all metrics of a decoded picture; both pictures must be RGB and of one size."""
    a, b = np.asarray(original), np.asarray(decoded)
    ssim = structural_similarity(
        a, b, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    large = min(a.shape[:2]) >= MS_SSIM_SIDE
    return Scores(_psnr(a, b), _psnr(a @ _LUMA, b @ _LUMA), float(ssim), _ms_ssim(a, b) if large else None)


def similarity_db(value: float) -> float:
    """Convert SSIM or MS-SSIM to dB: ``-10 log10(1 - value)``, which spreads out the values near 1."""
    return -10 * math.log10(max(1 - value, 10 ** (-IDENTICAL_DB / 10)))


def _psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    return min(metrics.psnr(a, b), IDENTICAL_DB)


def _ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    x, y = (torch.from_numpy(v.transpose(2, 0, 1).astype(np.float32))[None] for v in (a, b))
    with torch.inference_mode():
        return float(ms_ssim(x, y, data_range=255))
