"""The autoregressive prior in its training form: a PixelCNN per level predicts the logits of each index.

van den Oord et al. 2016 (arXiv:1601.06759, arXiv:1606.05328), adapted to decode fast and exactly.  Position ``(y, x)``
belongs to wavefront ``x + 2 * y`` and depends on earlier wavefronts only, so all positions of a wavefront are coded at
once; at a position, each slice depends on the slices before it.  Inputs of a level:

    own indices, earlier wavefronts --> embedding -> causal convolution --+
    the next coarser level's indices -> embedding -> convolutions --------+-> trunk -> (attention) -> slice by slice
    quality --------------------------> a vector -------------------------+                           -> logits

All layers after the embeddings are integer layers (``exact.py``), and no input is a float feature of the transforms.
Input: indices from ``quantizer.py``.  ``coding/integer_prior.py`` is the same prior one wavefront at a time.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqcodec.arithmetic import (
    ATTENTION_RATIO,
    ATTENTION_TAPS,
    FINE_LIMIT,
    FINE_UNIT,
    FINE_WEIGHT_LIMIT,
    HEAD_DIM,
    LIMIT,
    LOGIT_UNIT,
    PAST,
    PAST_AND_HERE,
    RANGE_LIMIT,
    RANGE_QUALITIES,
    SCORE_SHIFT,
    SQUARE,
    UNIT,
)
from vqcodec.config import QUALITY_STEPS, LevelConfig, ModelConfig, SliceConfig
from vqcodec.model.exact import ExactLinear, activate, clip, exponents, floor_to, round_to
from vqcodec.model.grids import Grids
from vqcodec.model.layers import ModuleSequence, QualityVector
from vqcodec.model.quantizer import lattice, lengths_of, places_of, shells_of
from vqcodec.outer_points import OuterSymbols, outer_shell, outer_symbols, possible_ranges, start_of_ranges


def embedding_start(config: SliceConfig, outer: bool) -> Tensor:
    """Return initial embeddings (K + outer shells, E) of a slice's codewords, and with ``outer`` of its outer shells.

    Log magnitude, then coordinates (in 1-D at two scales) if they count; of an outer shell only the magnitude.
    """
    words = lattice(config.dim, config.size)
    rows = torch.cat([words.norm(dim=1, keepdim=True).add(1).log2(), words], 1)
    if config.dim == 1:
        rows = torch.cat([rows, words * (7 / words.abs().max())], 1)
    if outer:
        shells = torch.zeros(len(config.outer_bits), rows.shape[1])
        shells[:, 0] = torch.tensor(config.outer_bits)
        rows = torch.cat([rows, shells])
    return clip(rows[:, : config.embedding_width(outer)], LIMIT, UNIT)


def feature_start(config: SliceConfig, rank: int) -> Tensor:
    """Return initial features (K, rank), a basis of a slice's log-probabilities, each of magnitude at most 8.

    Column 0 is minus the norm (Laplacian); then come shifts, Gaussian shapes and a zero bin, near zero and over the
    whole range of the codewords, and bumps along lines fill the remaining columns.
    """
    words = lattice(config.dim, config.size)
    norm = words.norm(dim=1, keepdim=True)
    reach = float(norm.max())
    whole, near = 8 / reach, words.clamp(-8, 8)
    columns = [-norm.clamp_max(8), near, (norm + 1).log2(), (norm == 0) * 3.0, -norm.square() * (whole / reach)]
    if reach > 12:
        columns += [-norm * whole, words * whole]
    if config.dim > 1:
        columns += [near.abs()]
    features = torch.cat(columns, 1)
    generator = torch.Generator().manual_seed(0)
    bumps = []
    for i in range(rank - features.shape[1]):
        if config.dim == 1:
            centre = reach * (i + 1) / rank * (-1) ** i
            bumps.append(4 * torch.exp(-((words[:, 0] - centre) * (8 / reach)).square()))
        else:
            line = F.normalize(torch.randn(config.dim, generator=generator), dim=0)
            bumps.append((near @ line).abs())
    return torch.stack([*features.T, *bumps], 1)[:, :rank]


class Embedding(nn.Module):
    """Embed indices as integer vectors, with one table per codebook.

    A table has a row for each codeword, then one for each outer shell.  Row 0 stays zero, so that a position with
    all indices zero looks like one outside the grid.
    """

    def __init__(self, level: LevelConfig, by_shells: bool):
        super().__init__()
        self.slices = level.slices
        self.tables = nn.ParameterList(embedding_start(s, by_shells).repeat(s.groups, 1, 1) for s in level.slices)
        self.groups = [s.groups for s in level.slices]

    @property
    def widths(self) -> list[int]:
        """Embedding channels of each slice."""
        return [t.shape[0] * t.shape[2] for t in self.tables]

    @property
    def channels(self) -> int:
        """Embedding channels of all slices together."""
        return sum(self.widths)

    def quantized(self) -> list[Tensor]:
        """Return each slice's tables (G, rows, E), rounded to multiples of ``1 / UNIT``, row 0 zero."""
        return [F.pad(round_to(clip(t[:, 1:], LIMIT, UNIT), UNIT), (0, 0, 1, 0)) for t in self.tables]

    def forward(self, indices: Tensor) -> Tensor:
        """Map indices (B, G, H, W) to embeddings (B, channels, H, W)."""
        parts = []
        parted = torch.split(indices, self.groups, 1)
        for config, table, chosen in zip(self.slices, self.quantized(), parted, strict=True):
            groups, size, width = table.shape
            if int(chosen.min()) < 0:
                chosen = torch.where(chosen < 0, config.size + outer_shell(config, chosen), chosen)
            offset = torch.arange(groups, device=indices.device)[:, None, None] * size
            rows = F.embedding(chosen + offset, table.reshape(-1, width))  # (B, G, H, W, E)
            parts.append(rows.permute(0, 1, 4, 2, 3).flatten(1, 2))
        return torch.cat(parts, 1)


