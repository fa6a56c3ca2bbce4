"""The prior as the codec runs it: integers in float32, one wavefront at a time.

The same function as ``model/prior.py``, which explains the architecture; :class:`Embedding`, :class:`Context`,
:class:`Attention` and :class:`IntegerLevelPrior` are the integer forms of the modules there, :class:`Linear` of
``ExactLinear``, :class:`Head` of ``SliceHead``.  They are read from plain arrays (made by ``model/prior_arrays.py``,
listed in ``docs/FORMAT.md``) and hold no state; ``traversal.py`` calls them and owns the buffers.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vqcodec.arithmetic import (
    ATTENTION_RATIO,
    ATTENTION_TAPS,
    EXACT,
    FINE_LIMIT,
    HEAD_DIM,
    LIMIT,
    MAX_EXPONENT,
    MAX_LOGIT,
    PAST,
    PAST_AND_HERE,
    RANGE_LIMIT,
    RANGE_QUALITIES,
    SCORE_SHIFT,
)
from vqcodec.coding.frequencies import LEAST_LOGIT, TABLE, TABLE_SIZE, code_lengths
from vqcodec.config import QUALITY_STEPS, LevelConfig, ModelConfig, SliceConfig
from vqcodec.errors import InvalidWeights
from vqcodec.outer_points import (
    largest_digit_bits,
    outer_shell,
    possible_ranges,
    range_bits,
    range_count,
    reaches_largest,
)

Array = NDArray[np.float32]
Values = NDArray[np.float64]
"""Attended values, in float64: their weighted sums exceed the range in which float32 is exact."""
Arrays = MutableMapping[str, NDArray[np.generic]]
"""Arrays by name.  Readers remove the arrays that they read, so that unknown ones remain."""


def _take(arrays: Arrays, name: str, shape: tuple[int, ...], limit: int = EXACT - 1) -> Array:
    """Remove and return an array of integers of magnitude up to ``limit``; raise :class:`InvalidWeights` otherwise."""
    if name not in arrays:
        raise InvalidWeights(f"array {name!r} of the prior is missing")
    array = arrays.pop(name)
    if array.shape != shape or array.dtype.kind != "i":
        raise InvalidWeights(f"{name!r} is {array.dtype} {array.shape}, not integers {shape}")
    if array.min(initial=0) < -limit or array.max(initial=0) > limit:
        raise InvalidWeights(f"{name!r} holds numbers beyond {limit} in magnitude")
    return array.astype(np.float32)


def _take_scale(arrays: Arrays, name: str, outputs: int) -> Array:
    """Return powers of two (outputs,) from an array of negated exponents."""
    return np.ldexp(np.float32(1), -_take(arrays, name, (outputs,), MAX_EXPONENT).astype(np.int32))


@dataclass(frozen=True)
class Linear:
    """The map ``floor(x @ weight + bias)`` of integers ``x``.

    ``weight`` (inputs, outputs) and ``bias`` (outputs,) are integers times a power of two per output, which scales
    every sum exactly.
    """

    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        """Map (N, inputs) to (N, outputs)."""
        y = x @ self.weight
        y += self.bias
        np.floor(y, out=y)
        return y

    @classmethod
    def read(cls, arrays: Arrays, name: str, inputs: int, outputs: int, limit: int = LIMIT, added: int = 0) -> "Linear":
        """Read ``name.weight`` (inputs, outputs), ``name.bias`` and ``name.exponent`` (outputs,).

        ``limit`` is the largest magnitude of an input, ``added`` that of what is added to an output.  Raises
        :class:`InvalidWeights` if a sum could exceed the range in which float32 is exact.
        """
        weight = _take(arrays, f"{name}.weight", (inputs, outputs))
        bias = _take(arrays, f"{name}.bias", (outputs,))
        scale = _take_scale(arrays, f"{name}.exponent", outputs)
        reach = np.abs(weight).sum(0, dtype=np.float64) * limit + np.abs(bias)
        reach = reach * np.maximum(scale, 1) + added
        if reach.max(initial=0) >= EXACT:
            raise InvalidWeights(f"{name!r} can reach {reach.max():.0f}, float32 is exact below {EXACT}")
        return cls(weight * scale, bias * scale)


def _clip(x: Array, least: int, most: int) -> Array:
    np.maximum(x, least, out=x)  # these two are twice as fast on small arrays as np.clip
    return np.minimum(x, most, out=x)


def _activate(x: Array) -> Array:
    return _clip(x, 0, LIMIT)


@dataclass(frozen=True)
class Embedding:
    """Integer form of the embedding of indices."""

    slices: tuple[SliceConfig, ...]
    tables: list[Array]
    """(G, K + outer shells, E) for each slice."""

    @cached_property
    def widths(self) -> list[int]:
        """Embedding channels of each slice."""
        return [t.shape[0] * t.shape[2] for t in self.tables]

    @property
    def channels(self) -> int:
        """Embedding channels of all slices together."""
        return sum(self.widths)

    def slice(self, number: int, indices: NDArray[np.int32]) -> Array:
        """Map the indices (N, G) of slice ``number`` to (N, G * E)."""
        table = self.tables[number]
        config = self.slices[number]
        if indices.min(initial=0) < 0:
            indices = np.where(indices < 0, config.size + outer_shell(config, indices), indices)
        rows: Array = table[np.arange(len(table)), indices]
        return rows.reshape(len(indices), -1)

    def __call__(self, indices: NDArray[np.int32]) -> Array:
        """Map the indices (N, G) of all slices to (N, channels)."""
        ends = np.cumsum([len(t) for t in self.tables])[:-1]
        parts = np.split(indices, ends, axis=1)
        return np.concatenate([self.slice(i, part) for i, part in enumerate(parts)], 1)

    @classmethod
    def read(cls, arrays: Arrays, name: str, level: LevelConfig, *, by_shells: bool) -> "Embedding":
        """Read ``name.0``, ``name.1`` ..., one table per slice: a row for each codeword, then for each outer shell."""
        tables = []
        for i, s in enumerate(level.slices):
            rows = s.size + (len(s.outer_bits) if by_shells else 0)
            tables.append(_take(arrays, f"{name}.{i}", (s.groups, rows, s.embedding_width(by_shells)), LIMIT))
            if tables[-1][:, 0].any():
                raise InvalidWeights(f"'{name}.{i}' does not embed codeword 0 as zero")
        return cls(level.slices, tables)


@dataclass(frozen=True)
class Context:
    """Integer form of the map from a coarser grid to features at this level's positions."""

    embedding: Embedding
    first: Linear
    second: Linear
    up: Linear

    def __call__(self, indices: NDArray[np.int32]) -> Array:
        """Map indices (G, H, W) to features (2H, 2W, channels)."""
        groups, height, width = indices.shape
        x = self.embedding(indices.reshape(groups, -1).T).reshape(height, width, -1)
        h = _activate(self.first(_neighbourhoods(x)))
        h = _activate(h + self.second(_neighbourhoods(h.reshape(height, width, -1))))
        return self.upsample(h, height, width)

    def upsample(self, h: Array, height: int, width: int) -> Array:
        """Map the hidden features (H * W, channels) to features (2H, 2W, channels)."""
        y = _clip(self.up(h), -LIMIT, LIMIT)
        # Sub-pixels in the order of torch's pixel_shuffle: channel, row, column.
        channels = y.shape[1] // 4
        y = y.reshape(height, width, channels, 2, 2).transpose(0, 3, 1, 4, 2)
        return y.reshape(2 * height, 2 * width, channels)

    @classmethod
    def read(cls, arrays: Arrays, name: str, coarse: LevelConfig, channels: int, *, by_shells: bool) -> "Context":
        """Read ``name.embedding``, ``name.first``, ``name.second`` and ``name.up``."""
        embedding = Embedding.read(arrays, f"{name}.embedding", coarse, by_shells=by_shells)
        return cls(
            embedding,
            Linear.read(arrays, f"{name}.first", 9 * embedding.channels, channels),
            Linear.read(arrays, f"{name}.second", 9 * channels, channels),
            Linear.read(arrays, f"{name}.up", channels, 4 * channels),
        )


