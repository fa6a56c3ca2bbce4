"""The number system of the prior and the shape of its causality: constants that training and coding must share.

Activations are integers ``0 .. LIMIT`` (or ``-LIMIT .. LIMIT``) in units of ``1 / UNIT``.  Integers are held in
float32, which is exact below ``EXACT``, and so are sums that stay below it, in whatever order they are added.
"""

UNIT = 32
LIMIT = 255
WEIGHT_LIMIT = 127

FINE_UNIT = 128
"""Unit of the few numbers that steer logits directly."""
FINE_LIMIT = 1023
FINE_WEIGHT_LIMIT = 511

LOGIT_UNIT = 16
"""Logits are integers over this, in octaves (powers of two)."""

EXACT = 2**24
MAX_EXPONENT = 20
"""Weights are integers times two to the power of minus an exponent of at most this magnitude."""

Tap = tuple[int, int]
"""(rows, columns) from the position that is computed to one that it sees."""

COLUMNS_PER_ROW = 2
"""Position (y, x) belongs to wavefront ``x + COLUMNS_PER_ROW * y``: the row above is one column ahead."""


def _earlier(tap: Tap) -> bool:
    return tap[1] + COLUMNS_PER_ROW * tap[0] < 0


POINT: tuple[Tap, ...] = ((0, 0),)
SQUARE: tuple[Tap, ...] = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
PAST: tuple[Tap, ...] = tuple(tap for tap in ((dy, dx) for dy in range(-2, 1) for dx in range(-2, 3)) if _earlier(tap))
PAST_AND_HERE: tuple[Tap, ...] = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0))
ATTENTION_TAPS: tuple[Tap, ...] = tuple(
    tap for tap in ((dy, dx) for dy in range(-6, 1) for dx in range(-6, 7)) if _earlier(tap)
)

HEAD_DIM = 16
"""Channels of one attention head."""
SCORE_SHIFT = 6
"""Attention scores are ``floor(q . k / 2^SCORE_SHIFT)`` logit units."""
ATTENTION_RATIO = 8
"""Attended values are averages and keep this much finer units."""
