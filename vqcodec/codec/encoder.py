"""Pictures -> streams: analysis, choice of indices and entropy coding, level by level.  The way back is ``decoder.py``.

All pictures of a call, and all tiles of each, go through the prior's wavefronts together.  What one picture becomes
does not depend on its company.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from vqcodec.codec.analysis import PictureAnalysis
from vqcodec.codec.tiles import Tiling
from vqcodec.coding.symbols import IndexEncoder, RateDistortionSelector
from vqcodec.coding.traversal import Indices, WavefrontLayout, walk
from vqcodec.concurrency.grouping import GROUP_PIXELS
from vqcodec.concurrency.threads import default_threads, map_in_threads
from vqcodec.images.reading import Picture
from vqcodec.model.torch_state import isolated_torch_state
from vqcodec.model.vqvae import VQVAE
from vqcodec.stream.alpha import write_alpha
from vqcodec.stream.container import Header, Section, SectionKind, write_stream
from vqcodec.stream.metadata import write_metadata
from vqcodec.weights.registry import Model

TILE_LOG2 = 10
"""Tiles of 1024 pixels: pictures up to that size are one tile and pay nothing."""
_ROUNDS = (0, 0, 1, 3)
"""How often each effort looks at what was coded and does better."""


@dataclass(frozen=True)
class Coded:
    """A stream and the indices (G, H, W) per level that it holds."""

    header: Header
    data: bytes
    grids: list[Indices]


@dataclass(frozen=True)
class _Part:
    """Tiles of a level that go through the wavefronts together."""

    latents: list[NDArray[np.float32]]
    """Of each tile, (D, H, W), in cells."""
    coarse: list[Indices] | None
    """The coarser level's tiles, (G', H / 2, W / 2)."""
    steps: list[int]
    """Of quality."""


class Encoder:
    """A model's way from pictures to streams, with transforms on a device."""

    def __init__(self, model: Model, vqvae: VQVAE, device: torch.device):
        self._model, self._vqvae, self._device = model, vqvae, device
        self._codebooks = [[q.codebook.cpu().numpy() for q in quantizers] for quantizers in vqvae.quantizers]

    @isolated_torch_state()
    def encode(
        self, pictures: Sequence[Picture], steps: Sequence[int], beside: Sequence[list[Section]], effort: int
    ) -> list[Coded]:
        """Pictures with their quality steps, and the sections that follow the levels, -> streams.

        ``effort`` 0 takes the latents as the analysis gives them, 1 refines them once, 2 and 3 code them and refine
        them again, once and three times.  A model that chooses codewords by distance alone knows effort 0 only.
        """
        headers = [
            Header(self._model.hash, p.pixels.shape[1], p.pixels.shape[0], p.layout, step, TILE_LOG2)
            for p, step in zip(pictures, steps, strict=True)
        ]
        subjects = [
            PictureAnalysis(self._vqvae, self._device, picture.pixels, step, refine=effort > 0)
            for picture, step in zip(pictures, steps, strict=True)
        ]
        grids, sections = self._code(headers, subjects)
        for _ in range(_ROUNDS[effort] if self._vqvae.config.entropy_constrained else 0):
            for subject, known in zip(subjects, grids, strict=True):
                subject.learn(known)
            grids, sections = self._code(headers, subjects)
        return [
            Coded(header, write_stream(header, levels + others), known)
            for header, levels, others, known in zip(headers, sections, beside, grids, strict=True)
        ]

    def _code(
        self, headers: Sequence[Header], subjects: Sequence[PictureAnalysis]
    ) -> tuple[list[list[Indices]], list[list[Section]]]:
        """Choose indices and code them: for each picture the grids of its levels, and their sections."""
        sections: list[list[Section]] = [[] for _ in headers]
        grids: list[list[Indices]] = [[] for _ in headers]
        coarse: list[Indices] | None = None
        for level, config in enumerate(self._model.config.levels):
            tiling = Tiling.of_level(headers, self._model.config, level)
            owners, steps = tiling.repeat(range(len(headers))), tiling.repeat([h.quality for h in headers])
            made = tiling.blank(config.groups)
            tiles = tiling.views(made)
            payloads: list[bytes] = []
            portions = tiling.portions(GROUP_PIXELS)
            parts = (
                _Part(
                    [subjects[owners[i]].latents(level, grids[owners[i]], *tiling.windows[i]) for i in some],
                    [coarse[i] for i in some] if coarse else None,
                    [steps[i] for i in some],
                )
                for some in portions
            )
            coded = map_in_threads(partial(self._walk, level), parts, min(default_threads(), len(portions)))
            for some, (chosen, words) in zip(portions, coded, strict=True):
                for i, indices in zip(some, chosen, strict=True):
                    tiles[i][:] = indices
                payloads += words
            for own, theirs in zip(sections, tiling.group(payloads), strict=True):
                own += [Section(SectionKind.level(level), tile, payload) for tile, payload in enumerate(theirs)]
            for known, grid in zip(grids, made, strict=True):
                known.append(grid)
            coarse = tiles
        return grids, sections

    def _walk(self, level: int, part: _Part) -> tuple[list[Indices], list[bytes]]:
        """The indices and the payload of each tile."""
        prior = self._model.priors[level]
        canvas = WavefrontLayout(prior, [z.shape[1:] for z in part.latents])
        writer = IndexEncoder(canvas.shapes, RateDistortionSelector(canvas, part.latents, self._codebooks[level]))
        chosen = walk(prior, canvas, part.coarse, part.steps, writer)
        return chosen, writer.to_bytes()


def sections_beside(picture: Picture) -> list[Section]:
    """What follows the levels in a picture's stream: its alpha plane and metadata."""
    alpha = [] if picture.alpha is None else [Section(SectionKind.ALPHA, 0, write_alpha(picture.alpha))]
    return alpha + write_metadata(picture.metadata)
