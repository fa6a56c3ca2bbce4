"""What each effort of the encoder does, and how steps fall from round to round.

A round codes the picture, measures its cost, and refines the latents at the indices that were chosen.  The cheapest
stream of all rounds is kept.  Rounds of a higher effort begin like those of a lower one, so its stream costs no more.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """What an effort does."""

    refine: bool
    """Refine the latents before they are first coded, at a quick choice of indices."""
    rounds: int
    """How often to refine at the coded indices and to code again."""


PLANS = (Plan(False, 0), Plan(True, 0), Plan(True, 1), Plan(True, 3), Plan(True, 8), Plan(True, 20))
"""The plan of each effort."""
_FALL = 4
"""After so many rounds, steps have half of their first length (Robbins & Monro 1951)."""


def step_share(number: int) -> float:
    """Return the length of the step in round ``number`` = 0, 1, ..., as a share of the first one."""
    return _FALL / (_FALL + number)
