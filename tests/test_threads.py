"""Threads: results in order, limits restored, no work after the iterator is closed."""

import threading
import time

import pytest
import torch

from vqcodec.concurrency import threads
from vqcodec.concurrency.threads import map_in_threads


def limits() -> set[tuple[str, int]]:
    return {(pool["filepath"], pool["num_threads"]) for pool in threads._pools.info()}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_are_in_order_and_limits_are_restored(count):
    before = limits(), torch.get_num_threads()
    begun = threading.Barrier(count, timeout=30)

    def work(number):
        begun.wait()  # all threads run at once
        time.sleep(0.01 * (number % 2))
        return number, torch.get_num_threads()

    results = list(map_in_threads(work, range(3 * count), count))
    assert [number for number, _ in results] == list(range(3 * count))
    if count > 1:
        assert {seen for _, seen in results} == {max(1, before[1] // count)}
    assert (limits(), torch.get_num_threads()) == before


def test_callers_share_the_limit():
    before = limits()
    one, other = (map_in_threads(str, range(3), 2) for _ in range(2))
    assert next(one) == next(other) == "0"

    def held() -> set[int]:
        return {pool["num_threads"] for pool in threads._pools.info() if pool["user_api"] == "blas"}

    assert held() <= {1}
    one.close()
    assert held() <= {1}
    assert list(other) == ["1", "2"]
    assert limits() == before


def test_closing_cancels_pending_work():
    done = []
    results = map_in_threads(lambda number: done.append(number) or time.sleep(0.05), range(100), 2)
    next(results)
    results.close()
    assert len(done) < 50


def test_error_is_raised_to_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda number: 1 // number, [1, 0], 2))
