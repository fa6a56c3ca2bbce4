"""Tinted pictures: the rotation of their colours, the estimate of the tint, and what coding gains by both."""

import dataclasses

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vqcodec import Codec, info, metrics
from vqcodec.codec.encoder import Encoder
from vqcodec.codec.tiles import Box
from vqcodec.codec.tint import likely_tints, rotation, turned, turned_back
from vqcodec.images.reading import Picture
from vqcodec.stream.container import Layout, read_header

RED = (255, 90, 70)
PHOTO = np.ascontiguousarray(skimage.data.astronaut()[:160, 100:292])
TINTED = (PHOTO * np.array(RED) / 255).round().astype(np.uint8)


def mean_error(a, b):
    return np.square(np.asarray(a, float) - np.asarray(b, float)).mean()


@given(st.tuples(st.just(255), st.integers(0, 255), st.integers(0, 254)))
def test_the_tint_becomes_grey_and_no_error_changes(tint):
    matrix = rotation(tint)
    grey = matrix @ tint
    assert np.allclose(grey, grey[0]) and grey[0] > 0
    assert np.allclose(matrix @ matrix.T, np.eye(3)) and np.linalg.det(matrix) == pytest.approx(1)
    x = torch.from_numpy(np.random.default_rng(0).random((1, 3, 4, 5)))
    y = turned(x, tint)
    assert np.allclose(y[0, :, 2, 3], matrix @ x[0, :, 2, 3].numpy())
    assert torch.allclose(turned_back(y, tint), x)


def likely(pixels):
    return likely_tints(Picture(np.ascontiguousarray(pixels), Layout.RGB))


def test_the_estimates():
    assert likely(PHOTO) == []
    light, *_ = likely(TINTED)
    assert np.abs(np.array(light) - RED).max() < 12
    black, small = np.zeros((64, 64, 3), np.uint8), TINTED[:63, :63]
    for pixels in (black, np.full((1, 5000, 3), 200, np.uint8), TINTED[:, :, :1].repeat(3, 2), small):
        assert likely(pixels) == []
    share = np.random.default_rng(0).integers(0, 256, (70, 60, 1)) / 255  # between two colours
    mixture = (share * [250, 90, 220] + (1 - share) * [20, 40, 200]).round().astype(np.uint8)
    axis = np.array([230, 50, 20])
    found = likely(mixture)[-1]
    assert np.abs(found / np.linalg.norm(found) - axis / np.linalg.norm(axis)).max() < 0.02


def test_a_tinted_photograph_takes_fewer_bytes_and_has_less_error(monkeypatch):
    codec = Codec(device="cpu")

    def curve():
        streams = [codec.encode(TINTED, quality, effort=0, lossless=False) for quality in (40, 60)]
        return streams, [len(data) for data in streams], [mean_error(codec.decode(data), TINTED) for data in streams]

    streams, sizes, errors = curve()
    tint = info(streams[0]).tint
    assert tint is not None and max(tint) == 255 == tint[0]
    monkeypatch.setattr(Encoder, "_tint", lambda *_: None)
    streams, plain_sizes, plain_errors = curve()
    assert info(streams[0]).tint is None
    assert sizes[1] < 0.85 * plain_sizes[1] and errors[1] < 0.85 * plain_errors[1]
    assert sizes[0] < plain_sizes[0] and errors[0] < plain_errors[0]


def test_photographs_without_a_tint_keep_their_colours():
    codec = Codec(device="cpu")
    for photo in (skimage.data.chelsea(), skimage.data.coffee()):
        assert read_header(codec.encode(photo[100:260, 100:300], 30, effort=0))[0].tint is None


@pytest.fixture
def red(monkeypatch, tiny_codec):
    """A codec that codes every picture with the same tint."""
    monkeypatch.setattr(Encoder, "_tint", lambda *_: RED)
    return tiny_codec


def test_every_way_of_decoding_turns_the_colours_back(red):
    data = red.encode(TINTED, 60, lossless=False)
    image = red.decode(data)
    pixels = np.asarray(image)
    assert np.array_equal(red.decode_region(data, Box(40, 30, 70, 50)), pixels[30:80, 40:110])
    assert np.array_equal(np.concatenate(list(map(np.asarray, red.decode_strips(data)))), pixels)
    for decoded in (pixels, np.asarray(red.decode_preview(data))):
        colour = decoded.mean((0, 1))
        assert colour[0] > 2 * colour[1] > 2 * colour[2]


def test_batches_goals_and_alpha(red):
    rgba = Image.fromarray(np.dstack([TINTED, np.full(TINTED.shape[:2], 200, np.uint8)]))
    alone = red.encode(rgba, 50, lossless=False)
    (together,) = red.encode_batch([rgba], 50, lossless=False)
    assert together.data == alone and read_header(alone)[0].tint == RED
    assert red.decode(alone).mode == "RGBA"


def test_the_encoder_sees_the_error_of_the_decoded_picture(red, monkeypatch):
    """The search for a size compares squared errors: they are those of the colours that decoding gives."""
    errors = []
    original = Encoder._cost

    def cost(self, header, sections, error):
        errors.append(error)
        return original(self, header, sections, error)

    monkeypatch.setattr(Encoder, "_cost", cost)
    data = red.encode(TINTED, 60, effort=3, lossless=False)
    found = mean_error(red.decode(data), TINTED) * TINTED.size
    assert min(abs(error - found) for error in errors) < 0.01 * found


def test_training_needs_the_own_colours_of_pictures(red, monkeypatch):
    monkeypatch.undo()
    model, device = red.model, torch.device("cpu")
    assert Encoder(model, model.vqvae, device, tints=False)._tint(Picture(TINTED, Layout.RGB)) is None


def test_quality_is_that_of_the_picture_itself():
    codec = Codec(device="cpu")
    reds = [codec.encode(TINTED, quality, effort=0, lossless=False) for quality in (0, 50, 100)]
    psnr = [metrics.psnr(TINTED, np.asarray(codec.decode(data))) for data in reds]
    assert psnr == sorted(psnr) and psnr[2] > 44
    assert len({dataclasses.astuple(read_header(data)[0])[-2] for data in reds}) == 1
