"""Autoencoders without a code: the latents are real numbers, and nothing bounds their rate.

What keeps them from copying is the width of the bottleneck, a penalty on the latents or on the encoder's Jacobian, or
a corrupted input.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.bottlenecks.protocol import Bottleneck, Coded, Corruption

NOISE = 0.1
"""Standard deviation of the denoising autoencoder's noise; samples are in [0, 1]."""
ACTIVITY = 1.0
"""Weight of the sparse autoencoder's L1 penalty, nats per unit."""
CONTRACTION = 0.1
"""Weight of the contractive penalty, nats per unit of the Jacobian's squared norm."""
HIDDEN = 0.5
"""Fraction of the patches that the masked autoencoder hides."""
PATCHES = 4
"""Patches along each axis of a picture."""


class Plain(Bottleneck):
    """Pass the latents on (Rumelhart, Hinton & Williams 1986; Hinton & Salakhutdinov 2006)."""

    def code(self, z: Tensor, progress: float) -> Coded:
        """Return ``z`` (B, D, H, W) as it is."""
        return Coded(z, None, z.new_zeros(()))


class Sparse(Plain):
    """Penalise the latents' absolute values, so that few of them are large (Ng 2011, CS294A lecture notes)."""

    def code(self, z: Tensor, progress: float) -> Coded:
        """Return ``z`` (B, D, H, W) with an L1 penalty; the statistic is the fraction of latents near zero."""
        near_zero = (z.detach().abs() < 0.01).float().mean()
        return Coded(z, None, ACTIVITY * z.abs().sum() / len(z), statistics={"near zero": float(near_zero)})


def add_noise(x: Tensor, generator: torch.Generator) -> Corruption:
    """Add Gaussian noise to ``x``, of any shape (Vincent et al. 2008).

    The best reconstruction of a noisy ``x'`` is ``x' + NOISE^2 * score(x')``, with the score ``grad log p(x')`` of the
    noisy data (Vincent 2011, "A connection between score matching and denoising autoencoders").
    """
    return Corruption(x + NOISE * torch.randn(x.shape, generator=generator), x.new_ones(()))


def hide_patches(x: Tensor, generator: torch.Generator) -> Corruption:
    """Replace :data:`HIDDEN` of the patches of ``x`` (B, C, S, S) by grey; only these count (He et al. 2022)."""
    batch, side = len(x), x.shape[-1]
    rank = torch.rand(batch, PATCHES**2, generator=generator).argsort(1).argsort(1)
    hidden = (rank < HIDDEN * PATCHES**2).float().reshape(batch, 1, PATCHES, PATCHES)
    mask = F.interpolate(hidden, (side, side), mode="nearest")
    return Corruption(torch.lerp(x, torch.full_like(x, 0.5), mask), mask / mask.mean())


def jacobian_norm(z: Tensor, x: Tensor, probes: Tensor) -> Tensor:
    """Return ``sum_p |v_p^T J|^2`` per picture (B,), with the Jacobian ``J`` of ``z`` with respect to ``x``.

    With an orthonormal basis as ``probes`` (P, *z.shape) this is the squared Frobenius norm; with one probe of
    independent numbers of variance 1 it is so on average (Hutchinson 1990).
    """
    total = x.new_zeros(len(x))
    for probe in probes:
        (gradient,) = torch.autograd.grad(z, x, probe, create_graph=True)
        total = total + gradient.flatten(1).square().sum(1)
    return total


def contraction(z: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Return the penalty of the contractive autoencoder (Rifai et al. 2011), from one random probe."""
    return CONTRACTION * jacobian_norm(z, x, torch.randn(1, *z.shape, generator=generator)).mean()
