"""Pixels -> latents: a picture as the analysis sees it, window by window.

The networks are functions of finite reach, so latents need the pixels around them and no others, and a picture of any
size can be analysed in constant memory.  The way back is ``synthesis.py``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.codec.tiles import Box
from vqcodec.coding.traversal import Indices
from vqcodec.concurrency.memory import trim_heap
from vqcodec.images.reading import Pixels
from vqcodec.model.refinement import corrections, first_choice
from vqcodec.model.torch_state import half
from vqcodec.model.transform import Message
from vqcodec.model.vqvae import VQVAE, Pyramid, pad

WINDOW_WIDTH, WINDOW_HEIGHT = 1024, 512
"""Pixels that are analysed at once, apart from a margin; tiles divide their width."""
MARGIN = 32
"""Pixels around a window that are looked at, too.  Networks reach further, but what they would find there does not save
a bit: docs/PERFORMANCE.md."""
WHOLE_PIXELS = 1 << 21
"""A picture up to this size is one window."""
_FURTHEST = 0.13
"""Cells that refinement may move a latent in all.  Where codebooks are overloaded or rounds add up, its steps lead
astray; within this they gain the most: docs/PERFORMANCE.md."""
_UNIT = _FURTHEST / 127
"""Cells that corrections count in, so that each takes a byte."""


@dataclass(frozen=True)
class _View:
    """What analysis knows of a window and its margin."""

    around: Box
    x: Tensor
    """(1, 3, H, W), padded."""
    pyramid: Pyramid


class PictureAnalysis:
    """One picture at one quality."""

    def __init__(self, vqvae: VQVAE, device: torch.device, pixels: Pixels, step: int, refine: bool):
        """``pixels`` (H, W, 3); ``step`` is the quality step that the stream will store."""
        self._vqvae, self._device, self._pixels = vqvae, device, pixels
        self._quality = torch.tensor([vqvae.config.knot_positions(step)], dtype=torch.float32, device=device)
        self._corrections: list[NDArray[np.int8]] = []
        """What refinement adds to each level's latents, (D, H, W), for the whole picture; empty without."""
        self._unrefined: set[Box] = set()
        """Windows whose first correction is still to be found."""
        if refine and vqvae.config.entropy_constrained:
            shapes = vqvae.config.grid_shapes(*pixels.shape[:2])
            levels = zip(vqvae.config.levels, shapes, strict=True)
            self._corrections = [np.zeros((level.latents, *shape), np.int8) for level, shape in levels]
            self._unrefined = set(self._windows())
        self._view: _View | None = None
        self._last: tuple[int, Box, Tensor] | None = None

    def latents(self, level: int, coarser: Sequence[Indices], rows: slice, columns: slice) -> NDArray[np.float32]:
        """Scaled latents of a part of a level's grid, (D, rows, columns), in codebook cells.

        ``coarser`` holds the whole grids (G, H, W) of all coarser levels.  Parts of a large picture should be asked for
        in raster order: what was computed for a window is kept until another one is needed.
        """
        stride = self._vqvae.config.levels[level].stride
        parts, top = [], rows.start
        while top < rows.stop:
            box = self._window(top * stride, columns.start * stride)
            own_rows, own_columns = self._positions(box, level)
            bottom = min(rows.stop, own_rows.stop)
            z = self._latents_of(box, level, coarser)[:, top - own_rows.start : bottom - own_rows.start]
            parts.append(z[:, :, columns.start - own_columns.start : columns.stop - own_columns.start])
            top = bottom
        return torch.cat(parts, 1).cpu().numpy()

    def _latents_of(self, box: Box, level: int, coarser: Sequence[Indices]) -> Tensor:
        """Those of a window, (D, rows, columns)."""
        if self._last is None or self._last[:2] != (level, box):
            view = self._look(box)
            if box in self._unrefined:
                better = self._correct(view, *first_choice(self._vqvae, view.pyramid, self._quality))
                self._keep(better, view, box, self._corrections)
                self._unrefined.remove(box)
            self._last = level, box, self._analyse(view, level, coarser)[0][:, *self._inside(view, box, level)]
        return self._last[2]

    def learn(self, grids: Sequence[Indices]) -> None:
        """Improve the latents after all levels were coded as ``grids`` (G, H, W) from those that there are now."""
        if not self._corrections:
            return
        learned = [known.copy() for known in self._corrections]
        for box in self._windows():
            view = self._look(box)
            latents = [self._analyse(view, level, grids[:level]) for level in range(len(grids))]
            codewords = [self._codewords(view, level, grid) for level, grid in enumerate(grids)]
            self._keep(self._correct(view, latents, codewords), view, box, learned)
        self._corrections, self._last = learned, None

    def _windows(self) -> Iterator[Box]:
        """All windows, in raster order."""
        height, width = self._pixels.shape[:2]
        top = 0
        while top < height:
            left = 0
            while left < width:
                yield (box := self._window(top, left))
                left = box.right
            top = box.bottom

    def _window(self, top: int, left: int) -> Box:
        """The window, without margin, that a pixel is in."""
        height, width = self._pixels.shape[:2]
        if height * width <= WHOLE_PIXELS:
            return Box(0, 0, width, height)
        left, top = left // WINDOW_WIDTH * WINDOW_WIDTH, top // WINDOW_HEIGHT * WINDOW_HEIGHT
        return Box(left, top, min(WINDOW_WIDTH, width - left), min(WINDOW_HEIGHT, height - top))

    @torch.no_grad()
    def _look(self, box: Box) -> _View:
        """Analyse a window, unless it was the last one."""
        height, width = self._pixels.shape[:2]
        margin = min(MARGIN, self._vqvae.analysis_reach)
        around = box.grown(margin, self._vqvae.config.stride, width, height)
        if self._view is None or self._view.around != around:
            if self._view is not None:
                self._view = self._last = None  # before the next, so that memory holds one window
                trim_heap()
            x = self._to_tensor(self._pixels[around.top : around.bottom, around.left : around.right])
            with half(self._device):
                self._view = _View(around, x, self._vqvae.analyse(x, self._quality))
        return self._view

    @torch.no_grad()
    def _analyse(self, view: _View, level: int, coarser: Sequence[Indices]) -> Tensor:
        """A level's latents in a view, with the corrections that are known so far: (1, D, H, W)."""
        message: Message | None = None
        with half(self._device):
            for i, grid in enumerate(coarser):
                message = self._vqvae.advance(i, self._codewords(view, i, grid), message, self._quality)
            latents = self._vqvae.latents(level, view.pyramid, message, self._quality)
        if self._corrections:
            known = self._corrections[level][:, *self._positions(view.around, level)]
            latents += torch.from_numpy(known).to(self._device) * _UNIT
        return latents

    def _keep(self, more: Sequence[Tensor], view: _View, box: Box, corrections: Sequence[NDArray[np.int8]]) -> None:
        """Add what was found in a view to the corrections of its window."""
        for level, (found, whole) in enumerate(zip(more, corrections, strict=True)):
            known = whole[:, *self._positions(box, level)]
            wanted = known + found[0][:, *self._inside(view, box, level)].cpu().numpy() / _UNIT
            known[:] = np.clip(np.rint(wanted), -127, 127)

    def _correct(self, view: _View, latents: Sequence[Tensor], codewords: Sequence[Tensor]) -> list[Tensor]:
        size = view.around.height, view.around.width
        return corrections(self._vqvae, view.x, latents, codewords, self._quality, size)

    def _codewords(self, view: _View, level: int, grid: Indices) -> Tensor:
        """What the indices (G, H, W) of a level mean in a view: (1, D, H, W)."""
        part = np.ascontiguousarray(grid[:, *self._positions(view.around, level)])
        return self._vqvae.dequantize(level, torch.from_numpy(part)[None].long().to(self._device))

    def _positions(self, box: Box, level: int) -> tuple[slice, slice]:
        config = self._vqvae.config
        return box.positions(config.levels[level].stride, config.stride)

    def _inside(self, view: _View, box: Box, level: int) -> tuple[slice, slice]:
        """Where a box's positions are among those of the view."""
        return self._positions(box.moved(view.around.left, view.around.top), level)

    def _to_tensor(self, pixels: Pixels) -> Tensor:
        """(H, W, 3) -> (1, 3, H, W) in [0, 1], padded."""
        x = torch.from_numpy(pixels).to(self._device).permute(2, 0, 1)[None].float() / 255
        return pad(x, self._vqvae.config.stride)