def _neighbourhoods(x: Array) -> Array:
    """Map (H, W, C) to 3x3 neighbourhoods (H * W, 9 * C), row by row, zero outside."""
    height, width, channels = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    seen = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.stack(seen, 2).reshape(height * width, 9 * channels)


@dataclass(frozen=True)
class Attention:
    """Integer form of causal attention; the traversal passes in the keys and values of the window."""

    heads: int
    project: Linear
    """Projection to query, key and value, concatenated."""
    bias: Array
    out: Linear

    @property
    def width(self) -> int:
        """Channels of a query, a key and a value."""
        return self.heads * HEAD_DIM

    def queries_keys_values(self, h: Array) -> list[Array]:
        """Map trunk features (N, C) to queries, keys and values, each (N, width)."""
        return np.split(_clip(self.project(h), -LIMIT, LIMIT), 3, axis=1)

    def __call__(self, query: Array, keys: Array, values: Values, inside: NDArray[np.bool_]) -> Array:
        """Map ``query`` (N, width), ``keys``, ``values`` (N, taps, width) and ``inside`` (N, taps) to (N, C)."""
        shape = (*inside.shape, self.heads, HEAD_DIM)
        scores = keys.reshape(shape).transpose(0, 2, 1, 3) @ query.reshape(-1, self.heads, HEAD_DIM, 1)
        scores = np.floor(scores[..., 0] * np.float32(2.0**-SCORE_SHIFT)) + self.bias[:, 1:]
        empty = self.bias[:, :1]
        scores = np.where(inside[:, None], scores, -np.float32(EXACT))
        largest = np.maximum(scores.max(2, keepdims=True, initial=-EXACT), empty)
        weights = TABLE[np.minimum(largest - scores, TABLE_SIZE - 1).astype(np.intp)] * inside[:, None]
        total = weights.sum(2) + TABLE[np.minimum(largest - empty, TABLE_SIZE - 1).astype(np.intp)][:, :, 0]
        summed = (weights[:, :, None] @ values.reshape(shape).transpose(0, 2, 1, 3))[:, :, 0]
        # Both are integers below 2^53 and the quotient is small, so rounding the division does not change its floor.
        attended = np.floor(summed * ATTENTION_RATIO / total[:, :, None])
        return self.out(attended.reshape(len(query), -1).astype(np.float32))

    @classmethod
    def read(cls, arrays: Arrays, name: str, channels: int, heads: int) -> "Attention":
        """Read ``name.query``, ``.key``, ``.value``, ``.bias`` (heads, 1 + taps: empty slot first) and ``.out``."""
        width = heads * HEAD_DIM
        parts = [Linear.read(arrays, f"{name}.{part}", channels, width) for part in ("query", "key", "value")]
        project = Linear(np.concatenate([p.weight for p in parts], 1), np.concatenate([p.bias for p in parts]))
        room = EXACT - 1 - HEAD_DIM * LIMIT**2  # what the product of query and key leaves for the bias
        bias = _take(arrays, f"{name}.bias", (heads, len(ATTENTION_TAPS) + 1), room)
        out = Linear.read(arrays, f"{name}.out", width, channels, LIMIT * ATTENTION_RATIO)
        return cls(heads, project, bias, out)


