"""Alpha planes are lossless; any other payload is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vqcodec.errors import MalformedStream
from vqcodec.stream import alpha
from vqcodec.stream.alpha import read_alpha, write_alpha

NOISE = np.random.default_rng(0).integers(0, 256, (9, 13), np.uint8)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_round_trip(plane):
    np.testing.assert_array_equal(read_alpha(write_alpha(plane), plane.shape[1], plane.shape[0]), plane)


def test_flat_planes_are_two_bytes():
    assert write_alpha(np.full((500, 700), 255, np.uint8)) == b"\x00\xff"
    assert (read_alpha(b"\x00\x07", 3, 2) == np.full((2, 3), 7)).all()


@pytest.mark.parametrize("shape", [(1, 20000), (20000, 1)])
def test_edges_beyond_webp(shape):
    plane = np.random.default_rng(0).integers(0, 2, shape, np.uint8)
    payload = write_alpha(plane)
    assert payload[0] == 1
    np.testing.assert_array_equal(read_alpha(payload, shape[1], shape[0]), plane)


def test_without_webp(monkeypatch):
    monkeypatch.setattr(alpha.features, "check", lambda name: False)
    payload = write_alpha(NOISE)
    assert payload[0] == 1
    np.testing.assert_array_equal(read_alpha(payload, 13, 9), NOISE)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x00", b"\x00\x01\x02", b"\x03\x00", b"\x01nonsense", b"\x02nonsense", write_alpha(NOISE)[:-20]],
)
def test_damage(payload):
    with pytest.raises(MalformedStream, match="section 'alpha'"):
        read_alpha(payload, 13, 9)


def test_another_size():
    with pytest.raises(MalformedStream, match="13x9"):
        read_alpha(write_alpha(NOISE), 9, 13)
