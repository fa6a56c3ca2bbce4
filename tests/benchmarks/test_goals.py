"""Results of goals; tests/test_search.py tests the search itself."""

from benchmarks.rd.datasets import Photo
from benchmarks.timing.goals import Attempt, describe, measure
from vqcodec import Goal


def test_a_row_for_each_goal():
    half, one = Goal("bpp", 0.5), Goal("bpp", 1)
    attempts = [Attempt(half, "a", 0.25, 3), Attempt(one, "a", None), Attempt(half, "b", 0.5, 4)]
    assert describe(attempts).splitlines()[2:] == [
        "| 0.500 bpp | 2 | 0 | 0.50 | 3.5 | 4 |",
        "| 1.000 bpp | 1 | 1 |",
    ]


def test_goals_within_and_out_of_reach(tiny_codec, photo_folder):
    photo = Photo("0.png", photo_folder / "0.png")
    size = 0.8 * len(tiny_codec.encode(photo.path))
    good, bad = measure(tiny_codec, [photo], [Goal("size", size), Goal("psnr", 90)])
    assert good.miss is not None and good.miss <= 1 and 1 <= good.trials <= 8
    assert bad.miss is None
