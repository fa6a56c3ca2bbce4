"""The specification is complete: a decoder written from it alone decodes the same indices."""

import numpy as np
import pytest

from tests.support.independent_decoder import decode_indices
from tests.support.internals import decode_grids, encode_grids
from tests.support.tiny import random_grids
from vqcodec import Codec
from vqcodec.codec import encoder
from vqcodec.outer_points import outer_digits, outer_shell
from vqcodec.stream.container import Header, Layout, read_stream, write_stream


@pytest.fixture(scope="module", params=["tiny_weights", "plain_weights"])
def weights(request):
    return request.getfixturevalue(request.param)


def check_agreement(codec, weights, data):
    """Decode with both decoders and return the indices."""
    ours = decode_grids(codec, [read_stream(data)])[0]
    theirs = decode_indices(data, weights)
    for level, mine, other in zip(codec.model.config.levels, ours, theirs, strict=True):
        assert spelled_out(level, mine) == other.tolist()
    return ours


@pytest.mark.parametrize(("size", "quality"), [((1, 1), 0), ((40, 50), 60), ((33, 130), 100)])
def test_an_independent_decoder_agrees(weights, monkeypatch, size, quality):
    monkeypatch.setattr(encoder, "TILE_LOG2", 6)  # the widest picture has three tiles
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pixels[:, : size[1] // 2] //= 4
    codec = Codec(model_path=weights, device="cpu")
    check_agreement(codec, weights, codec.encode(pixels, quality))


@pytest.mark.parametrize("zeros", [1.0, 0.9, 0.2])
def test_an_independent_decoder_agrees_on_any_indices(weights, zeros):
    codec = Codec(model_path=weights, device="cpu")
    header = Header(codec.model.hash, 130, 33, Layout.RGB, 77, 6)
    grids = random_grids(codec.model.config.grid_shapes(33, 130), 1, codec.model.config, zeros)
    data = write_stream(header, encode_grids(codec.model, header, grids))
    for mine, wanted in zip(check_agreement(codec, weights, data), grids, strict=True):
        np.testing.assert_array_equal(mine, wanted)


def spelled_out(level, grid):
    """Return indices (G, H, W) as lists, outer points as tuples of their shell and digits."""
    result, at = [], 0
    for part in level.slices:
        for indices in grid[at : at + part.groups]:
            shells, digits = outer_shell(part, indices), outer_digits(part, indices)
            points = np.stack([shells, *digits], -1).tolist()
            result.append(
                [
                    [tuple(points[y][x]) if index < 0 else index for x, index in enumerate(row)]
                    for y, row in enumerate(indices.tolist())
                ]
            )
        at += part.groups
    return result