@dataclass(frozen=True)
class Shells:
    """Integer form of the logits of a slice's lengths and of its codebooks' shells."""

    length: Linear
    length_quality: Array
    """(steps, G + 1)."""
    shell: Linear
    shell_quality: Array
    """(steps, G * shells)."""
    ranges: Array
    """(G, outer shells, states, ranges): logits of the ranges of outer points' digits."""
    ranges_quality: Array
    """(:data:`~vqcodec.arithmetic.RANGE_QUALITIES`, outer shells, states, ranges): added to them."""

    @classmethod
    def read(cls, arrays: Arrays, name: str, config: SliceConfig, inputs: int, hidden: int) -> "Shells":
        """Read the arrays ``length``, ``shell`` and ``ranges`` under ``name``, each with its ``_quality``."""
        lengths, shells = config.groups + 1, config.groups * config.shell_count
        possible = possible_ranges(config)
        ranges = _take(arrays, f"{name}.ranges", (config.groups, *possible.shape), RANGE_LIMIT)
        return cls(
            Linear.read(arrays, f"{name}.length", inputs, lengths, added=MAX_LOGIT),
            _take(arrays, f"{name}.length_quality", (QUALITY_STEPS, lengths), MAX_LOGIT),
            Linear.read(arrays, f"{name}.shell", hidden, shells, added=MAX_LOGIT),
            _take(arrays, f"{name}.shell_quality", (QUALITY_STEPS, shells), MAX_LOGIT),
            np.where(possible, ranges, np.float32(LEAST_LOGIT)),
            _take(arrays, f"{name}.ranges_quality", (RANGE_QUALITIES, *possible.shape), RANGE_LIMIT),
        )


