"""Streams -> pictures: entropy decoding level by level, then synthesis.  The way there is ``encoder.py``.

A walk through the prior's wavefronts serves all streams of a call, and all tiles of each, at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image

from vqcodec.codec.synthesis import WINDOW, PictureSynthesis
from vqcodec.codec.tiles import Box, Tiling, cut
from vqcodec.coding.rans import WORD_BYTES
from vqcodec.coding.symbols import IndexDecoder, min_words
from vqcodec.coding.traversal import Indices, WavefrontLayout, walk
from vqcodec.concurrency.grouping import GROUP_PIXELS
from vqcodec.concurrency.threads import default_threads, map_in_threads
from vqcodec.errors import ImageTooLarge, MalformedStream, ModelMismatch
from vqcodec.images.reading import Picture, Pixels, check_size, to_pil
from vqcodec.model.vqvae import VQVAE
from vqcodec.stream.alpha import read_alpha
from vqcodec.stream.container import SectionKind, Stream
from vqcodec.stream.metadata import read_metadata
from vqcodec.weights.registry import Model

MAX_TILE_PIXELS = 1 << 22
"""Larger tiles are refused: a tile is decoded at once, so this bounds memory, however large the picture may be."""


@dataclass(frozen=True)
class _Part:
    """Tiles of a level that go through the wavefronts together."""

    payloads: list[bytes]
    shapes: list[tuple[int, int]]
    """Rows and columns of each tile's grid."""
    coarse: list[Indices] | None
    """The coarser level's tiles, (G', H / 2, W / 2)."""
    steps: list[int]
    """Of quality."""


