"""Evaluate a network on validation photographs: rate-distortion points and BD-rate against JPEG.

Rates are the prior's cross-entropy, not bytes; ``benchmarks/`` measures bytes.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import bjontegaard
import numpy as np
import torch
from PIL import Image
from pytorch_msssim import ms_ssim
from torch import Tensor

from vqcodec.metrics import psnr_of_mse
from vqcodec.model.exact import unrounded
from vqcodec.model.vqvae import pad
from vqcodec.training.network import Network
from vqcodec.training.objective import encode

QUALITIES = (0.084, 0.21, 0.336, 0.462, 0.588)
"""Positions of the validation points in the quality range, from about 0.1 to 1.3 bpp."""
MS_SSIM_SIDE = 161
"""Least picture edge for MS-SSIM: four halvings, then a window of 11 pixels."""
_MIN_MSE = 1e-9
"""Keeps the PSNR of identical pictures finite."""
JPEG_QUALITIES = (8, 14, 22, 32, 45, 60, 75, 85, 92, 95)
"""Quality settings of the anchor curve."""


@dataclass(frozen=True)
class Point:
    """A rate-distortion point: means over the pictures of a set."""

    bpp: float
    """Bits per pixel."""
    psnr: float
    """RGB PSNR in dB."""
    ms_ssim: float
    """MS-SSIM (Wang 2003), mean of R, G and B; NaN if an edge is shorter than :data:`MS_SSIM_SIDE`."""


@dataclass(frozen=True)
class SliceStatistics:
    """Statistics of one slice at one quality, averaged over pictures."""

    level: int
    slice: int
    position: float
    """Position in the quality range, 0 to 1."""
    bpp: float
    distortion: float
    """Squared error per dimension, in cells: 1/12 for uniform cells, much more under overload."""
    perplexity: float
    """Of the moving averages of training, which do not depend on the quality."""
    used: float
    """Fraction of codewords in use, by the same averages."""


@dataclass(frozen=True)
class Evaluation:
    """Results of :func:`evaluate`."""

    points: list[Point]
    """By increasing quality."""
    bd_rate: float
    """BD-rate against JPEG at equal PSNR, percent."""
    bd_rate_ms_ssim: float
    """BD-rate against JPEG at equal MS-SSIM, percent."""
    slices: list[SliceStatistics]

    def summary(self) -> str:
        """Return the two BD-rates as text."""
        return f"{self.bd_rate:.2f} % (PSNR), {self.bd_rate_ms_ssim:.2f} % (MS-SSIM)"


def measure(bits: float, x: Tensor, y: Tensor) -> Point:
    """Return the point of a decoded picture ``y`` of ``x``, both (1, 3, H, W), 0-255 scale, coded in ``bits``."""
    mse = (y - x).square().mean().item()
    similarity = ms_ssim(y, x, data_range=255).item() if min(x.shape[2:]) >= MS_SSIM_SIDE else math.nan
    return Point(bits / (x.shape[2] * x.shape[3]), psnr_of_mse(max(mse, _MIN_MSE)), similarity)


@cache
def _jpeg_point(pixels: bytes, size: tuple[int, int], quality: int) -> Point:
    image, buffer = Image.frombytes("RGB", size, pixels), io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    x, y = (torch.from_numpy(np.array(i)).permute(2, 0, 1)[None].float() for i in (image, Image.open(buffer)))
    return measure(8 * buffer.getbuffer().nbytes, x, y)


def jpeg_points(photos: Sequence[Tensor]) -> list[Point]:
    """Return the points of Pillow's JPEG (``optimize=True``, default subsampling) for photos (3, H, W) uint8."""
    result = []
    for quality in JPEG_QUALITIES:
        points = [_jpeg_point(p.permute(1, 2, 0).numpy().tobytes(), (p.shape[2], p.shape[1]), quality) for p in photos]
        result.append(_mean(points))
    return result