class Context(nn.Module):
    """Map the indices of the next coarser level to features at this level's positions; not causal."""

    def __init__(self, coarse: LevelConfig, channels: int, by_shells: bool):
        super().__init__()
        self.embedding = Embedding(coarse, by_shells)
        self.first = ExactLinear(self.embedding.channels, channels, SQUARE)
        self.second = ExactLinear(channels, channels, SQUARE)
        self.up = ExactLinear(channels, 4 * channels)

    def forward(self, indices: Tensor) -> Tensor:
        """Map indices (B, G, H, W) to signed features (B, channels, 2H, 2W)."""
        return self.features(self.embedding(indices))

    def features(self, embedded: Tensor) -> Tensor:
        """Map embedded indices (B, E, H, W) to signed features (B, channels, 2H, 2W)."""
        h = activate(self.first(embedded))
        h = activate(h + self.second(h))
        return F.pixel_shuffle(clip(self.up(h), LIMIT, UNIT), 2)


class Attention(nn.Module):
    """Causal multi-head self-attention over a window of earlier positions.

    Each head has a learned bias per tap, and an empty slot: a score with a value of zero.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        width = heads * HEAD_DIM
        self.query = ExactLinear(channels, width)
        self.key = ExactLinear(channels, width)
        self.value = ExactLinear(channels, width)
        self.bias = nn.Parameter(torch.zeros(heads, len(ATTENTION_TAPS) + 1))
        self.out = ExactLinear(width, channels, limit_in=LIMIT * ATTENTION_RATIO, unit_in=UNIT * ATTENTION_RATIO)
        with torch.no_grad():
            self.out.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map trunk features (B, C, H, W) to (B, C, H, W), to be added to ``x``."""
        b, _, height, width = x.shape
        query, key, value = (clip(f(x), LIMIT, UNIT) for f in (self.query, self.key, self.value))
        rows, columns = zip(*ATTENTION_TAPS, strict=True)
        up, side = -min(rows), max(columns)

        def windows(t: Tensor) -> Tensor:
            padded = F.pad(t, (side, side, up, 0))
            seen = [padded[:, :, up + r : up + r + height, side + c : side + c + width] for r, c in ATTENTION_TAPS]
            return torch.unflatten(torch.stack(seen, 2), 1, (self.heads, -1))  # (B, heads, d, taps, H, W)

        queries = torch.unflatten(query, 1, (self.heads, HEAD_DIM))[:, :, :, None]
        scores = (queries * windows(key)).float().sum(2)
        scores = scores * (UNIT * UNIT * 2.0**-SCORE_SHIFT / LOGIT_UNIT)
        bias = round_to(self.bias, LOGIT_UNIT)[None, :, :, None, None]
        scores = floor_to(scores, LOGIT_UNIT) + bias[:, :, 1:]
        inside = windows(torch.ones_like(key[:1]))[:, :, 0]
        scores = scores.masked_fill(inside == 0, -1e4)
        empty = bias[:, :, :1].expand(b, -1, -1, height, width)
        weights = torch.softmax(torch.cat([empty, scores], 2) * math.log(2), 2)[:, :, 1:]
        attended = (weights[:, :, None] * windows(value).float()).sum(3).flatten(1, 2)
        update: Tensor = self.out(floor_to(attended, UNIT * ATTENTION_RATIO).to(x.dtype))
        return update


