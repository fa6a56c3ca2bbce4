"""Boxes, and streams of some tiles only."""

from dataclasses import replace

import numpy as np
import pytest

from vqcodec.codec.levels import code_level
from vqcodec.codec.tiles import Box, Tiling, cut
from vqcodec.errors import InvalidRegion
from vqcodec.stream.container import Header, Layout, Section, SectionKind, Stream, write_stream

HEADER = Header(bytes(8), 200, 130, Layout.RGB, 0, tile_log2=6)  # 4 x 3 tiles
SECTIONS = [
    Section(kind, tile, bytes([kind.value, tile]))
    for kind in (SectionKind.LEVEL_0, SectionKind.LEVEL_1)
    for tile in range(12)
]


@pytest.mark.parametrize("box", [Box(0, 0, 0, 5), Box(-1, 0, 5, 5), Box(190, 0, 11, 5), Box(0, 130, 1, 1)])
def test_boxes_outside(box):
    with pytest.raises(InvalidRegion, match=f"region {box}"):
        box.check_inside(200, 130)


def test_growing():
    assert Box(50, 60, 10, 10).grown(20, 16, 200, 130) == Box(16, 32, 64, 64)
    assert Box(0, 0, 200, 130).grown(20, 16, 200, 130) == Box(0, 0, 200, 130)


@pytest.mark.parametrize(
    "box, tiles, size, inside",
    [
        (Box(70, 10, 20, 20), [1], (64, 64), Box(6, 10, 20, 20)),
        (Box(100, 60, 50, 10), [1, 2, 5, 6], (128, 128), Box(36, 60, 50, 10)),
        (Box(199, 129, 1, 1), [11], (8, 2), Box(7, 1, 1, 1)),
        (Box(0, 0, 200, 130), list(range(12)), (200, 130), Box(0, 0, 200, 130)),
    ],
)
def test_cutting(box, tiles, size, inside):
    metadata = Section(SectionKind.XMP, 0, b"x")
    part, where = cut(Stream(HEADER, (*SECTIONS, metadata)), box)
    assert (part.header.width, part.header.height) == size and where == inside
    assert [s.payload for s in part.sections] == [bytes([level, tile]) for level in (0, 1) for tile in tiles]
    write_stream(part.header, part.sections)  # in order and complete


def test_a_grid_keeps_every_index_in_about_two_bytes():
    headers = [replace(HEADER, width=64), HEADER]  # 3 and 12 tiles
    tiling = Tiling(headers, 8, [(17, 8), (17, 25)])
    rng = np.random.default_rng(0)
    tiles = [rng.integers(-(2**15), 2**12, (5, *shape), np.int32) for shape in tiling.tile_shapes]
    tiles[7][2, 1, 3] = -(2**28)  # as an outer point is packed
    tiles[8] = rng.integers(-(2**31), 2**12, tiles[8].shape, np.int32)

    def code(group):
        assert group.coarse is None or all(known.dtype == np.int32 for known in group.coarse)
        return [tiles[i] for i in group.sources], [0 for _ in group.sources]

    coded = code_level(tiling, 5, [0, 0], None, range(15), lambda i: i, code)
    whole = [grid.read() for grid in coded.grids]
    for number, (owner, (rows, columns)) in enumerate(zip(tiling.owners, tiling.windows, strict=True)):
        np.testing.assert_array_equal(whole[owner][:, rows, columns], tiles[number])
        np.testing.assert_array_equal(coded.tile(number), tiles[number])
    for _ in range(50):
        (top, bottom), (left, right) = (np.sort(rng.choice(edge + 1, 2, replace=False)) for edge in (17, 25))
        part = coded.grids[1].read(slice(top, bottom), slice(left, right))
        np.testing.assert_array_equal(part, whole[1][:, top:bottom, left:right])
    code_level(tiling, 5, [0, 0], coded, range(15), lambda i: i, code)