@dataclass(frozen=True)
class Head:
    """Integer form of the map from trunk features and earlier slices to the logits of a slice."""

    config: SliceConfig
    shells: Shells | None
    """None where every index is coded with one symbol."""
    first: Linear
    second: Linear
    third: Linear
    coefficients: Linear
    quality: Array
    features: Array
    """(G, rank, K): integers times a power of two per group."""

    @property
    def inputs(self) -> int:
        """Channels that are read: the trunk's and those of earlier slices."""
        return len(self.first.weight)

    @cached_property
    def least_digit_bits(self) -> float:
        """The least code length in bits of an outer point's digits, at any quality: a bound for the encoder."""
        assert self.shells is not None
        most = largest_digit_bits(self.config)
        long = reaches_largest(self.config, np.arange(range_count(self.config)), most[:, None])[:, None]
        places = range_bits(self.config)[most][:, None]
        bits = [code_lengths(self.shells.ranges + added) + places for added in self.shells.ranges_quality]
        return float(min(np.where(long, one, np.inf).min() for one in bits))

    def predict(self, known: Array, quality: NDArray[np.integer]) -> "SlicePrediction":
        """Return the logits of a slice at positions, computed on demand.

        ``known`` (N, C + E) holds trunk features and embeddings, of which the first :attr:`inputs` channels are read;
        ``quality`` (N,) the quality steps.
        """
        return SlicePrediction(self, known, quality)

    @classmethod
    def read(cls, arrays: Arrays, name: str, config: SliceConfig, shape: tuple[int, int], *, by_shells: bool) -> "Head":
        """Read a head of ``shape = (inputs, hidden)`` from the arrays under ``name``.

        ``name.features`` is (G, rank, K), ``name.quality`` (steps, G * rank).
        """
        inputs, hidden = shape
        rank = config.rank
        features = _take(arrays, f"{name}.features", (config.groups, rank, config.size))
        scale = _take_scale(arrays, f"{name}.exponent", config.groups)
        reach = np.abs(features).sum(1, dtype=np.float64).max(1) * FINE_LIMIT * np.maximum(scale, 1)
        if reach.max() >= EXACT:
            raise InvalidWeights(f"'{name}.features' can exceed the range in which float32 is exact")
        return cls(
            config,
            Shells.read(arrays, f"{name}.shells", config, inputs, hidden) if by_shells else None,
            Linear.read(arrays, f"{name}.first", inputs, hidden),
            Linear.read(arrays, f"{name}.second", hidden, hidden),
            Linear.read(arrays, f"{name}.third", hidden, hidden),
            Linear.read(arrays, f"{name}.coefficients", hidden, config.groups * rank),
            _take(arrays, f"{name}.quality", (QUALITY_STEPS, config.groups * rank)),
            features * scale[:, None, None],
        )


