"""Pixels <-> grids of indices: the hierarchical VQ-VAE, one level at a time.

Razavi, van den Oord & Vinyals, "Generating Diverse High-Fidelity Images with VQ-VAE-2", 2019 (arXiv:1906.00446), with
product codebooks.  A level's latents depend on the coarser levels' *decoded* indices, so encoding goes level by level:
the caller chooses indices between :meth:`VQVAE.latents` and :meth:`VQVAE.advance`.

    analyse -> [ latents -> (choose indices) -> advance ] for every level -> pixels
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqcodec.config import ModelConfig
from vqcodec.model.grids import Grids
from vqcodec.model.layers import ModuleSequence, QualityVector
from vqcodec.model.quantizer import LevelQuantizer
from vqcodec.model.transform import (
    Analysis,
    BlockTransform,
    Conditioning,
    LatentProjection,
    LevelSynthesis,
    PixelSynthesis,
)


@dataclass(frozen=True)
class FeaturePyramid:
    """Output of the analysis, one tensor per level, coarse to fine."""

    features: list[Tensor]
    """(B, C, H, W), ``C`` channels of the level."""
    linear: list[Tensor]
    """(B, D, H, W): latents by the block transforms, unscaled."""


def pad(x: Tensor, stride: int) -> Tensor:
    """Pad (B, C, H, W) to multiples of ``stride``, repeating the last row and column."""
    return F.pad(x, (0, -x.shape[3] % stride, 0, -x.shape[2] % stride), mode="replicate")


class VQVAE(nn.Module):
    """Transforms and codebooks of a model, without the prior (VQ-VAE-2, arXiv:1906.00446).

    ``quality`` (B,) is in ``[0, knots - 1]`` throughout; ``conditioning`` is None for the coarsest level.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        levels, knots = config.levels, config.knots
        coarser = [None, *levels]
        self.analysis = Analysis(config)
        self.project = ModuleSequence(LatentProjection(a, b, knots) for a, b in zip(levels, coarser, strict=False))
        self.synthesis = ModuleSequence(
            LevelSynthesis(level, coarse, finer, knots)
            for level, coarse, finer in zip(levels, coarser, levels[1:], strict=False)
        )
        self.pixel_synthesis = PixelSynthesis(config)
        self.log_gain = ModuleSequence(QualityVector(knots, level.latents) for level in levels)
        self.quantizers = ModuleSequence(LevelQuantizer(level, knots, config.entropy_constrained) for level in levels)
        with torch.no_grad():
            for vector in self.log_gain:
                for knot, values in enumerate(vector.values):
                    values.fill_(math.log(config.gain_at(knot / (knots - 1))))

    def transforms(self) -> list[BlockTransform]:
        """Return the block transforms, coarse to fine; the i-th computes the linear latents of level ``i``."""
        return [*(s.transform for s in self.synthesis), self.pixel_synthesis.transform]

    def analyse(self, x: Tensor, quality: Tensor) -> FeaturePyramid:
        """Analyse ``x`` (B, 3, H, W) in [0, 1], H and W multiples of the coarsest stride."""
        x = x - 0.5
        linear: list[Tensor] = []
        source = x
        for transform, level in zip(reversed(self.transforms()), reversed(self.config.levels), strict=True):
            latents = transform(source)
            linear.append(latents)
            source = latents[:, : level.predicted]
        return FeaturePyramid(self.analysis(x, quality), linear[::-1])

    def latents(
        self, level: int, pyramid: FeaturePyramid, conditioning: Conditioning | None, quality: Tensor
    ) -> Tensor:
        """Return the scaled latents (B, D, H, W) of a level, in codebook cells."""
        return self.unscaled(level, pyramid, conditioning, quality) * self.gain(level, quality)

    def unscaled(
        self, level: int, pyramid: FeaturePyramid, conditioning: Conditioning | None, quality: Tensor
    ) -> Tensor:
        """Return the latents (B, D, H, W) of a level before :meth:`gain` is applied."""
        z: Tensor = pyramid.linear[level] + self.project[level](pyramid.features[level], conditioning, quality)
        return z if conditioning is None else self._add_predicted(z, conditioning, -1)

    def gain(self, level: int, quality: Tensor) -> Tensor:
        """Return the gain (B, D, 1, 1) of a level's latents, in cells per unit."""
        return self.log_gain[level].image(quality).exp()

    def dequantize(self, level: int, indices: Tensor) -> Tensor:
        """Return the codewords (B, D, H, W) of ``indices`` (B, G, H, W), in cells."""
        return self.quantizers[level].lookup(indices)

    def decoded(self, level: int, quantized: Tensor, conditioning: Conditioning | None, quality: Tensor) -> Tensor:
        """Return the decoded latents (B, D, H, W) of codewords (B, D, H, W): unscaled, with the prediction added."""
        latents = quantized / self.gain(level, quality)
        return latents if conditioning is None else self._add_predicted(latents, conditioning, 1)

    def advance(
        self, level: int, quantized: Tensor, conditioning: Conditioning | None, quality: Tensor
    ) -> Conditioning:
        """Return the next finer level's conditioning, given a level's codewords (B, D, H, W)."""
        latents = self.decoded(level, quantized, conditioning, quality)
        finer: Conditioning = self.synthesis[level](latents, conditioning, quality)
        return finer

    def pixels(self, quantized: Tensor, conditioning: Conditioning | None, quality: Tensor) -> Tensor:
        """Map the finest level's codewords (B, D, H, W) to pixels (B, 3, H, W), nominally in [0, 1], not clipped."""
        latents = self.decoded(len(self.config.levels) - 1, quantized, conditioning, quality)
        pixels: Tensor = self.pixel_synthesis(latents, conditioning, quality)
        return pixels

    def decode_latents(self, grids: Grids, quality: Tensor) -> tuple[Tensor, Conditioning | None]:
        """Map the indices of all levels to the finest level's decoded latents (B, D, H, W) and its conditioning."""
        conditioning = None
        for level, indices in enumerate(grids.levels[:-1]):
            conditioning = self.advance(level, self.dequantize(level, indices), conditioning, quality)
        finest = len(grids.levels) - 1
        quantized = self.dequantize(finest, grids.levels[finest])
        return self.decoded(finest, quantized, conditioning, quality), conditioning

    def preview(self, top: Tensor, quality: Tensor) -> Tensor:
        """Map the coarsest indices (B, G, H, W) to pixels (B, 3, H, W), nominally in [0, 1], not clipped.

        Finer latents count as zero and only the block transforms run: within 1 to 2 dB of the full synthesis of the
        same indices, at a small part of its cost.
        """
        latents = self.decoded(0, self.dequantize(0, top), None, quality)
        for synthesis in self.synthesis:
            latents = synthesis.transform.inverse(latents)
        return self.pixel_synthesis.linear(latents)

    @property
    def reach(self) -> int:
        """Distance in pixels up to which an index affects a pixel, rounded up to the coarsest stride."""
        reach = self.pixel_synthesis.reach * self.config.finest.stride
        for synthesis, level in zip(self.synthesis, self.config.levels, strict=False):
            reach += synthesis.reach * level.stride
        return -(-reach // self.config.stride) * self.config.stride

    @property
    def analysis_reach(self) -> int:
        """Distance in pixels up to which a pixel affects a latent, rounded up to the coarsest stride."""
        reach = []
        features = self.analysis.reach
        conditioning = 0
        for i, (project, level) in enumerate(zip(self.project, self.config.levels, strict=True)):
            reach.append(project.reach * level.stride + max(features[i], conditioning))
            if i < len(self.synthesis):
                conditioning += self.synthesis[i].reach * level.stride
        return -(-max(reach) // self.config.stride) * self.config.stride

    @staticmethod
    def _add_predicted(latents: Tensor, conditioning: Conditioning, sign: int) -> Tensor:
        known = conditioning.predicted.shape[1]
        return torch.cat([latents[:, :known] + sign * conditioning.predicted, latents[:, known:]], 1)
