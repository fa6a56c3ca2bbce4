"""A goal is reached in few trials for any curve, or an error says that it cannot be."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.codec.rate_control import MAX_TRIALS, Goal, search
from vqcodec.errors import GoalOutOfReach, InvalidQuality


def curve(low, high, bend):
    """Return a function that rises geometrically from ``low`` to ``high`` over the steps, with a bend."""
    return lambda step: low * (high / low) ** ((step / 255) ** bend)


@given(st.floats(0.03, 0.2), st.floats(1.5, 4), st.floats(0.9, 1.3), st.floats(0, 1))
def test_rates_within_two_per_cent(low, high, bend, share):
    measure = curve(low, high, bend)
    goal = Goal("bpp", low * (high / low) ** share)
    found = search(goal, measure)
    nearest = min(abs(goal.miss(measure(step))) for step in range(256))
    assert abs(goal.miss(found.reached)) <= max(1, nearest) and found.trials <= MAX_TRIALS
    assert found.reached == measure(found.step)


@given(st.floats(23, 30), st.floats(34, 42), st.floats(1, 1.2), st.floats(0, 1))
def test_psnr_within_a_tenth(low, high, bend, share):
    found = search(Goal("psnr", low + share * (high - low)), lambda step: low + (high - low) * (step / 255) ** bend)
    assert abs(found.reached - low - share * (high - low)) <= 0.1 and found.trials <= MAX_TRIALS


@pytest.mark.parametrize("value, said", [(50, "quality 0 gives 100 bytes"), (2000, "quality 100 gives 1000 bytes")])
def test_out_of_reach(value, said):
    with pytest.raises(GoalOutOfReach, match=said):
        search(Goal("size", value), curve(100, 1000, 1))


@pytest.mark.parametrize("kind, value", [("psnr", math.nan), ("bpp", math.inf), ("bytes", 1000)])
def test_invalid_goals(kind, value):
    with pytest.raises(InvalidQuality, match="goal must be"):
        Goal(kind, value)


def test_a_jump_gives_the_nearest_value():
    found = search(Goal("size", 150), lambda step: 100 if step < 77 else 180)
    assert found.reached == 180 and found.trials <= MAX_TRIALS


def test_a_perfect_copy_is_beyond_any_goal():
    assert search(Goal("psnr", 40), lambda step: math.inf if step > 90 else 30 + step / 9).step == 90


@pytest.mark.parametrize("value", [0, -1])
def test_unreachable_rates(value):
    with pytest.raises(GoalOutOfReach):
        search(Goal("bpp", value), curve(0.1, 2, 1))
