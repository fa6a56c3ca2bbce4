"""Groups: similar in size, bounded, in order, with independent errors."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.concurrency import grouping
from vqcodec.concurrency.grouping import form_groups, in_groups


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), max_size=30), st.integers(1, 8))
def test_every_picture_is_in_one_group(sizes, threads):
    groups = form_groups(sizes, threads)
    whole = sum(-(-height // 16) * -(-width // 16) for height, width in sizes)
    assert sorted(i for group in groups for i in group) == list(range(len(sizes)))
    for group in groups:
        if len(group) > 1:
            cells = [(-(-sizes[i][0] // 16), -(-sizes[i][1] // 16)) for i in group]
            area = sum(h * w for h, w in cells)
            assert area * 256 <= grouping.GROUP_PIXELS and area * threads <= whole
            assert sum(h for h, _ in cells) * max(w for _, w in cells) <= 2 * area


def test_alike_pictures_share_a_group():
    assert form_groups([(256, 256)] * 8, 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert form_groups([(256, 256)] * 8) == [list(range(8))]
    assert form_groups([(5000, 1), (1, 5000)]) == [[0], [1]]


def test_threads_get_groups_of_equal_size():
    assert [len(group) for group in form_groups([(512, 768)] * 12, 2)] == [3, 3, 3, 3]
    assert [len(group) for group in form_groups([(512, 768)] * 24, 2)] == [4] * 6


def double(numbers: Sequence[int]) -> list[int]:
    if 13 in numbers:
        raise ValueError("unlucky")
    return [2 * n for n in numbers]


def size(number: int) -> tuple[int, int]:
    return 16, 16 * (1 + number % 3)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_bad_member_fails_alone_and_order_is_kept(threads):
    outcomes = list(in_groups(["7", "x", "13", "8", "9", "10"], int, size, double, threads))
    assert [o.index for o in outcomes] == list(range(6))
    assert [o.result for o in outcomes] == [14, None, None, 16, 18, 20]
    assert [str(o.error) for o in outcomes if o.error] == [
        "invalid literal for int() with base 10: 'x'",
        "unlucky",
    ]


def test_input_is_read_as_far_as_needed(monkeypatch):
    monkeypatch.setattr(grouping, "WINDOW_ITEMS", 4)
    read = []

    def endless():
        while True:
            read.append(1)
            yield "1"

    outcomes = in_groups(endless(), int, size, double)
    for _ in range(5):
        next(outcomes)
    assert len(read) == 8


def test_large_items_end_a_window(monkeypatch):
    monkeypatch.setattr(grouping, "WINDOW_PIXELS", 16 * 16 * 2)
    groups = []

    def work(numbers):
        groups.append(list(numbers))
        return numbers

    assert [o.result for o in in_groups("0303", int, size, work)] == [0, 3, 0, 3]
    assert groups == [[0, 3], [0, 3]]


def test_results_come_as_soon_as_it_is_their_turn(monkeypatch):
    monkeypatch.setattr(grouping, "GROUP_PIXELS", 16 * 16)
    worked = []

    def work(numbers):
        worked.extend(numbers)
        return numbers

    outcomes = in_groups("000", int, size, work)
    next(outcomes)
    assert len(worked) == 1


def test_empty_input():
    assert list(in_groups([], int, size, double)) == []