@dataclass(frozen=True)
class SlicePrediction:
    """The logits (natural, not normalised) of a slice's symbols at N positions; coding/slice_symbols.py says which."""

    config: SliceConfig
    lengths: Tensor | None
    """(N, G + 1): lengths; None where every index is coded with one symbol."""
    shells: Tensor | None
    """(G, N, shells)."""
    ranges: Tensor | None
    """(B, G, outer shells, states, ranges): ranges of outer points' digits in each of the B pictures."""
    coefficients: Tensor
    """(G, N, rank)."""
    features: Tensor
    """(G, K, rank)."""
    exact: bool
    """Floor the logits of codewords, as the codec does; without it they take half the time."""

    def range_logits(self, groups: Tensor, places: Tensor, points: OuterSymbols) -> Tensor:
        """Return the logits of ranges, (M, d, ranges), for the outer points of M codebooks and positions."""
        assert self.ranges is not None and self.lengths is not None
        pictures = places // (len(self.lengths) // len(self.ranges))
        shells, states = (torch.from_numpy(v).to(places.device) for v in (points.shells, points.states))
        return self.ranges[pictures[:, None], groups[:, None], shells[:, None], states]

    def words(self) -> Tensor:
        """Return the logits of all codewords at all positions, (G, N, K)."""
        return self._of_words(self.coefficients, self.features)

    def words_at(self, places: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield the logits (n, K) of each codebook's codewords at the positions (n,) that ``places`` has for it.

        Codebook by codebook, so that what is made of the logits stays in the cache.
        """
        for own, features, rows in zip(self.coefficients.unbind(), self.features.unbind(), places, strict=True):
            yield self._of_words(own.index_select(0, rows), features)

    def _of_words(self, coefficients: Tensor, features: Tensor) -> Tensor:
        octave = math.log(2)
        with torch.autocast(coefficients.device.type, enabled=False):
            if self.exact:
                return floor_to(torch.matmul(coefficients, features.mT), LOGIT_UNIT) * octave
            return torch.matmul(coefficients, features.mT * octave)


class ShellHead(nn.Module):
    """Predict the length of a slice, the shells of its indices, and the ranges of outer points' digits."""

    _impossible: Tensor
    """(outer shells, states, ranges)."""

    def __init__(self, config: SliceConfig, inputs: int, hidden: int, knots: int):
        super().__init__()
        self.length = ExactLinear(inputs, config.groups + 1, unit_out=LOGIT_UNIT)
        self.length_quality = QualityVector(knots, config.groups + 1)
        self.shell = ExactLinear(hidden, config.groups * config.shell_count, unit_out=LOGIT_UNIT)
        self.shell_quality = QualityVector(knots, config.groups * config.shell_count)
        start = torch.from_numpy(start_of_ranges(config))
        self.ranges = nn.Parameter(start.repeat(config.groups, 1, 1, 1))
        self.ranges_quality = nn.Parameter(torch.zeros(RANGE_QUALITIES, *start.shape))
        self.register_buffer("_impossible", torch.from_numpy(~possible_ranges(config)), persistent=False)
        with torch.no_grad():
            self.length.weight.mul_(0.02)
            self.shell.weight.mul_(0.02)

    def range_logits(self, quality: Tensor) -> Tensor:
        """Return the logits of ranges to base 2, (B, G, outer shells, states, ranges), for ``quality`` (B,)."""
        steps = quality * ((QUALITY_STEPS - 1) / (len(self.shell_quality.values) - 1))
        part = (steps.round().long() // (QUALITY_STEPS // RANGE_QUALITIES)).clamp(0, RANGE_QUALITIES - 1)
        own, added = (
            round_to(clip(table, RANGE_LIMIT, LOGIT_UNIT), LOGIT_UNIT) for table in (self.ranges, self.ranges_quality)
        )
        return (own + added[part, None]).masked_fill(self._impossible, -math.inf)


class SliceHead(nn.Module):
    """Predict one slice's symbols from the trunk features and the embeddings of the slices before it.

    Logits of codewords are a product of ``rank`` predicted coefficients and learned features of the codewords.
    """

    def __init__(self, config: SliceConfig, inputs: int, hidden: int, knots: int, by_shells: bool):
        super().__init__()
        self.config = config
        rank = config.rank
        self.shells = ShellHead(config, inputs, hidden, knots) if by_shells else None
        self.first = ExactLinear(inputs, hidden)
        self.second = ExactLinear(hidden, hidden)
        self.third = ExactLinear(hidden, hidden)
        self.coefficients = ExactLinear(hidden, config.groups * rank, unit_out=FINE_UNIT)
        self.quality = QualityVector(knots, config.groups * rank)
        self.features = nn.Parameter(feature_start(config, rank).repeat(config.groups, 1, 1))
        with torch.no_grad():
            self.third.weight.mul_(0.3)
            self.coefficients.weight.mul_(0.02)
            self.quality.values[:, ::rank] = 0.7  # a Laplacian

    def quantized_features(self) -> tuple[Tensor, Tensor]:
        """Return integer features (G, K, rank) and exponents (G,); logits are ``floor(features . p * 2^-exponent)``."""
        scaled = self.features * (LOGIT_UNIT / FINE_UNIT)
        groups, size, rank = scaled.shape
        each = exponents(scaled.reshape(groups * size, rank), None, FINE_LIMIT, FINE_WEIGHT_LIMIT)
        exponent = each.reshape(groups, size).amin(1)
        scaled = scaled * torch.exp2(exponent)[:, None, None]
        return round_to(scaled, 1), exponent

    def forward(self, h: Tensor, quality: Tensor) -> SlicePrediction:
        """Map ``h`` (B, C, H, W) and ``quality`` (B,) to a prediction at N = B * H * W positions."""
        u = activate(self.first(h))
        u = activate(u + self.third(activate(self.second(u))))
        p = self.coefficients(u).float() + round_to(self.quality.image(quality), FINE_UNIT)
        p = self._by_group(clip(p, FINE_LIMIT, FINE_UNIT))
        features, exponent = self.quantized_features()
        features = features * (torch.exp2(-exponent) * (FINE_UNIT / LOGIT_UNIT))[:, None, None]
        lengths = shells = ranges = None
        if self.shells is not None:
            octave = math.log(2)
            lengths = self.shells.length(h).float()
            lengths = (lengths + round_to(self.shells.length_quality.image(quality), LOGIT_UNIT)) * octave
            lengths = lengths.permute(0, 2, 3, 1).flatten(0, 2)
            shells = self.shells.shell(u).float()
            shells = (shells + round_to(self.shells.shell_quality.image(quality), LOGIT_UNIT)) * octave
            shells = self._by_group(shells)
            ranges = self.shells.range_logits(quality) * octave
        return SlicePrediction(self.config, lengths, shells, ranges, p, features, not self.training)

    def _by_group(self, x: Tensor) -> Tensor:
        """Reshape (B, G * n, H, W) to (G, B * H * W, n)."""
        return torch.unflatten(x, 1, (self.config.groups, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)


class LevelPrior(nn.Module):
    """The PixelCNN of one level; ``coding/integer_prior.py`` has its integer form."""

    def __init__(self, level: LevelConfig, coarse: LevelConfig | None, knots: int, by_shells: bool, classes: int = 0):
        super().__init__()
        shape = level.prior
        self.embedding = Embedding(level, by_shells)
        self.past = ExactLinear(self.embedding.channels, shape.channels, PAST)
        self.quality = QualityVector(knots, shape.channels)
        self.context = Context(coarse, shape.channels, by_shells) if coarse else None
        self.attention = Attention(shape.channels, shape.attention_heads) if shape.attention_heads else None
        self.near = ExactLinear(shape.channels, shape.channels, PAST_AND_HERE)
        self.mix = ExactLinear(shape.channels, shape.channels)
        heads, seen = [], shape.channels
        for config, width in zip(level.slices, self.embedding.widths, strict=True):
            heads.append(SliceHead(config, seen, shape.hidden, knots, by_shells))
            seen += width
        self.heads = ModuleSequence(heads)
        self.classes = nn.Parameter(torch.zeros(classes, shape.channels)) if classes else None
        with torch.no_grad():
            self.mix.weight.mul_(0.3)

    def forward(
        self, indices: Tensor, coarse: Tensor | None, quality: Tensor, labels: Tensor | None = None
    ) -> list[SlicePrediction]:
        """Return the prediction of every slice given the indices before it.

        Args:
            indices: (B, G, H, W) of this level.
            coarse: indices (B, G', H / 2, W / 2) of the next coarser level, None for the coarsest.
            quality: (B,) in ``[0, knots - 1]``.
            labels: (B,) classes, -1 for none; None where all have none.
        """
        own, context = self.embedding(indices), None
        if self.context is not None:
            assert coarse is not None
            context = self.context(coarse)
        seen, predictions = self.trunk(own, context, quality, labels), []
        for head, embedded in zip(self.heads, torch.split(own, self.embedding.widths, 1), strict=True):
            predictions.append(head(seen, quality))
            seen = torch.cat([seen, embedded.to(seen.dtype)], 1)
        return predictions

    def trunk(self, own: Tensor, context: Tensor | None, quality: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the trunk's features (B, C, H, W).

        ``own`` (B, E, H, W) are this level's embedded indices, ``context`` (B, C, H, W) the features of the coarser
        level's; ``labels`` as for :meth:`forward`.
        """
        h = self.past(own) + round_to(self.quality.image(quality), UNIT)
        if self.classes is not None and labels is not None:
            vectors = F.pad(round_to(self.classes, UNIT), (0, 0, 0, 1))  # the last row is that of no class
            h = h + vectors[labels][:, :, None, None]
        h = activate(h if context is None else h + context)
        if self.attention is not None:
            h = activate(h + self.attention(h))
        return activate(h + self.mix(activate(self.near(h))))


Predict = Callable[[Tensor, Tensor | None, Tensor], list[SlicePrediction]]
"""A level's prior, perhaps of some class: see :meth:`LevelPrior.forward`."""


class Prior(ModuleSequence[LevelPrior]):
    """One :class:`LevelPrior` per level, coarse to fine."""

    def __init__(self, config: ModelConfig):
        coarser = [None, *config.levels]
        super().__init__(
            LevelPrior(level, coarse, config.knots, config.entropy_constrained, len(config.classes))
            for level, coarse in zip(config.levels, coarser, strict=False)
        )

    def given(self, labels: Tensor) -> list[Predict]:
        """Return the levels' priors of classes ``labels`` (B,); -1 means none."""
        return [partial(level, labels=labels) for level in self]

    def bits(self, grids: Grids, quality: Tensor) -> list[Tensor]:
        """Return the code length in bits per picture, (B,), of every slice of every level, coarse to fine."""
        result, coarse = [], None
        for level, indices in zip(self, grids.levels, strict=True):
            result += slice_bits(level(indices, coarse, quality), indices)
            coarse = indices
        return result


class _CodeLength(torch.autograd.Function):
    """``F.cross_entropy(logits, target, reduction="none")`` in half the time; logits are the largest tensors."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        """Return nats (N,) for ``logits`` (N, K) and ``target`` (N,)."""
        probabilities = torch.softmax(logits, 1)
        ctx.save_for_backward(probabilities, target)
        chosen = probabilities.gather(1, target[:, None])[:, 0]
        return -chosen.clamp_min(torch.finfo(chosen.dtype).tiny).log()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient (N, K): probabilities, minus one at the target, times the incoming gradient."""
        probabilities, target = ctx.saved_tensors
        result = probabilities * gradient[:, None]
        return result.scatter_add_(1, target[:, None], -gradient[:, None]), None


_code_length: Callable[[Tensor, Tensor], Tensor] = _CodeLength.apply


def slice_bits(predictions: Sequence[SlicePrediction], indices: Tensor) -> list[Tensor]:
    """Return each slice's code length in bits per picture, (B,), for ``indices`` (B, G, H, W)."""
    groups = [prediction.config.groups for prediction in predictions]
    result = []
    for prediction, part in zip(predictions, torch.split(indices, groups, 1), strict=True):
        chosen = part.transpose(0, 1).flatten(1)  # (G, N)
        if prediction.shells is None:
            logits = prediction.words()
            nats = _code_length(logits.flatten(0, 1), chosen.flatten()).reshape(chosen.shape)
        else:
            nats = _shell_code_length(prediction, chosen)
        result.append(nats.reshape(len(nats), len(part), -1).sum((0, 2)) / math.log(2))
    return result


def _shell_code_length(prediction: SlicePrediction, chosen: Tensor) -> Tensor:
    """Return the code length in nats, (G + 1, N), of indices ``chosen`` (G, N) of a slice: the lengths come last."""
    assert prediction.lengths is not None and prediction.shells is not None
    config = prediction.config
    length = lengths_of(chosen)
    number = torch.arange(1, config.groups + 1, device=chosen.device)[:, None]
    shells = shells_of(config, chosen)
    logits = torch.where(  # the last codebook in use is known not to be zero
        (number == length)[:, :, None] & (torch.arange(config.shell_count, device=chosen.device) == 0),
        -math.inf,
        prediction.shells,
    )
    places = (number <= length).nonzero(as_tuple=True)
    nats = torch.zeros_like(logits[:, :, 0])
    nats = nats.index_put(places, _code_length(logits[places], shells[places]))
    inside = (shells > 0) & (shells < len(config.shells))
    of_word = shells_of(config, torch.arange(config.size, device=chosen.device))
    rows = places_of(inside)
    sizes = [len(r) for r in rows]
    inner = [
        _code_length(words.masked_fill(own[:, None] != of_word, -math.inf), target)
        for words, own, target in zip(
            prediction.words_at(rows), shells[inside].split(sizes), chosen[inside].split(sizes), strict=True
        )
    ]
    nats = nats.index_put(inside.nonzero(as_tuple=True), torch.cat(inner), accumulate=True)
    outer = (chosen < 0).nonzero(as_tuple=True)  # perhaps none: all processes of a run need gradients of the tables
    points = outer_symbols(config, chosen[outer].int().cpu().numpy())
    logits = prediction.range_logits(outer[0], outer[1], points)
    ranges, place_bits = (torch.from_numpy(v).to(nats.device) for v in (points.ranges, points.place_bits))
    digits = _code_length(logits.flatten(0, 1), ranges.flatten()).view(ranges.shape) + place_bits * math.log(2)
    nats = nats.index_put(outer, digits.sum(1), accumulate=True)
    return torch.cat([nats, _code_length(prediction.lengths, length)[None]])
