"""Metrics against values computed by hand."""

import math

import numpy as np
import pytest

from vqcodec.metrics import bits_per_pixel, psnr


def test_psnr():
    a = np.zeros((4, 4, 3), np.uint8)
    assert psnr(a, a) == math.inf
    assert psnr(a, a + 255) == 0
    assert psnr(a, a + 1) == psnr(a + 1, a) == pytest.approx(48.1308, abs=1e-4)


def test_bits_per_pixel():
    assert bits_per_pixel(100, 20, 10) == 4
