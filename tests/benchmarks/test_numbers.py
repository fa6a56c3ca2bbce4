"""Metrics, BD-rates and curves against known values."""

import math

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("bjontegaard")
pytest.importorskip("pytorch_msssim")

from benchmarks.rd.bdrate import Curve, bd_rate
from benchmarks.rd.metrics import IDENTICAL_DB, score, similarity_db


def original() -> np.ndarray:
    """A synthetic picture with smooth, steep and periodic parts, (192, 256, 3)."""
    y, x = np.mgrid[:192, :256]
    waves = 128 + 100 * np.sin(x / 9) * np.cos(y / 7)
    return np.stack([(x + 2 * y) % 256, (x * y // 16) % 256, waves], -1).astype(np.uint8)


def distorted() -> np.ndarray:
    """The picture at half the resolution with coarse levels."""
    half = np.repeat(np.repeat(original()[::2, ::2], 2, 0), 2, 1)
    return (half // 12 * 12 + 5).astype(np.uint8)


def test_scores_are_those_of_other_libraries():
    """PSNR by torchmetrics 1.9, MS-SSIM by piq 0.8.0; neither is imported here."""
    scores = score(Image.fromarray(original()), Image.fromarray(distorted()))
    assert scores.psnr_rgb == pytest.approx(19.866542, abs=1e-5)
    assert scores.ms_ssim_rgb == pytest.approx(0.963444, abs=1e-5)
    assert scores.ssim_rgb == pytest.approx(0.852562, abs=1e-5)


def test_luma_is_bt601():
    a, b = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)
    b[..., 1] = 100
    expected = 20 * math.log10(255 / 58.7)
    assert score(Image.fromarray(a), Image.fromarray(b)).psnr_y == pytest.approx(expected)


def test_identical_and_small_pictures_have_scores():
    image = Image.fromarray(original()[:100, :100])
    scores = score(image, image)
    assert scores.psnr_rgb == scores.psnr_y == IDENTICAL_DB
    assert scores.ms_ssim_rgb is None
    assert similarity_db(1) == IDENTICAL_DB
    assert similarity_db(0.99) == pytest.approx(20)


def test_half_the_bits_are_minus_fifty_percent():
    anchor = Curve.through([0.2, 0.4, 0.8, 1.6], [28, 31, 34, 37])
    half = Curve.through([0.1, 0.2, 0.4, 0.8], [28, 31, 34, 37])
    rating = bd_rate(anchor, half)
    assert rating.percent == pytest.approx(-50)
    assert rating.overlap == (28, 37)
    assert (rating.points, rating.anchor_points) == (4, 4)
    assert bd_rate(half, anchor).percent == pytest.approx(100)


def test_only_the_overlap_counts():
    anchor = Curve.through([0.2, 0.4, 0.8, 1.6], [28, 31, 34, 37])
    partly = Curve.through([0.2, 0.4, 0.8], [31, 34, 37])
    assert bd_rate(anchor, partly).overlap == (31, 37)
    apart = Curve.through([0.1, 0.2], [10, 12])
    assert bd_rate(anchor, apart).percent is None
    assert bd_rate(anchor, Curve.through([1], [30])).percent is None


def test_curves_rise():
    curve = Curve.through([0.4, 0.1, 0.2, 0.3], [33, 30, 32, 31])
    assert curve == Curve((0.1, 0.2, 0.4), (30, 32, 33))
    cut = curve.within(0.15, 0.4)
    assert cut.bpp == (0.15, 0.2, 0.4) and 31 < cut.score[0] < 32 and cut.score[1:] == pytest.approx((32, 33))
    assert curve.within(0.01, 9) == curve and curve.within(1, 9) == Curve((), ())
