"""Encode pictures into streams: analysis, choice of indices, entropy coding, level by level.

All pictures of a call, and all tiles of each, go through the prior's wavefronts together.  The bytes of a picture do
not depend on the other pictures of the call.  ``decoder.py`` is the inverse.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray

from vqcodec.codec.analysis import PictureAnalysis
from vqcodec.codec.drawn import mosaic
from vqcodec.codec.effort import CONTEXT_FROM, PLANS
from vqcodec.codec.grid import Grid
from vqcodec.codec.levels import CodedLevel, TileGroup, code_level
from vqcodec.codec.tiles import Tiling
from vqcodec.codec.tint import likely_tints
from vqcodec.coding.grids import encode_grids
from vqcodec.coding.slice_symbols import Indices
from vqcodec.images.reading import Picture, Pixels
from vqcodec.model.prior import Prior
from vqcodec.model.prior_arrays import restore_prior
from vqcodec.model.torch_state import isolated_torch_state
from vqcodec.model.vqvae import VQVAE
from vqcodec.stream.container import (
    BEST_QUALITY,
    Header,
    Layout,
    Section,
    SectionKind,
    Tint,
    write_header,
    write_stream,
)
from vqcodec.stream.metadata import write_metadata
from vqcodec.stream.planes import write_planes
from vqcodec.weights.registry import Model

TILE_LOG2 = 10
"""Tiles have edges of 1024 pixels; a picture up to that size is one tile, without overhead."""
_MOST_SHARE = 1.02
"""Most bytes of a stream of indices, as a share of the uncompressed samples.  Only noise at high quality takes more: it
is coded at the highest quality that does not."""
_COARSER = 8
"""Quality steps by which such a picture is coded more coarsely, again and again."""
_TRIAL_EDGE, _TRIAL_STEP = 48, 140
"""Edge in pixels of the blocks by which a tint is tried, and their quality step.  It does not depend on the picture's
own, so that neither size nor error jumps where a higher quality would choose otherwise; a right tint saves more at high
quality, a wrong one costs more."""
_TRIAL_SHARE = 0.99
"""Most that a tint may cost in the trial, as a share of none."""

Latents = NDArray[np.float32]


@dataclass(frozen=True)
class Coded:
    """A stream, and the indices of each level in it."""

    header: Header
    data: bytes
    grids: list[Grid]


class Encoder:
    """Encode pictures with one model, whose transforms run on one device."""

    def __init__(self, model: Model, vqvae: VQVAE, device: torch.device, *, tints: bool = True):
        """Without ``tints`` the indices are those of the pictures' own colours, as training needs them."""
        self._model, self._vqvae, self._device = model, vqvae, device
        self._tints = tints and model.config.entropy_constrained
        self._codebooks = [[q.codebook.cpu().numpy() for q in quantizers] for quantizers in vqvae.quantizers]

    @isolated_torch_state()
    def encode(
        self, pictures: Sequence[Picture], steps: Sequence[int], extras: Sequence[list[Section]], effort: int
    ) -> list[Coded]:
        """Encode pictures at their quality steps; ``extras`` holds the sections that follow each picture's levels.

        ``effort.py`` says what each effort does.  A model that chooses the nearest codeword always uses effort 0.
        """
        plan = PLANS[effort if self._vqvae.config.entropy_constrained else 0]
        headers = [
            self._header(picture.pixels, picture.layout, step, self._tint(picture))
            for picture, step in zip(pictures, steps, strict=True)
        ]
        analyses = [
            PictureAnalysis(self._vqvae, self._device, picture.pixels, header, plan)
            for picture, header in zip(pictures, headers, strict=True)
        ]
        grids, sections = self._search(headers, analyses, plan.rounds)
        every = [
            Coded(header, write_stream(header, levels + others), known)
            for header, levels, others, known in zip(headers, sections, extras, grids, strict=True)
        ]
        for i, header in enumerate(headers):
            colours = len(every[i].data) - sum(len(section.payload) for section in extras[i])
            if header.quality >= _COARSER and colours > self._most_bytes(header):
                (every[i],) = self.encode([pictures[i]], [header.quality - _COARSER], [extras[i]], effort)
        return every

    def _header(self, pixels: Pixels, layout: Layout, step: int, tint: Tint | None) -> Header:
        height, width = pixels.shape[:2]
        return Header(self._model.hash, width, height, layout, step, TILE_LOG2, tint)

    def _tint(self, picture: Picture) -> Tint | None:
        """Return the tint to code a picture with: the likely one by which a sample of it gains most, if any."""
        likely = likely_tints(picture) if self._tints else []
        if not likely:
            return None
        sample = mosaic(picture.pixels, _TRIAL_EDGE)
        headers = [self._header(sample, Layout.RGB, _TRIAL_STEP, tint) for tint in (None, *likely)]
        analyses = [PictureAnalysis(self._vqvae, self._device, sample, header, PLANS[0]) for header in headers]
        grids, sections = self._code(headers, analyses)
        without, *turned = (
            8 * len(write_header(header)) + self._cost(header, levels, analysis.squared_error(known))
            for header, levels, analysis, known in zip(headers, sections, analyses, grids, strict=True)
        )
        return likely[turned.index(min(turned))] if min(turned) < _TRIAL_SHARE * without else None

    def _most_bytes(self, header: Header) -> float:
        """Return how many bytes a stream may take besides extra sections: about as many as its padded samples."""
        stride = self._model.config.stride
        return _MOST_SHARE * 3 * (header.width + -header.width % stride) * (header.height + -header.height % stride)

    def _search(
        self, headers: Sequence[Header], analyses: Sequence[PictureAnalysis], rounds: int
    ) -> tuple[list[list[Grid]], list[list[Section]]]:
        """Code pictures, and again after each round: return, for each, the grids and sections that cost least."""
        grids, sections = self._code(headers, analyses)
        least = [math.inf] * len(headers)
        best = list(zip(grids, sections, strict=True))
        for number in range(rounds + 1 if rounds else 0):
            for i, (header, analysis) in enumerate(zip(headers, analyses, strict=True)):
                if number < rounds:
                    prior = self._prior if number >= CONTEXT_FROM else None
                    error = analysis.refine(grids[i], prior)
                else:
                    error = analysis.squared_error(grids[i])
                cost = self._cost(header, sections[i], error)
                if cost < least[i]:
                    least[i], best[i] = cost, (grids[i], sections[i])
            if number < rounds:
                grids, sections = self._code(headers, analyses)
        return [known for known, _ in best], [levels for _, levels in best]

    @cached_property
    def _prior(self) -> Prior:
        """The prior in its training form, for gradients; built when an effort first needs it."""
        with torch.random.fork_rng(devices=[]):  # it starts at random numbers
            prior = Prior(self._model.config)
        restore_prior(prior, self._model.arrays)
        return prior.eval().requires_grad_(False).to(self._device)

    def _cost(self, header: Header, sections: Sequence[Section], error: float) -> float:
        """Return the rate-distortion cost in bits; ``error`` is the sum of squares of all samples from 0 to 255."""
        lambda_ = self._model.config.lambda_at(header.quality / BEST_QUALITY)
        return 8 * sum(len(section.payload) for section in sections) + lambda_ * error / 3

    def _code(
        self, headers: Sequence[Header], analyses: Sequence[PictureAnalysis]
    ) -> tuple[list[list[Grid]], list[list[Section]]]:
        """Choose and code indices: return, for each picture, the grids of its levels and their sections."""
        grids: list[list[Grid]] = [[] for _ in headers]
        sections: list[list[Section]] = [[] for _ in headers]
        coarse: CodedLevel[bytes] | None = None
        for level, config in enumerate(self._model.config.levels):
            tiling = Tiling.of_level(headers, self._model.config, level)
            coarse = code_level(
                tiling,
                config.groups,
                [header.quality for header in headers],
                coarse,
                range(len(tiling.tile_shapes)),
                partial(self._latents, level, tiling, analyses, grids),
                partial(self._encode_tiles, level),
            )
            for known, grid in zip(grids, coarse.grids, strict=True):
                known.append(grid)
            for own, payloads in zip(sections, tiling.group(coarse.results), strict=True):
                own += [Section(SectionKind.level(level), tile, payload) for tile, payload in enumerate(payloads)]
        return grids, sections

    def _latents(
        self,
        level: int,
        tiling: Tiling,
        analyses: Sequence[PictureAnalysis],
        grids: Sequence[Sequence[Grid]],
        tile: int,
    ) -> Latents:
        """Return the latents (D, H, W) of a tile, given all coarser grids of each picture."""
        owner = tiling.owners[tile]
        return analyses[owner].latents(level, grids[owner], *tiling.windows[tile])

    def _encode_tiles(self, level: int, group: TileGroup[Latents]) -> tuple[list[Indices], list[bytes]]:
        """Return the indices and the payload of each tile."""
        prior, codebooks = self._model.priors[level], self._codebooks[level]
        return encode_grids(prior, group.sources, codebooks, group.coarse, group.steps)


def extra_sections(picture: Picture) -> list[Section]:
    """Return the sections that follow the levels in a picture's stream: its alpha plane and metadata."""
    alpha = [] if picture.alpha is None else [Section(SectionKind.ALPHA, 0, write_planes(picture.alpha))]
    return alpha + write_metadata(picture.metadata)
