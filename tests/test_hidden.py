"""What lies under alpha 0 costs no bytes and no quality, and nobody's pixels change elsewhere."""

import numpy as np
import pytest
from PIL import Image

from vqcodec import metrics
from vqcodec.images.hidden import fill_hidden
from vqcodec.images.reading import ReadOptions, read_picture

SIZE = 96
y, x = np.mgrid[:SIZE, :SIZE]
PICTURE = np.stack([x * 255 // (SIZE - 1), y * 255 // (SIZE - 1), (x + y) * 255 // (2 * SIZE - 2)], -1).astype(np.uint8)
NOISE = np.random.default_rng(1).integers(0, 256, PICTURE.shape, np.uint8)
DISTANCE = np.hypot(x - SIZE / 2, y - SIZE / 2)
MASKS = {
    "disc": np.where(DISTANCE < 30, 255, 0),
    "soft disc": np.clip(255 - 12 * (DISTANCE - 20), 0, 255),
    "hole": np.where(DISTANCE > 30, 255, 0),
    "stripes": np.where(x % 12 < 6, 200, 0),
    "scattered": np.where(np.random.default_rng(2).random((SIZE, SIZE)) < 0.5, 255, 0),
    "one pixel": np.where((x == 5) & (y == 7), 1, 0),
    "nothing": np.zeros((SIZE, SIZE)),
}


@pytest.mark.parametrize("mask", MASKS)
def test_hidden_colours_have_no_effect(mask):
    alpha = MASKS[mask].astype(np.uint8)
    seen = alpha[..., None] > 0
    one, other = (np.where(seen, PICTURE, hidden) for hidden in (NOISE, np.zeros_like(PICTURE)))
    pictures = [read_picture(np.dstack([pixels, alpha])) for pixels in (one, other)]
    for picture in pictures:
        fill_hidden(picture.pixels, picture.alpha)
    np.testing.assert_array_equal(pictures[0].pixels, pictures[1].pixels)
    np.testing.assert_array_equal(pictures[0].pixels[alpha > 0], PICTURE[alpha > 0])
    np.testing.assert_array_equal(pictures[0].alpha, alpha)
    # the filling is as smooth as the picture
    steps = np.abs(np.diff(pictures[0].pixels.astype(int), axis=1)).max()
    assert steps <= (16 if mask != "one pixel" else 255)


def test_grey_stays_grey_and_dropping_keeps_what_is_hidden():
    grey = Image.fromarray(np.dstack([PICTURE[..., 0], MASKS["disc"].astype(np.uint8)]))
    picture = read_picture(grey)
    assert picture.layout.is_grey and (picture.pixels == picture.pixels[..., :1]).all()
    coloured = np.dstack([NOISE, MASKS["disc"].astype(np.uint8)])
    np.testing.assert_array_equal(read_picture(coloured, options=ReadOptions(alpha="drop")).pixels, NOISE)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 2)])
def test_small_pictures(shape):
    alpha = np.zeros(shape, np.uint8)
    alpha[0, 0] = 255
    pixels = np.full((*shape, 3), 9, np.uint8)
    pixels[0, 0] = 77
    fill_hidden(pixels, alpha)
    assert (pixels == 77).all()


@pytest.mark.slow
def test_bytes_and_quality_do_not_depend_on_what_is_hidden():
    from vqcodec import Codec

    codec, alpha = Codec(device="cpu"), MASKS["soft disc"].astype(np.uint8)
    seen = alpha > 0
    mean = PICTURE[seen].mean(0).astype(np.uint8)
    sizes, qualities = [], []
    for hidden in (NOISE, mean):
        data = codec.encode(np.dstack([np.where(seen[..., None], PICTURE, hidden), alpha]))
        back = np.asarray(codec.decode(data).convert("RGB"))
        sizes.append(len(data))
        qualities.append(metrics.psnr(PICTURE[seen][None], back[seen][None]))
    assert sizes[0] == sizes[1] and abs(qualities[0] - qualities[1]) < 0.01
