"""Ratios of times; what is timed is tested elsewhere."""

import time

from benchmarks.ratios import compare, describe


def test_the_slower_side_is_above_one():
    calls = []

    def slow():
        calls.append("slow")
        time.sleep(0.03)

    ratio = compare("slow / fast", slow, lambda: calls.append("fast"), runs=3)
    assert calls == ["slow", "fast"] * 4  # alternately, and once before it counts
    assert ratio.one >= 0.03 and ratio.ratio > 1
    assert describe([ratio]).splitlines()[2].startswith("| slow / fast |")
