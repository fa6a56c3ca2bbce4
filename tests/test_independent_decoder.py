"""The specification is complete: a decoder written from it alone decodes the same indices."""

import numpy as np
import pytest

from tests.golden.make import indices_sha256
from tests.support.independent_decoder import decode_indices
from tests.support.internals import decode_grids, encode_grids, spelled_out
from tests.support.tiny import random_grids
from vqcodec import Codec
from vqcodec.codec import encoder
from vqcodec.stream.container import Header, Layout, read_stream, write_stream


@pytest.fixture(scope="module", params=["tiny_weights", "plain_weights"])
def weights(request):
    return request.getfixturevalue(request.param)


def check_agreement(codec, weights, data):
    """Decode with both decoders and return the indices."""
    ours = decode_grids(codec, [read_stream(data)])[0]
    theirs = decode_indices(data, weights)
    spelled = spelled_out(codec.model.config, ours)
    assert spelled == [grid.tolist() for grid in theirs]
    assert indices_sha256(spelled) == indices_sha256(theirs)  # what the golden corpus stores
    return ours


@pytest.mark.parametrize(("size", "quality"), [((1, 1), 0), ((40, 50), 60), ((33, 130), 100)])
def test_an_independent_decoder_agrees(weights, monkeypatch, size, quality):
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)  # the widest picture has three tiles
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pixels[:, : size[1] // 2] //= 4
    codec = Codec(model_path=weights, device="cpu")
    check_agreement(codec, weights, codec.encode(pixels, quality, lossless=False))


@pytest.mark.parametrize("zeros", [1.0, 0.9, 0.2])
def test_an_independent_decoder_agrees_on_any_indices(weights, zeros):
    codec = Codec(model_path=weights, device="cpu")
    header = Header(codec.model.hash, 130, 33, Layout.RGB, 77, 6)
    grids = random_grids(codec.model.config.grid_shapes(33, 130), 1, codec.model.config, zeros)
    data = write_stream(header, encode_grids(codec.model, header, grids))
    for mine, wanted in zip(check_agreement(codec, weights, data), grids, strict=True):
        np.testing.assert_array_equal(mine, wanted)