class SlicePrediction:
    """The logits of a slice at the positions of a wavefront, all integers.  Computes what is asked for."""

    def __init__(self, head: Head, known: Array, quality: NDArray[np.integer]):
        self.head, self.known, self.quality = head, known, quality
        self._h = known[:, : head.inputs]
        self._lengths: Array | None = None
        self._found: tuple[NDArray[np.intp], IndexPrediction] | None = None

    @property
    def count(self) -> int:
        """Number of positions."""
        return len(self._h)

    def lengths(self) -> Array:
        """Return the logits of the slice's length at each position, (N, G + 1)."""
        if self._lengths is None:
            assert self.head.shells is not None
            self._lengths = self.head.shells.length(self._h)
            self._lengths += self.head.shells.length_quality.take(self.quality, 0)
        return self._lengths

    def at(self, rows: NDArray[np.intp]) -> "IndexPrediction":
        """Return the logits of indices at some of the positions, in ascending order."""
        if self._found is not None:  # an encoder chooses at some positions, then codes those among them in use
            known, prediction = self._found
            places = np.searchsorted(known, rows)
            if places.max(initial=0) < len(known) and (known[places] == rows).all():
                return prediction.at(places)
        h, quality = (self._h, self.quality) if len(rows) == self.count else (self._h[rows], self.quality[rows])
        u = _activate(self.head.first(h))
        u = _activate(u + self.head.third(_activate(self.head.second(u))))
        self._found = rows, IndexPrediction(self.head, u, quality)
        return self._found[1]


class IndexPrediction:
    """The logits of a slice's indices at ``n`` positions, all integers."""

    def __init__(self, head: Head, u: Array, quality: NDArray[np.integer]):
        self._head, self._u, self._quality = head, u, quality
        self.config = head.config
        self._shells: Array | None = None
        self._words: Array | None = None

    def shells(self) -> Array:
        """Return the logits of each codebook's shells, (n, G, shells)."""
        if self._shells is None:
            assert self._head.shells is not None
            logits = self._head.shells.shell(self._u)
            logits += self._head.shells.shell_quality.take(self._quality, 0)
            self._shells = logits.reshape(len(logits), self._head.config.groups, -1)
        return self._shells

    def ranges(
        self,
        rows: NDArray[np.intp],
        groups: NDArray[np.intp],
        shells: NDArray[np.integer],
        states: NDArray[np.intp],
    ) -> Array:
        """Return the logits of the ranges of coordinates of outer points, (M, ranges).

        Each has the row among the positions, the codebook, the outer shell and the state (M,) that are given.  Ranges
        that are not possible there are far below the others.
        """
        tables = self._head.shells
        assert tables is not None
        quality = self._quality[rows] // (QUALITY_STEPS // RANGE_QUALITIES)
        logits: Array = tables.ranges[groups, shells, states] + tables.ranges_quality[quality, shells, states]
        return logits

    def words(self) -> Array:
        """Return the logits of all codewords, (G, n, K)."""
        if self._words is None:
            p = self._head.coefficients(self._u)
            p += self._head.quality.take(self._quality, 0)
            _clip(p, -FINE_LIMIT, FINE_LIMIT)
            rows = np.ascontiguousarray(p.reshape(len(p), self._head.config.groups, -1).transpose(1, 0, 2))
            self._words = rows @ self._head.features
            np.floor(self._words, out=self._words)
        return self._words

    def at(self, rows: NDArray[np.intp]) -> "IndexPrediction":
        """Return the logits at some of these positions."""
        if len(rows) == len(self._u):
            return self
        part = IndexPrediction(self._head, self._u[rows], self._quality[rows])
        part._shells = None if self._shells is None else self._shells[rows]
        part._words = None if self._words is None else self._words[:, rows]
        return part


