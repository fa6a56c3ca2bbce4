"""The table of efforts."""

import pytest

from benchmarks.rd.datasets import Photo
from benchmarks.timing.efforts import Point, describe, measure, plot, summarize


def points():
    for effort, share in ((0, 1.0), (2, 0.9)):
        for quality, bpp in ((20, 0.25), (40, 0.5), (60, 1.0)):
            yield Point("a", quality, effort, share * bpp, 30 + quality / 10, 2.0 if effort else 0.5, 0.1)


def test_bits_and_time_against_the_lowest_effort(tmp_path):
    lowest, higher = summarize(list(points()))
    assert (lowest.bd_rate, lowest.ratio) == (pytest.approx(0, abs=1e-9), 1)
    assert (higher.bd_rate, higher.worst) == (pytest.approx(-10), pytest.approx(-10))
    assert (higher.ratio, higher.seconds) == (4, pytest.approx(20))
    assert (lowest.worst_point, higher.worst_point) == (None, pytest.approx(-10))
    assert describe([higher]).splitlines()[-1] == "| 2 | -10.0 % | -10.0 % | -10.0 % | 4.00 | 20.0 |"
    plot(tmp_path / "efforts.png", [lowest, higher])
    assert (tmp_path / "efforts.png").stat().st_size > 1000


def test_a_point_for_each_quality_and_effort(tiny_codec, photo_folder):
    photo = Photo("0.png", photo_folder / "0.png")
    found = list(measure(tiny_codec, [photo], [20, 60], 64, efforts=(0, 1)))
    assert [(p.quality, p.effort) for p in found] == [(20, 0), (20, 1), (60, 0), (60, 1)]
    assert all(p.bpp > 0 and p.seconds > 0 and p.megapixels == 64 * 64 / 1e6 for p in found)
