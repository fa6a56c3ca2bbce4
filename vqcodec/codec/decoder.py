"""Decode streams into pictures: entropy decoding level by level, then synthesis.  The inverse of ``encoder.py``.

All streams of a call, and all tiles of each, go through the prior's wavefronts together.  ``exact.py`` decodes the
pixels of streams that hold them exactly.
"""

import copy
from collections.abc import Iterator, Sequence
from functools import cache, partial

import torch
from PIL import Image

from vqcodec.codec.exact import check_exact, exact_pixels
from vqcodec.codec.grid import Grid
from vqcodec.codec.levels import CodedLevel, TileGroup, code_level
from vqcodec.codec.synthesis import STRIP, PictureSynthesis
from vqcodec.codec.tiles import Box, Tiling, cut
from vqcodec.coding.grids import code_lengths, decode_grids
from vqcodec.coding.rans import WORD_BYTES
from vqcodec.coding.slice_symbols import Indices
from vqcodec.coding.symbols import min_words
from vqcodec.errors import ImageTooLarge, MalformedStream, ModelMismatch
from vqcodec.images.reading import Picture, Pixels, check_size, to_pil
from vqcodec.model.transform import PixelSynthesis
from vqcodec.model.vqvae import VQVAE
from vqcodec.stream.container import SectionKind, Stream
from vqcodec.stream.metadata import read_metadata
from vqcodec.stream.planes import read_planes
from vqcodec.weights.registry import Model, load_lifelike

MAX_TILE_PIXELS = 1 << 22
"""Larger tiles are refused.  A tile is decoded in one piece, so this bounds memory for pictures of any size."""


