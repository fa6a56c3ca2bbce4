"""The specification is complete: a decoder written from it alone decodes the same indices."""

import numpy as np
import pytest

from tests.support.independent_decoder import decode_indices
from tests.support.internals import decode_grids
from vqcodec.codec import encoder
from vqcodec.stream.container import read_stream


@pytest.mark.parametrize(("size", "quality"), [((1, 1), 0), ((40, 50), 60), ((33, 130), 100)])
def test_an_independent_decoder_agrees(tiny_codec, tiny_weights, monkeypatch, size, quality):
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)  # the widest picture has three tiles
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pixels[:, : size[1] // 2] //= 4
    data = tiny_codec.encode(pixels, quality, lossless=False)
    ours = decode_grids(tiny_codec, [read_stream(data)])[0]
    for mine, theirs in zip(ours, decode_indices(data, tiny_weights), strict=True):
        np.testing.assert_array_equal(mine, theirs)