class Decoder:
    """A model's way from streams to pictures, with transforms on a device."""

    def __init__(self, model: Model, vqvae: VQVAE, device: torch.device):
        self._model = model
        self.painter = PictureSynthesis(vqvae, device)

    def check(self, stream: Stream, max_pixels: int) -> None:
        """That this model can decode a stream, before anything of the picture's size is allocated.

        Raises:
            ModelMismatch, ImageTooLarge, MalformedStream.
        """
        header, config = stream.header, self._model.config
        if header.model_hash != self._model.hash:
            raise ModelMismatch(f"made with model {header.model_hash.hex()}, not {self._model.id}")
        check_size(header.width, header.height, max_pixels)
        levels = {section.kind for section in stream.sections if section.kind.is_level}
        if len(levels) != len(config.levels) and not stream.damage:
            raise MalformedStream(f"{len(levels)} levels, model {self._model.id} has {len(config.levels)}")
        # Missing sections cost nothing, so that without this a few bytes would be a picture of any size.
        held = sum(len(section.payload) for section in stream.sections if section.kind.is_level)
        if stream.damage and held < WORD_BYTES * min_words(config.grid_shapes(header.height, header.width)[0]):
            raise MalformedStream(f"{held} bytes of grids are too little of {header.width}x{header.height} pixels")
        if 1 << header.tile_log2 < config.stride:
            raise MalformedStream(f"tiles of {1 << header.tile_log2} pixels are too small for this model")
        width, height = (min(1 << header.tile_log2, edge) for edge in (header.width, header.height))
        if width * height > MAX_TILE_PIXELS:
            raise ImageTooLarge(f"tiles of {width}x{height} pixels, this program decodes up to {MAX_TILE_PIXELS}")

    def decode(self, streams: Sequence[Stream]) -> list[Image.Image]:
        """Streams -> images; they are taken to be checked.  One of which only the top is left becomes its preview."""
        every = self.grids(streams)[::-1]  # what is painted is given up, a large picture's indices are large
        return [_image(stream, self._paint(stream, every.pop()), _alpha(stream)) for stream in streams]

    def strips(self, stream: Stream) -> Iterator[Image.Image]:
        """An undamaged stream -> images of full width, from the top."""
        header = stream.header
        (grids,) = self.grids([stream])
        alpha = _alpha(stream)
        for top in range(0, header.height, WINDOW):
            box = Box(0, top, header.width, min(WINDOW, header.height - top))
            pixels = self.painter.paint(header, grids, box)
            yield _image(stream, pixels, None if alpha is None else alpha[box.top : box.bottom])

    def _paint(self, stream: Stream, grids: Sequence[Indices]) -> Pixels:
        finer = any(s.kind.is_level and s.kind is not SectionKind.LEVEL_0 for s in stream.sections)
        if stream.damage and not finer:
            return self.painter.preview(stream.header, grids[0])
        return self.painter.paint(stream.header, grids)

    def preview(self, stream: Stream) -> Image.Image:
        """The coarsest level alone -> a coarse image of full size."""
        (grids,) = self.grids([stream], levels=1)
        return _image(stream, self.painter.preview(stream.header, grids[0]), _alpha(stream))

    def region(self, stream: Stream, box: Box) -> Image.Image:
        """Only the tiles that a rectangle needs -> its pixels."""
        header = stream.header
        window = self.painter.window(header, box)
        part, inside = cut(stream, window)
        (grids,) = self.grids([part])
        pixels = self.painter.paint(part.header, grids, box.moved(window.left - inside.left, window.top - inside.top))
        alpha = _alpha(stream)
        if alpha is not None:
            alpha = alpha[box.top : box.bottom, box.left : box.right]
        return _image(stream, pixels, alpha)

    def grids(self, streams: Sequence[Stream], levels: int | None = None) -> list[list[Indices]]:
        """Streams -> indices (G, H, W) of all levels, or of the first ``levels``.

        Where a tile of a damaged stream is missing, or the tile of a coarser level that it needs, indices are zero:
        the codewords that add nothing.
        """
        headers = [stream.header for stream in streams]
        result: list[list[Indices]] = [[] for _ in streams]
        coarse: dict[int, Indices] = {}
        for level, config in enumerate(self._model.config.levels[:levels]):
            tiling = Tiling.of_level(headers, self._model.config, level)
            sections = enumerate(payload for stream in streams for payload in stream.tiles(SectionKind.level(level)))
            payloads = {i: payload for i, payload in sections if payload is not None and (level == 0 or i in coarse)}
            steps = tiling.repeat([header.quality for header in headers])
            made = tiling.blank(config.groups)
            tiles = tiling.views(made)
            portions = tiling.portions(GROUP_PIXELS, payloads)
            parts = (
                _Part(
                    [payloads[i] for i in some],
                    [tiling.tile_shapes[i] for i in some],
                    [coarse[i] for i in some] if level else None,
                    [steps[i] for i in some],
                )
                for some in portions
            )
            decoded = map_in_threads(partial(self._walk, level), parts, min(default_threads(), len(portions)))
            for some, found in zip(portions, decoded, strict=True):
                for i, indices in zip(some, found, strict=True):
                    tiles[i][:] = indices
            for grids, grid in zip(result, made, strict=True):
                grids.append(grid)
            coarse = {i: tiles[i] for i in payloads}
        return result

    def _walk(self, level: int, part: _Part) -> list[Indices]:
        """The indices of each tile."""
        prior = self._model.priors[level]
        reader = IndexDecoder(part.payloads, part.shapes)
        found = walk(prior, WavefrontLayout(prior, part.shapes), part.coarse, part.steps, reader)
        reader.finish()
        return found


def _image(stream: Stream, pixels: Pixels, alpha: Pixels | None) -> Image.Image:
    """Decoded pixels (H, W, 3) and alpha (H, W), with what else the stream holds."""
    layout = stream.header.layout
    return to_pil(Picture(pixels, layout.opaque if alpha is None else layout, alpha, read_metadata(stream.sections)))


def _alpha(stream: Stream) -> Pixels | None:
    """The alpha plane (H, W), if there is one."""
    for section in stream.sections:
        if section.kind is SectionKind.ALPHA and stream.header.layout.has_alpha:
            return read_alpha(section.payload, stream.header.width, stream.header.height)
    return None
