"""Mutations of streams that random bytes hardly ever reach: whole sections, corrected checksums."""

import random
from collections.abc import Callable

from tests.support.streams import Piece, join, repair, split
from vqcodec.errors import VqcError

Change = Callable[[bytes], bytes]
KINDS = (0x00, 0x01, 0x02, 0x03, 0x04, 0x08, 0x90, 0x91, 0x92, 0x3F, 0xBF)
"""All section kinds of the format, and one of each unknown category."""


def mutate_stream(data: bytes, change: Change, rng: random.Random) -> bytes:
    """Return a stream with changed bytes, a changed payload, or sections added, removed or reordered."""
    what = rng.random()
    if what < 0.1:
        return change(data)
    try:
        head, pieces = split(data)
    except VqcError:
        return repair(change(data))
    if not pieces or what < 0.3:
        return repair(change(data))
    if what < 0.5:
        return repair(change(head) + data[len(head) :])
    return join(head, _mutate_pieces(pieces, change, rng))


def _mutate_pieces(pieces: list[Piece], change: Change, rng: random.Random) -> list[Piece]:
    at = rng.randrange(len(pieces))
    kind, payload = pieces[at]
    what = rng.randrange(6)
    if what == 0:
        return pieces[:at] + pieces[at + 1 :]
    if what == 1:
        return [*pieces[: at + 1], *pieces[at:]]
    if what == 2:
        return [*pieces, (rng.choice(KINDS), change(payload))]
    if what == 3:
        return rng.sample(pieces, len(pieces))
    return [*pieces[:at], (kind, change(payload)), *pieces[at + 1 :]]
