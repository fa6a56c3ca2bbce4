"""The demo's JPEG for comparison has about as many bytes as the stream."""

import numpy as np
from PIL import Image

from vqcodec.cli.demo import jpeg_within

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))


def test_best_jpeg_that_fits():
    sizes = [len(jpeg_within(PHOTO, limit)) for limit in (900, 1200, 10**6)]
    assert sizes[0] <= 900 < sizes[1] <= 1200 < sizes[2]


def test_smallest_jpeg_where_none_fits():
    assert len(jpeg_within(PHOTO, 0)) == len(jpeg_within(PHOTO, 1)) > 1
