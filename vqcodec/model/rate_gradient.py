"""How the choice of an index changes the bits of all that is coded after it, to first order.

The encoder chooses each index by its error and its own bits.  Later indices, of this level and of the next finer one,
are predicted from it, which the choice does not see.  The gradient of their bits against the embeddings of the indices,
carried over to the latents, tells the encoder in the next round.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vqcodec.config import BIT_PRICE
from vqcodec.model.prior import Embedding, LevelPrior, Prior, slice_bits
from vqcodec.model.quantizer import LevelQuantizer, expected_bits_gradient
from vqcodec.model.vqvae import VQVAE

_POSITIONS = 8192
"""Positions of the finest level that are taken at once: this bounds the memory."""
_HALO = 4
"""Coarsest rows that are taken with them on each side, as far as the prior sees."""
_TEMPERATURE = 0.4
"""Temperature of the soft choice, in squared cells."""


def rate_gradients(
    model: VQVAE, prior: Prior, latents: Sequence[Tensor], grids: Sequence[Tensor], quality: Tensor
) -> list[Tensor]:
    """Return the gradient (1, D, H, W) of the bits of later indices against each level's latents, in bits per cell.

    Args:
        model: an entropy-constrained model.
        prior: its prior.
        latents: scaled latents (1, D, H, W) of each level, from which indices were chosen.
        grids: these indices (1, G, H, W), of each level.
        quality: (1,) in ``[0, knots - 1]``.
    """
    rows, columns = grids[-1].shape[2:]
    factors = [grid.shape[2] // grids[0].shape[2] for grid in grids]
    step = max(1, _POSITIONS // (columns * factors[-1]))
    result = [torch.zeros_like(z) for z in latents]
    for top in range(0, rows // factors[-1], step):
        above, below = max(0, top - _HALO), top + step + _HALO
        parts = [grid[:, :, above * f : below * f] for grid, f in zip(grids, factors, strict=True)]
        against = _embedding_gradients(prior, parts, quality)
        for level, (whole, z, f) in enumerate(zip(result, latents, factors, strict=True)):
            own = slice(top * f, (top + step) * f)
            inside = slice((top - above) * f, (top - above + step) * f)
            for embedding, gradient in against[level]:
                whole[:, :, own] += _to_latents(
                    model.quantizers[level], embedding, gradient[:, :, inside], z[:, :, own], quality
                )
    return result


@torch.enable_grad()
def _embedding_gradients(
    prior: Prior, grids: Sequence[Tensor], quality: Tensor
) -> list[list[tuple[Embedding, Tensor]]]:
    """Return, for each level, the embeddings of its indices and the gradients (1, E, H, W) of all bits against them."""
    result: list[list[tuple[Embedding, Tensor]]] = [[] for _ in grids]
    for level, (part, grid) in enumerate(zip(prior, grids, strict=True)):
        own = part.embedding(grid).detach().requires_grad_()
        inputs, context = [own], None
        if part.context is not None:
            inputs.append(part.context.embedding(grids[level - 1]).detach().requires_grad_())
            context = part.context.features(inputs[1])
        trunk = part.trunk(own, context, quality)
        seen = _head_gradients(part, torch.cat([trunk, own], 1).detach(), grid, quality)
        gradients = list(torch.autograd.grad(trunk, inputs, seen[:, : trunk.shape[1]]))
        gradients[0] = gradients[0] + seen[:, trunk.shape[1] :]
        result[level].append((part.embedding, gradients[0]))
        if part.context is not None:
            result[level - 1].append((part.context.embedding, gradients[1]))
    return result


def _head_gradients(prior: LevelPrior, seen: Tensor, grid: Tensor, quality: Tensor) -> Tensor:
    """Return the gradient of the bits of indices (1, G, H, W) against ``seen``, the trunk's features and embeddings.

    Slice by slice, so that memory holds the logits of one.
    """
    result = torch.zeros_like(seen)
    width = seen.shape[1] - prior.embedding.channels
    groups = prior.embedding.groups
    for head, chosen, embedded in zip(prior.heads, grid.split(groups, 1), prior.embedding.widths, strict=True):
        part = seen[:, :width].clone().requires_grad_()
        (bits,) = slice_bits([head(part, quality)], chosen)
        result[:, :width] += torch.autograd.grad(bits.sum(), part)[0]
        width += embedded
    return result


def _to_latents(level: LevelQuantizer, embedding: Embedding, gradient: Tensor, z: Tensor, quality: Tensor) -> Tensor:
    """Carry a gradient (1, E, H, W) against embeddings over to the latents ``z`` (1, D, H, W): (1, D, H, W)."""
    parts = []
    split = zip(
        level,
        embedding.quantized(),
        gradient.split(embedding.widths, 1),
        level.split(z),
        strict=True,
    )
    for quantizer, tables, of_embedding, rows in split:
        config = quantizer.config
        against = torch.unflatten(of_embedding, 1, (config.groups, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)
        offsets = BIT_PRICE * quantizer.static_bits(quality)[:, 0] + quantizer.codebook.square().sum(2)
        apart = quantizer.apart(rows)
        result = torch.zeros_like(rows)
        for group, (mask, words, table) in enumerate(zip(apart, quantizer.codebook, tables, strict=True)):
            some = mask.nonzero()[:, 0]  # codebook by codebook, so that the costs stay in the cache
            costs = torch.addmm(offsets[group], rows[group, some], words.T, alpha=-2)
            values = against[group, some] @ table[: config.size].T
            result[group, some] = expected_bits_gradient(costs, values * -math.log(2), words, _TEMPERATURE)
        parts.append(result)
    return level.join(parts, (len(z), *z.shape[2:]))