@torch.no_grad()
def rounding_cost(network: Network, photos: Sequence[Tensor], positions: Sequence[float] = QUALITIES) -> float:
    """Return the rate overhead, as a fraction, of the integer prior over the same prior without rounding.

    Both code the same indices of ``photos`` (3, H, W) uint8.
    """
    network.eval()
    config = network.config
    exact = floating = 0.0
    for position in positions:
        quality = torch.tensor([position * (config.knots - 1)])
        for photo in photos:
            x = pad(photo[None].float() / 255, config.stride)
            encoding = encode(network.vqvae, network.prior, x, quality, train_transforms=False)
            exact += sum(b.item() for b in encoding.bits)
            with unrounded():
                floating += sum(b.item() for b in network.prior.bits(encoding.grids, quality))
    network.train()
    return exact / floating - 1


def bd_rate(anchor: Sequence[Point], points: Sequence[Point], metric: str = "psnr") -> float:
    """Return the mean rate difference at equal ``metric`` (psnr or ms_ssim), in percent (Bjontegaard 2001).

    NaN if the curves do not overlap.
    """

    def qualities(curve: Sequence[Point]) -> list[float]:
        return [p.psnr if metric == "psnr" else -10 * math.log10(1 - p.ms_ssim) for p in curve]

    reference, tested = qualities(anchor), qualities(points)
    if len(points) < 2 or not min(reference) < max(tested) or not min(tested) < max(reference):
        return math.nan
    curves = [p.bpp for p in anchor], reference, [p.bpp for p in points], tested
    return float(bjontegaard.bd_rate(*curves, method="pchip", require_matching_points=False, min_overlap=0))


def _mean(points: Sequence[Point]) -> Point:
    return Point(*(float(v) for v in np.mean([(p.bpp, p.psnr, p.ms_ssim) for p in points], 0)))


@torch.no_grad()
def evaluate(network: Network, photos: Sequence[Tensor], positions: Sequence[float] = QUALITIES) -> Evaluation:
    """Evaluate ``network`` on ``photos`` (3, H, W) uint8 at ``positions``, 0 to 1, of the quality range."""
    network.eval()
    config = network.config
    device = next(network.parameters()).device
    points, slices = [], []
    shapes = [(i, j) for i, level in enumerate(config.levels) for j in range(len(level.slices))]
    for position in positions:
        quality = torch.tensor([position * (config.knots - 1)], device=device)
        singles: list[Point] = []
        bits: list[list[float]] = []
        errors: list[list[float]] = []
        for photo in photos:
            x = photo[None].to(device).float() / 255
            encoding = encode(network.vqvae, network.prior, pad(x, config.stride), quality, train_transforms=False)
            y = network.vqvae.pixels(encoding.quantized, encoding.conditioning, quality)
            y = y[:, :, : x.shape[2], : x.shape[3]].clamp(0, 1)
            area = x.shape[2] * x.shape[3]
            bits.append([b.item() / area for b in encoding.bits])
            singles.append(measure(area * sum(bits[-1]), x * 255, (y * 255).round()))
            errors.append([])
            for level, (z, indices) in enumerate(zip(encoding.latents, encoding.grids.levels, strict=True)):
                error = (z - network.vqvae.dequantize(level, indices)).square().mean((0, 2, 3))
                errors[-1] += [
                    e.mean().item() for e in torch.split(error, [s.channels for s in config.levels[level].slices])
                ]
        points.append(_mean(singles))
        rates, distortions = np.mean(bits, 0), np.mean(errors, 0)
        for (level, number), rate, distortion in zip(shapes, rates, distortions, strict=True):
            usage = network.vqvae.quantizers[level][number].usage()
            slices.append(
                SliceStatistics(level, number, position, float(rate), float(distortion), usage.perplexity, usage.used)
            )
    network.train()
    jpeg = jpeg_points(photos)
    return Evaluation(points, bd_rate(jpeg, points), bd_rate(jpeg, points, "ms_ssim"), slices)