@dataclass(frozen=True)
class IntegerLevelPrior:
    """Integer form of one level's PixelCNN; ``traversal.py`` calls its parts in order."""

    embedding: Embedding
    past: Linear
    quality: Array
    context: Context | None
    attention: Attention | None
    near: Linear
    mix: Linear
    heads: list[Head]
    classes: Array | None
    """(classes, C): what a class adds to ``quality``; None without classes.  Streams are coded without."""

    def of_class(self, number: int) -> "IntegerLevelPrior":
        """Return the prior of a class."""
        assert self.classes is not None
        return replace(self, quality=self.quality + self.classes[number])

    @property
    def channels(self) -> int:
        """Trunk channels."""
        channels: int = self.quality.shape[1]
        return channels

    def trunk_start(
        self, busy: NDArray[np.intp], past: Array, context: Array | None, quality: NDArray[np.integer]
    ) -> Array:
        """Return trunk features (N, C) of positions with context (N, C) and quality steps (N,).

        ``past`` holds the embeddings (n, taps, E) at the positions ``busy`` (n,); elsewhere they are zero.
        """
        h = np.repeat(self._idle, len(quality), 0)
        if len(busy):
            h[busy] = self.past(past.reshape(len(past), -1))
        h += self.quality.take(quality, 0)
        if context is not None:
            h += context
        return _activate(h)

    @cached_property
    def _idle(self) -> Array:
        """The output of ``past`` where all embeddings are zero, (1, C)."""
        return np.floor(self.past.bias)[None]

    def trunk_end(self, near: Array, h: Array) -> Array:
        """Map the trunk features at the taps (N, taps, C) and at the positions (N, C) to (N, C)."""
        return _activate(h + self.mix(_activate(self.near(near.reshape(len(near), -1)))))

    @classmethod
    def read(
        cls,
        arrays: Arrays,
        name: str,
        level: LevelConfig,
        coarse: LevelConfig | None,
        *,
        by_shells: bool,
        classes: int = 0,
    ) -> "IntegerLevelPrior":
        """Read all arrays under ``name``, with a vector for each of ``classes``.  Raises :class:`InvalidWeights`."""
        shape = level.prior
        channels, attention = shape.channels, f"{name}.attention"
        embedding = Embedding.read(arrays, f"{name}.embedding", level, by_shells=by_shells)
        heads, seen = [], channels
        for i, s in enumerate(level.slices):
            heads.append(Head.read(arrays, f"{name}.heads.{i}", s, (seen, shape.hidden), by_shells=by_shells))
            seen += embedding.tables[i].shape[0] * embedding.tables[i].shape[2]
        return cls(
            embedding,
            Linear.read(arrays, f"{name}.past", len(PAST) * embedding.channels, channels),
            _take(arrays, f"{name}.quality", (QUALITY_STEPS, channels)),
            Context.read(arrays, f"{name}.context", coarse, channels, by_shells=by_shells) if coarse else None,
            Attention.read(arrays, attention, channels, shape.attention_heads) if shape.attention_heads else None,
            Linear.read(arrays, f"{name}.near", len(PAST_AND_HERE) * channels, channels),
            Linear.read(arrays, f"{name}.mix", channels, channels),
            heads,
            _take(arrays, f"{name}.classes", (classes, channels), MAX_LOGIT) if classes else None,
        )


def read_prior(arrays: Mapping[str, NDArray[np.generic]], config: ModelConfig) -> tuple[IntegerLevelPrior, ...]:
    """Read the priors of all levels, coarse to fine.  Raises :class:`InvalidWeights`, also for unknown arrays."""
    left = dict(arrays)
    coarser = [None, *config.levels]
    priors = tuple(
        IntegerLevelPrior.read(
            left, str(i), level, coarse, by_shells=config.entropy_constrained, classes=len(config.classes)
        )
        for i, (level, coarse) in enumerate(zip(config.levels, coarser, strict=False))
    )
    if left:
        raise InvalidWeights(f"unknown array {next(iter(left))!r} in the prior")
    return priors
