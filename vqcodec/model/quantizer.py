"""Latents <-> indices: product quantization, the choice of codewords, and codebook learning.

A :class:`LevelQuantizer` is one level, a :class:`ProductQuantizer` one slice of it: ``G`` codebooks of ``K`` codewords
in ``d`` dimensions.  The tensors of a slice are ``(G, N, ...)`` with ``N`` grid positions, so that one batched matrix
product serves all groups.  Latents come from ``vqvae.py``; the caller passes in the prior's logits where bits count.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vqcodec.config import BIT_PRICE, LEAST_OUTER_COST, LevelConfig, SliceConfig
from vqcodec.model.layers import ModuleSequence
from vqcodec.outer_points import nearest, outer_points, outer_shell, uniform_bits

_OUTER_BITS = 10.0
"""Price of an outer shell where the prior does not say."""


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


def shells_of(config: SliceConfig, indices: Tensor) -> Tensor:
    """Return the shell of each index; outer shells come last."""
    of_word = torch.repeat_interleave(torch.tensor(config.shells)).to(indices.device)
    shells = of_word[indices.clamp_min(0)]
    if int(indices.min()) < 0:
        shells = torch.where(indices < 0, len(config.shells) + outer_shell(config, indices), shells)
    return shells


def lengths_of(indices: Tensor) -> Tensor:
    """Return the length (N,) of indices (G, N): the number of codebooks up to the last one whose index is not zero."""
    numbers = torch.arange(1, len(indices) + 1, device=indices.device)[:, None]
    return torch.where(indices != 0, numbers, 0).amax(0)


def places_of(mask: Tensor) -> Sequence[Tensor]:
    """Return the positions of each codebook in a mask (G, N): ``G`` tensors (n,), of different lengths."""
    return torch.split(mask.nonzero()[:, 1], mask.sum(1).tolist())


@dataclass(frozen=True)
class Usage:
    """Codebook usage of a slice, averaged over its groups."""

    perplexity: float
    used: float
    """Fraction of codewords chosen at least 1/100 as often as under uniform use."""


class ProductQuantizer(nn.Module):
    """One slice's codebooks, learned by exponential moving averages (van den Oord et al. 2017, appendix A.1).

    With ``entropy_constrained`` the first codeword of every group stays zero, codewords are chosen by distance and
    bits, and latents far from all of them become outer points.
    """

    codebook: Tensor
    """(G, K, d)."""
    counts: Tensor
    """(G, K): moving average of how often each codeword is chosen."""
    sums: Tensor
    """(G, K, d): moving average of the latents that chose each codeword."""
    frequencies: Tensor
    """(knots, G, K): how often each codeword is chosen near each quality."""

    def __init__(self, config: SliceConfig, knots: int, entropy_constrained: bool):
        super().__init__()
        self.config, self.entropy_constrained = config, entropy_constrained
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

    def static_bits(self, quality: Tensor) -> Tensor:
        """Return the bits of each codeword near ``quality`` (B,) by its frequency, (G, B, K)."""
        return -self.frequencies.clamp_min(1e-6).log2()[quality.round().long()].transpose(0, 1)

    def static_choice(self, z: Tensor, quality: Tensor) -> Tensor:
        """Choose indices (G, N) for ``z`` (G, N, d) of pictures of ``quality`` (B,), by average bits if any.

        Works group by group, so that the costs stay in the cache.
        """
        offsets = self.codebook.square().sum(2)[:, None]
        if self.entropy_constrained:
            offsets = offsets + BIT_PRICE * self.static_bits(quality)
            apart = self.apart(z)
        else:
            apart = torch.ones(z.shape[:2], dtype=torch.bool, device=z.device)
        chosen = torch.zeros(z.shape[:2], dtype=torch.long, device=z.device)
        cost = torch.zeros(z.shape[:2], dtype=z.dtype, device=z.device)
        count = z.shape[1] // len(quality)
        for group, (mask, offset, latents, words) in enumerate(zip(apart, offsets, z, self.codebook, strict=True)):
            rows = mask.nonzero()[:, 0]
            own = offset[rows // count] if len(offset) > 1 else offset
            cost[group, rows], chosen[group, rows] = torch.addmm(own, latents[rows], words.T, alpha=-2).min(1)
        if self.entropy_constrained:
            chosen[apart] = self.reach_out(z[apart], chosen[apart], cost[apart], self._static_price)
        return chosen

    def apart(self, z: Tensor, share: float = 1.0) -> Tensor:
        """Return where ``z`` (G, N, d) is farther from zero than ``share`` of the inradius of zero's cell: (G, N)."""
        inradius = self.codebook[:, 1:].square().sum(2).amin(1, keepdim=True) / 4
        return z.square().sum(2) > inradius * share**2

    def _static_price(self, rows: Tensor, outer: Tensor) -> Tensor:
        """Return the price in bits of outer points (n,) where the prior does not say."""
        return torch.from_numpy(uniform_bits(self.config, outer.int().cpu().numpy())).to(rows.device) + _OUTER_BITS

    def reach_out(self, z: Tensor, best: Tensor, least: Tensor, price: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Replace codewords ``best`` (n,) by outer points where these cost less for latents ``z`` (n, d).

        ``least`` (n,) are the codewords' costs, less the squared norm of ``z``; ``price`` returns the bits (m,) of
        outer points (m,) in rows (m,).
        """
        far = (least + z.square().sum(1) > LEAST_OUTER_COST).nonzero()[:, 0]
        if not len(far):
            return best
        indices, points = nearest(self.config, z[far].float().cpu().numpy())
        outer, known = torch.from_numpy(indices).long().to(z.device), torch.from_numpy(indices < 0).to(z.device)
        far, outer, latents = far[known], outer[known], z[far[known]]
        distance = (latents - torch.from_numpy(points).to(z)[known]).square().sum(1) - latents.square().sum(1)
        better = distance + BIT_PRICE * price(far, outer) < least[far]
        best = best.clone()
        best[far[better]] = outer[better]
        return best

    def lookup(self, indices: Tensor) -> Tensor:
        """Return the codewords or outer points (G, N, d) of indices (G, N)."""
        inside = indices.clamp_min(0)[:, :, None].expand(-1, -1, self.config.dim)
        words = torch.gather(self.codebook, 1, inside)
        if not self.entropy_constrained or int(indices.min()) >= 0:
            return words
        points = torch.stack(outer_points(self.config, indices.clamp_max(-1)), 2)
        return torch.where((indices < 0)[:, :, None], points.to(words), words)

    def join(self, rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Invert :meth:`split`: reshape (G, N, d) to (B, G * d, H, W), with ``shape = (B, H, W)``."""
        b, h, w = shape
        groups, _, dim = rows.shape
        return rows.reshape(groups, b, h, w, dim).permute(1, 0, 4, 2, 3).reshape(b, groups * dim, h, w)

    def learn(self, z: Tensor, indices: Tensor, quality: Tensor, decay: float = 0.995) -> None:
        """Move each codeword towards the mean of the latents that chose it: :meth:`observe` and :meth:`recentre`."""
        self.observe(z, indices, quality, decay)
        self.recentre()

    @torch.no_grad()
    def observe(self, z: Tensor, indices: Tensor, quality: Tensor, decay: float = 0.995) -> None:
        """Update the moving averages of counts, sums and frequencies.

        Latents ``z`` (G, N, d) and ``indices`` (G, N) are ordered by picture, with ``quality`` (B,).
        """
        groups, _, dim = z.shape
        counts, sums = torch.zeros_like(self.counts), torch.zeros_like(self.sums)
        inside = (indices >= 0).to(counts.dtype)  # outer points do not move
        indices = indices.clamp_min(0)
        counts.scatter_add_(1, indices, inside)
        sums.scatter_add_(1, indices[:, :, None].expand(-1, -1, dim), z.to(sums.dtype) * inside[:, :, None])
        self.counts.lerp_(counts, 1 - decay)
        self.sums.lerp_(sums, 1 - decay)
        by_picture = (v.reshape(groups, len(quality), -1).unbind(1) for v in (indices, inside))
        for knot, chosen, known in zip(quality.round().long().tolist(), *by_picture, strict=True):
            share = torch.zeros_like(self.counts)
            share.scatter_add_(1, chosen, known / chosen.shape[1])
            self.frequencies[knot].lerp_(share, 0.01)

    @torch.no_grad()
    def recentre(self) -> None:
        """Move each codeword to the mean of the latents that chose it, by the moving averages.

        A pseudo-observation at the codeword itself (Laplace smoothing) keeps unused codewords in place.
        """
        smoothing = 0.05
        self.codebook.copy_((self.sums + smoothing * self.codebook) / (self.counts + smoothing)[:, :, None])
        if self.entropy_constrained:
            self.codebook[:, 0] = 0

    @torch.no_grad()
    def revive(self, z: Tensor, generator: torch.Generator) -> int:
        """Move unused codewords onto random latents of the batch ``z`` (G, N, d); return how many moved."""
        return self._move(self.counts < 0.01 * self.counts.mean(1, keepdim=True), z, generator)

    @torch.no_grad()
    def restart(self, z: Tensor, generator: torch.Generator) -> None:
        """Move all codewords onto random latents of the batch ``z`` (G, N, d)."""
        self._move(torch.ones_like(self.counts, dtype=torch.bool), z, generator)

    def _move(self, which: Tensor, z: Tensor, generator: torch.Generator) -> int:
        """Move the codewords in the mask ``which`` (G, K)."""
        if self.entropy_constrained:
            which[:, 0] = False
        group, word = which.nonzero(as_tuple=True)
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


class LevelQuantizer(ModuleSequence[ProductQuantizer]):
    """The quantizers of a level's slices.  ``shape`` is ``(B, H, W)`` of its grids throughout."""

    def __init__(self, config: LevelConfig, knots: int, entropy_constrained: bool):
        super().__init__(ProductQuantizer(part, knots, entropy_constrained) for part in config.slices)

    def split(self, z: Tensor) -> list[Tensor]:
        """Return each slice's rows (G, N, d) of latents (B, D, H, W)."""
        parts = torch.split(z, [q.config.channels for q in self], 1)
        return [q.split(part) for q, part in zip(self, parts, strict=True)]

    def join(self, rows: Sequence[Tensor], shape: tuple[int, int, int]) -> Tensor:
        """Invert :meth:`split`: return (B, D, H, W)."""
        return torch.cat([q.join(part, shape) for q, part in zip(self, rows, strict=True)], 1)

    def split_indices(self, indices: Tensor) -> list[Tensor]:
        """Return each slice's indices (G, N) of a grid (B, G of all slices, H, W)."""
        parts = torch.split(indices, [q.config.groups for q in self], 1)
        return [part.transpose(0, 1).flatten(1) for part in parts]

    def join_indices(self, indices: Sequence[Tensor], shape: tuple[int, int, int]) -> Tensor:
        """Invert :meth:`split_indices`."""
        return torch.cat([part.unflatten(1, shape).transpose(0, 1) for part in indices], 1)

    def lookup(self, indices: Tensor) -> Tensor:
        """Return the codewords or outer points (B, D, H, W) of a grid (B, G of all slices, H, W)."""
        rows = [q.lookup(part) for q, part in zip(self, self.split_indices(indices), strict=True)]
        return self.join(rows, (len(indices), *indices.shape[2:]))

    def static_choice(self, z: Tensor, quality: Tensor) -> list[Tensor]:
        """Choose each slice's indices (G, N) for latents ``z`` (B, D, H, W); see :class:`ProductQuantizer`."""
        return [q.static_choice(rows, quality) for q, rows in zip(self, self.split(z), strict=True)]


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


def outer_bits_gradient(z: Tensor) -> Tensor:
    """Return the gradient (n, d) of the bits of outer points with respect to latents ``z`` (n, d) that chose them.

    As if the density fell with the volume within the radius: twice as far, each dimension costs one more bit.  So a
    gain twice as large costs as much as cells of half the size.
    """
    return z * (z.shape[1] / math.log(2) / z.square().sum(1, keepdim=True))
