"""The steps of each effort of the encoder, and their lengths.

Steps before the first coding use a quick choice of indices.  Each round then refines the latents at the coded indices
and codes the picture again; of all these streams the cheapest is kept.  A higher effort begins like a lower one, so
with rounds a stream never costs more than with fewer.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The steps of one effort."""

    first_steps: int
    """Steps of refinement before the picture is first coded."""
    rounds: int
    """Number of rounds: each refines at the coded indices and codes again."""


PLANS = (Plan(0, 0), Plan(1, 0), Plan(2, 0), Plan(2, 1), Plan(2, 3), Plan(2, 8), Plan(2, 16))
"""The plan of each effort."""
CONTEXT_FROM = 3
"""From this round on, refinement counts what an index costs the indices that are predicted from it.  Earlier rounds
gain more for their time without it."""
_FALL = 4
"""After so many steps, a step has half of the first one's length."""


def step_share(number: int) -> float:
    """Return the length of step ``number`` = 0, 1, ..., as a share of the first one (Robbins & Monro 1951)."""
    return _FALL / (_FALL + number)
