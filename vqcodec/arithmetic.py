"""Number format and causal neighbourhoods of the prior: constants that training and coding share.

Activations are integers ``0 .. LIMIT`` (or ``-LIMIT .. LIMIT``) in units of ``1 / UNIT``.  Integers are held in
float32, which is exact below ``EXACT``; sums that stay below it are exact in any order of addition.
"""

UNIT = 32
"""Activations are integers over this."""
LIMIT = 255
"""Largest activation."""
WEIGHT_LIMIT = 127
"""Largest weight."""

FINE_UNIT = 128
"""Unit of the coefficients from which logits are computed."""
FINE_LIMIT = 1023
"""Largest magnitude of those coefficients."""
FINE_WEIGHT_LIMIT = 511
"""Largest magnitude of the features that they multiply."""

LOGIT_UNIT = 16
"""Logits are integers over this, to base 2."""
MAX_LOGIT = 2**15 - 1
"""Largest magnitude of the part of a logit that depends on the quality alone."""

RANGE_LIMIT = 127
"""Largest magnitude of the learned logits of ranges of outer points' digits, and of what the quality adds to them."""
RANGE_QUALITIES = 8
"""Parts of the quality range in which something else is added to them."""

EXACT = 2**24
"""float32 holds every integer up to this magnitude."""
MAX_EXPONENT = 20
"""Weights are integers times ``2^-exponent``; this is the largest magnitude of the exponent."""

Tap = tuple[int, int]
"""Offset (rows, columns) from the position being computed to an input position."""

COLUMNS_PER_ROW = 2
"""Position (y, x) belongs to wavefront ``x + COLUMNS_PER_ROW * y``, so that (y - 1, x + 1) is an earlier one."""


def _earlier(tap: Tap) -> bool:
    """Return whether a tap lies on an earlier wavefront."""
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
"""Attended values are averages, kept in units finer by this factor."""
