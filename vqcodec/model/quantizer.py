"""Latents <-> indices: product quantization, the choice of codewords, and codebook learning.

A :class:`ProductQuantizer` is one slice: ``G`` codebooks of ``K`` codewords in ``d`` dimensions.  Its tensors are
``(G, N, ...)`` with ``N`` grid positions, so that one batched matrix product serves all groups.  Latents come from
``vqvae.py``; the caller passes in the prior's logits where bits count.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vqcodec.config import BIT_PRICE, SliceConfig


def lattice(dim: int, size: int) -> Tensor:
    """Return (size, dim): the points of Z, A2, D4 or E8 nearest to the origin, in other dimensions random points.

    Unit cell volume, the origin first (Conway & Sloane, "Sphere Packings, Lattices and Groups", ch. 4).
    """
    if dim == 1:
        points = torch.arange(-size, size + 1.0)[:, None]
    elif dim == 2:
        reach = range(-math.isqrt(size) - 4, math.isqrt(size) + 5)
        points = torch.tensor([(i + j / 2, j * math.sqrt(3) / 2) for i in reach for j in reach])
        points = points * math.sqrt(2 / math.sqrt(3))
    elif dim == 4:
        even = [v for v in itertools.product(range(-4, 5), repeat=4) if sum(v) % 2 == 0]
        points = torch.tensor(even).float() * 2**-0.25
    elif dim == 8:
        even = [v for v in itertools.product((-1, 0, 1), repeat=8) if sum(v) % 2 == 0 and sum(map(abs, v)) <= 2]
        half = [v for v in itertools.product((-0.5, 0.5), repeat=8) if sum(v) % 2 == 0]
        points = torch.cat([torch.tensor(even).float(), torch.tensor(half), 2 * torch.eye(8), -2 * torch.eye(8)])
    else:
        points = torch.randn(size, dim, generator=torch.Generator().manual_seed(0))
        points[0] = 0
    if len(points) < size:
        raise ValueError(f"no lattice for a codebook of {size} codewords in {dim} dimensions")
    # Rounded norms and a stable sort: ties keep the order of construction on every machine.
    return points[torch.argsort(points.norm(dim=1).mul(1e4).round(), stable=True)[:size]]


@dataclass(frozen=True)
class Usage:
    """Codebook usage of a slice, averaged over its groups."""

    perplexity: float
    used: float
    """Fraction of codewords chosen at least 1/100 as often as under uniform use."""


class ProductQuantizer(nn.Module):
    """One slice's codebooks, learned by exponential moving averages (van den Oord et al. 2017, appendix A.1).

    With ``pin_zero`` the first codeword of every group stays zero.
    """

    codebook: Tensor
    """(G, K, d)."""
    counts: Tensor
    """(G, K): moving average of how often each codeword is chosen."""
    sums: Tensor
    """(G, K, d): moving average of the latents that chose each codeword."""
    frequencies: Tensor
    """(knots, G, K): how often each codeword is chosen near each quality."""

    def __init__(self, config: SliceConfig, knots: int, pin_zero: bool):
        super().__init__()
        self.config, self.pin_zero = config, pin_zero
        with torch.device("cpu"):  # on the "meta" device torch would import sympy for this
            codebook = lattice(config.dim, config.size).repeat(config.groups, 1, 1)
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.ones(config.groups, config.size))
        self.register_buffer("sums", codebook.clone())
        decay = torch.softmax(-codebook.norm(dim=2) * 2, dim=1)
        self.register_buffer("frequencies", decay.repeat(knots, 1, 1))

    def split(self, latents: Tensor) -> Tensor:
        """Reshape latents (B, G * d, H, W) to (G, B * H * W, d)."""
        b, _, h, w = latents.shape
        grouped = latents.reshape(b, self.config.groups, self.config.dim, h, w)
        return grouped.permute(1, 0, 3, 4, 2).reshape(self.config.groups, b * h * w, self.config.dim)

    def costs(self, z: Tensor, logits: Tensor | None = None) -> Tensor:
        """Return rate-distortion costs (G, N, K) of ``z`` (G, N, d), up to a constant per row.

        Squared distance plus bits times :data:`BIT_PRICE`, from natural ``logits`` (G, N, K), which need not be
        normalised; without logits, the squared distance (entropy-constrained VQ, Chou et al. 1989).
        """
        norms = self.codebook.square().sum(2)[:, None]
        distance = torch.baddbmm(norms, z, self.codebook.transpose(1, 2), alpha=-2)
        return distance if logits is None else distance.sub_(logits, alpha=BIT_PRICE / math.log(2))

    def static_logits(self, quality: Tensor, positions: int) -> Tensor:
        """Return logits (G, B * positions, K) from the codewords' frequencies near ``quality`` (B,)."""
        logits = self.frequencies.clamp_min(1e-6).log()[quality.round().long()].transpose(0, 1)
        return logits.repeat_interleave(positions, 1)

    def static_choice(self, z: Tensor, quality: Tensor) -> Tensor:
        """Choose indices (G, N) for one picture's ``z`` (G, N, d) with static logits near ``quality`` (1,).

        Works group by group, so that the (N, K) costs stay in the cache.
        """
        prices = self.static_logits(quality, 1)[:, 0] * (BIT_PRICE / math.log(2))
        offsets = self.codebook.square().sum(2) - prices
        groups = zip(offsets, z, self.codebook, strict=True)
        return torch.stack([torch.addmm(o, rows, words.T, alpha=-2).argmin(1) for o, rows, words in groups])

    def lookup(self, indices: Tensor) -> Tensor:
        """Return the codewords (G, N, d) of indices (G, N)."""
        return torch.gather(self.codebook, 1, indices[:, :, None].expand(-1, -1, self.config.dim))

    def join(self, rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Invert :meth:`split`: reshape (G, N, d) to (B, G * d, H, W), with ``shape = (B, H, W)``."""
        b, h, w = shape
        groups, _, dim = rows.shape
        return rows.reshape(groups, b, h, w, dim).permute(1, 0, 4, 2, 3).reshape(b, groups * dim, h, w)

    @torch.no_grad()
    def learn(self, z: Tensor, indices: Tensor, quality: Tensor, decay: float = 0.995) -> None:
        """Move each codeword towards the mean of the latents that chose it.

        Latents ``z`` (G, N, d) and ``indices`` (G, N) are ordered by picture, with ``quality`` (B,).  A
        pseudo-observation at the codeword itself (Laplace smoothing) keeps unused codewords in place.
        """
        groups, _, dim = z.shape
        counts, sums = torch.zeros_like(self.counts), torch.zeros_like(self.sums)
        counts.scatter_add_(1, indices, torch.ones_like(indices, dtype=counts.dtype))
        sums.scatter_add_(1, indices[:, :, None].expand(-1, -1, dim), z.to(sums.dtype))
        self.counts.lerp_(counts, 1 - decay)
        self.sums.lerp_(sums, 1 - decay)
        smoothing = 0.05
        self.codebook.copy_(
            (self.sums + smoothing * self.codebook) / (self.counts + smoothing)[:, :, None],
        )
        if self.pin_zero:
            self.codebook[:, 0] = 0
        by_picture = indices.reshape(groups, len(quality), -1)
        for knot, chosen in zip(quality.round().long().tolist(), by_picture.unbind(1), strict=True):
            share = torch.zeros_like(self.counts)
            share.scatter_add_(1, chosen, torch.full(chosen.shape, 1 / chosen.shape[1]).to(share))
            self.frequencies[knot].lerp_(share, 0.01)

    @torch.no_grad()
    def revive(self, z: Tensor, generator: torch.Generator) -> int:
        """Move unused codewords onto random latents of the batch ``z`` (G, N, d); return how many moved."""
        dead = self.counts < 0.01 * self.counts.mean(1, keepdim=True)
        if self.pin_zero:
            dead[:, 0] = False
        group, word = dead.nonzero(as_tuple=True)
        pick = torch.randint(z.shape[1], group.shape, generator=generator).to(group)
        fresh = z[group, pick].to(self.codebook.dtype)
        self.codebook[group, word] = fresh
        self.counts[group, word] = self.counts.mean(1)[group]
        self.sums[group, word] = fresh * self.counts[group, word, None]
        return len(group)

    def usage(self) -> Usage:
        """Return perplexity and fraction of used codewords."""
        p = self.counts / self.counts.sum(1, keepdim=True)
        perplexity = torch.special.entr(p).sum(1).exp().mean()
        return Usage(float(perplexity), float((p > 0.01 / self.config.size).float().mean()))


def straight_through(z: Tensor, quantized: Tensor) -> Tensor:
    """Return ``quantized`` with the gradient passed straight through to ``z``."""
    return z + (quantized - z).detach()


@torch.no_grad()
def expected_bits_gradient(costs: Tensor, logits: Tensor, codebook: Tensor, temperature: float = 0.2) -> Tensor:
    """Return the gradient (G, N, d) of a soft choice's expected bits with respect to the latents ``z``.

    With ``w = softmax(-costs / temperature)`` the derivative of ``sum_k w_k bits_k`` is
    ``2 / temperature * Cov_w(bits, codeword)``.  The closed form keeps no (G, N, K) tensor for a backward pass, and
    constants in the logits cancel.  ``costs`` and ``logits`` are (G, N, K), ``codebook`` (G, K, d); ``costs`` are
    overwritten.
    """
    weights = torch.softmax(costs.mul_(-1 / temperature), -1)
    mean = weights @ codebook
    weighted = weights.mul_(logits)
    covariance = weighted @ codebook - weighted.sum(-1, keepdim=True) * mean
    return covariance * (-2 / (temperature * math.log(2)))
