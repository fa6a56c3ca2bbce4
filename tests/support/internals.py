"""What tests look at inside a :class:`vqcodec.Codec`: streams that are read already, and their indices."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from vqcodec import Codec, defaults
from vqcodec.codec.grid import Grid
from vqcodec.codec.tiles import Tiling
from vqcodec.coding.slice_symbols import Indices
from vqcodec.coding.symbols import FixedIndices, IndexEncoder
from vqcodec.coding.traversal import WavefrontLayout, walk
from vqcodec.config import ModelConfig
from vqcodec.outer_points import outer_digits, outer_shell
from vqcodec.stream.container import Header, Section, SectionKind, Stream
from vqcodec.weights.registry import Model


def decode_streams(codec: Codec, streams: Sequence[Stream], max_pixels: int = defaults.MAX_PIXELS) -> list[Image.Image]:
    """Check and decode streams that were made with the codec's model."""
    for stream in streams:
        codec._decoder.check(stream, max_pixels)
    return codec._decoder.decode(streams)


def every_index(grids: Sequence[Grid]) -> list[Indices]:
    """Return the indices (G, H, W) of all levels of a picture."""
    return [grid.read() for grid in grids]


def decode_grids(codec: Codec, streams: Sequence[Stream], max_pixels: int = defaults.MAX_PIXELS) -> list[list[Indices]]:
    """Return the indices (G, H, W) of all levels of each stream."""
    for stream in streams:
        codec._decoder.check(stream, max_pixels)
    return [every_index(grids) for grids in codec._decoder.grids(streams)]


def spelled_out(config: ModelConfig, grids: Sequence[Indices]) -> list[list[list[list[int | tuple[int, ...]]]]]:
    """Return the indices of all levels as lists [level][G][H][W], independent of how outer points are packed.

    An outer point becomes a tuple: its outer shell, then each coordinate's digits.
    """
    result = []
    for level, grid in zip(config.levels, grids, strict=True):
        slices = np.split(grid, np.cumsum([part.groups for part in level.slices])[:-1])
        spelled = []
        for part, indices in zip(level.slices, slices, strict=True):
            values = indices.astype(object)
            outer = indices[indices < 0]
            points = np.stack([outer_shell(part, outer), *outer_digits(part, outer)], 1).tolist()
            for place, point in zip(zip(*np.nonzero(indices < 0), strict=True), points, strict=True):
                values[place] = tuple(point)
            spelled += values.tolist()
        result.append(spelled)
    return result


def encode_grids(model: Model, header: Header, grids: Sequence[Indices]) -> list[Section]:
    """Return the sections of given indices (G, H, W) of all levels of one picture."""
    sections: list[Section] = []
    coarse = None
    for level, (prior, grid) in enumerate(zip(model.priors, grids, strict=True)):
        tiling = Tiling.of_level([header], model.config, level)
        tiles = [grid[:, rows, columns] for rows, columns in tiling.windows]
        layout = WavefrontLayout(prior, tiling.tile_shapes)
        writer = IndexEncoder(layout.shapes, FixedIndices(layout, tiles, [head.config.groups for head in prior.heads]))
        walk(prior, layout, coarse, tiling.repeat([header.quality]), writer)
        sections += [Section(SectionKind.level(level), i, payload) for i, payload in enumerate(writer.to_bytes())]
        coarse = tiles
    return sections