class Decoder:
    """Decode streams of one model, whose transforms run on one device."""

    def __init__(self, model: Model, vqvae: VQVAE, device: torch.device):
        self._model = model
        self.synthesis = PictureSynthesis(vqvae, device, cache(partial(_lifelike_on, model, device)))

    def check(self, stream: Stream, max_pixels: int, realism: float = 0.0) -> None:
        """Check that this model can decode a stream, before anything of the picture's size is allocated.

        Raises:
            ModelMismatch, ImageTooLarge, MalformedStream, RealismUnavailable.
        """
        header = stream.header
        if realism and not stream.is_exact:
            self._model.check_realism()
        check_size(header.width, header.height, max_pixels)
        if stream.is_exact:
            check_exact(stream)
        else:
            self._check_levels(stream)
        width, height = (min(1 << header.tile_log2, edge) for edge in (header.width, header.height))
        if width * height > MAX_TILE_PIXELS:
            raise ImageTooLarge(
                f"tiles of {width}x{height} pixels are too large: the limit is {MAX_TILE_PIXELS} pixels"
            )

    def _check_levels(self, stream: Stream) -> None:
        header, config = stream.header, self._model.config
        if header.model_hash != self._model.hash:
            raise ModelMismatch(f"made with model {header.model_hash.hex()}, not {self._model.id}")
        levels = {section.kind for section in stream.sections if section.kind.is_level}
        if len(levels) != len(config.levels) and not stream.damage:
            raise MalformedStream(f"stream has {len(levels)} levels, model {self._model.id} has {len(config.levels)}")
        # Missing sections cost nothing: without this check a few bytes could ask for a picture of any size.
        held = sum(len(section.payload) for section in stream.sections if section.kind.is_level)
        if stream.damage and held < WORD_BYTES * min_words(config.grid_shapes(header.height, header.width)[0]):
            raise MalformedStream(f"too few grid bytes for a {header.width}x{header.height} picture: {held}")
        if 1 << header.tile_log2 < config.stride:
            raise MalformedStream(f"tiles of {1 << header.tile_log2} pixels are too small for this model")

    def decode(self, streams: Sequence[Stream], realism: float = 0.0) -> list[Image.Image]:
        """Decode checked streams.  A damaged stream whose coarsest level alone is intact gives its preview."""
        every = self.grids(streams)[::-1]  # popped below, so that the indices of finished pictures are freed
        return [
            _image(stream, self._pixels(stream, every.pop(), realism=realism), _alpha(stream)) for stream in streams
        ]

    def strips(self, stream: Stream, realism: float = 0.0) -> Iterator[Image.Image]:
        """Decode an undamaged stream into images of full width, from the top."""
        header = stream.header
        rows = 1 << header.tile_log2 if stream.is_exact else STRIP  # exact tiles are decoded whole
        (grids,) = self.grids([stream])
        alpha = _alpha(stream)
        for top in range(0, header.height, rows):
            box = Box(0, top, header.width, min(rows, header.height - top))
            pixels = self._pixels(stream, grids, box, realism)
            yield _image(stream, pixels, None if alpha is None else box.of(alpha))

    def preview(self, stream: Stream) -> Image.Image:
        """Decode the coarsest level alone into a coarse image of full size; exact pixels are decoded completely."""
        (grids,) = self.grids([stream], levels=1)
        return _image(stream, self._pixels(stream, grids), _alpha(stream))

    def region(self, stream: Stream, box: Box, realism: float = 0.0) -> Image.Image:
        """Decode a rectangle, and of the stream only the tiles that it depends on."""
        window = box if stream.is_exact else self.synthesis.window(stream.header, box)
        part, inside = cut(stream, window)
        (grids,) = self.grids([part])
        pixels = self._pixels(part, grids, box.moved(window.left - inside.left, window.top - inside.top), realism)
        alpha = _alpha(stream)
        return _image(stream, pixels, None if alpha is None else box.of(alpha))

    def _pixels(self, stream: Stream, grids: Sequence[Grid], box: Box | None = None, realism: float = 0.0) -> Pixels:
        """Return the colours (H, W, 3) of a stream, or of a box in it, given what :meth:`grids` returns.

        The whole picture is that of the preview where only the coarsest level is known.
        """
        if stream.is_exact:
            return exact_pixels(stream, box)
        finer = any(s.kind.is_level and s.kind is not SectionKind.LEVEL_0 for s in stream.sections)
        coarse = len(grids) < len(self._model.config.levels) or (stream.damage and not finer)
        if coarse and box is None:
            return self.synthesis.preview(stream.header, grids[0])
        return self.synthesis.pixels(stream.header, grids, box, realism)

    def grids(self, streams: Sequence[Stream], levels: int | None = None) -> list[list[Grid]]:
        """Entropy-decode the indices of all levels of each stream, or of the first ``levels``.

        A stream of exact pixels has none, and gives an empty list.
        Where a tile of a damaged stream, or the coarser tile that it depends on, is missing, indices are zero: the
        codewords that add nothing.
        """
        indexed = [stream for stream in streams if not stream.is_exact]
        headers = [stream.header for stream in indexed]
        grids: list[list[Grid]] = [[] for _ in indexed]
        coarse: CodedLevel[None] | None = None
        for level, config in enumerate(self._model.config.levels[:levels] if indexed else ()):
            every = enumerate(payload for stream in indexed for payload in stream.tiles(SectionKind.level(level)))
            known = None if coarse is None else frozenset(coarse.numbers)
            payloads = {i: payload for i, payload in every if payload is not None and (known is None or i in known)}
            coarse = code_level(
                Tiling.of_level(headers, self._model.config, level),
                config.groups,
                [header.quality for header in headers],
                coarse,
                list(payloads),
                payloads.__getitem__,
                partial(self._decode_tiles, level),
            )
            for own, grid in zip(grids, coarse.grids, strict=True):
                own.append(grid)
        found = iter(grids)
        return [[] if stream.is_exact else next(found) for stream in streams]

    def index_bits(self, stream: Stream) -> float:
        """Return ``-log2 p`` in bits of the indices of an undamaged stream; see :meth:`Codec.index_bits`."""
        (grids,) = self.grids([stream])
        header, coarse, bits = stream.header, None, 0.0
        for level, (prior, grid) in enumerate(zip(self._model.priors, grids, strict=True)):
            tiling = Tiling.of_level([header], self._model.config, level)
            tiles = [grid.read(*window) for window in tiling.windows]
            bits += float(code_lengths(prior, tiles, coarse, [header.quality] * len(tiles)).sum())
            coarse = tiles
        return bits

    def _decode_tiles(self, level: int, group: TileGroup[bytes]) -> tuple[list[Indices], list[None]]:
        """Return the indices of each tile."""
        prior = self._model.priors[level]
        return decode_grids(prior, group.sources, group.shapes, group.coarse, group.steps), []


def _lifelike_on(model: Model, device: torch.device) -> PixelSynthesis:
    """Return a model's second synthesis on a device."""
    lifelike = load_lifelike(model)
    return lifelike if device.type == "cpu" else copy.deepcopy(lifelike).to(device)


def _image(stream: Stream, pixels: Pixels, alpha: Pixels | None) -> Image.Image:
    """Return decoded pixels (H, W, 3) and alpha (H, W) as an image with the stream's metadata."""
    layout = stream.header.layout
    return to_pil(Picture(pixels, layout.opaque if alpha is None else layout, alpha, read_metadata(stream.sections)))


def _alpha(stream: Stream) -> Pixels | None:
    """Return the alpha plane (H, W), or None without one."""
    for section in stream.sections:
        if section.kind is SectionKind.ALPHA and stream.header.layout.has_alpha:
            return read_planes(section.payload, (stream.header.height, stream.header.width), section.kind.label)
    return None
