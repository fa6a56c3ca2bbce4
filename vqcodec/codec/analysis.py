"""Compute latents from pixels, window by window, and refine them.  ``synthesis.py`` is the inverse.

The networks have a finite receptive field, so latents depend only on the pixels around them, and the networks take
constant memory for a picture of any size.  The corrections that refinement finds grow with the picture.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.codec.bands import Bands
from vqcodec.codec.effort import Plan, step_share
from vqcodec.codec.grid import Grid
from vqcodec.codec.tiles import Box
from vqcodec.codec.tint import turned, turned_back
from vqcodec.concurrency.memory import trim_heap
from vqcodec.images.reading import Pixels
from vqcodec.model.prior import Prior
from vqcodec.model.rate_gradient import rate_gradients
from vqcodec.model.refinement import Refinement, close_loop, first_choice, refine
from vqcodec.model.torch_state import half
from vqcodec.model.transform import Conditioning
from vqcodec.model.vqvae import VQVAE, FeaturePyramid, pad
from vqcodec.stream.container import Header

WINDOW_WIDTH, WINDOW_HEIGHT = 1024, 512
"""Size, in pixels, of what is analysed at once, without its margin.  The edge of a tile is a multiple of both."""
MARGIN = 32
"""Pixels around a window that are analysed with it.  The receptive field is wider, but a wider margin saves no bits:
docs/PERFORMANCE.md."""
WHOLE_PIXELS = 1 << 21
"""A picture of at most so many pixels is one window."""
_FURTHEST = 0.2
"""Codebook cells that refinement may move a latent in total.  Longer moves cost bits where codebooks are overloaded or
rounds add up: docs/PERFORMANCE.md."""
_CORRECTED = 96
"""Leading latents of a level that are refined.  The others are mostly zero, and cost memory."""
_CLOSED_UNIT = 1 / 16
"""Least unit of what is kept of the closed loop, in codebook cells, so that each latent takes a byte."""
_UNIT = _FURTHEST / 127
"""Unit of stored corrections, in codebook cells, so that each takes a byte."""


@dataclass(frozen=True)
class _View:
    """The analysis of a window with its margin."""

    around: Box
    x: Tensor
    """(1, 3, H, W), padded; its tint is turned to grey."""
    pyramid: FeaturePyramid


class PictureAnalysis:
    """The latents of one picture at one quality."""

    def __init__(self, vqvae: VQVAE, device: torch.device, pixels: Pixels, header: Header, plan: Plan):
        """Prepare the analysis of ``pixels`` (H, W, 3) at the quality and with the tint of the stream's header."""
        self._vqvae, self._device, self._pixels, self._tint = vqvae, device, pixels, header.tint
        position = vqvae.config.knot_position(header.quality)
        self._quality = torch.tensor([position], dtype=torch.float32, device=device)
        self._corrections: list[Bands] = []
        """Corrections of the leading latents of each level, (C, H, W), in ``_UNIT``; empty without refinement."""
        self._unrefined: set[Box] = set()
        """Windows whose first correction is not computed yet."""
        self._inexact: set[Box] = set()
        """Windows whose latents give another picture than theirs."""
        self._plan, self._steps = plan, plan.first_steps
        """The steps are those taken before the next round."""
        self._closed: dict[Box, tuple[float, NDArray[np.int8]]] = {}
        """What the closed loop adds to the finest latents of inexact windows: a unit in cells, and (D, H, W) in it."""
        if plan.first_steps and vqvae.config.entropy_constrained:
            shapes = vqvae.config.grid_shapes(*pixels.shape[:2])
            levels = zip(vqvae.config.levels, shapes, strict=True)
            rows = WINDOW_HEIGHT if self._has_windows else WHOLE_PIXELS
            self._corrections = [
                Bands(min(level.latents, _CORRECTED), *shape, rows // level.stride) for level, shape in levels
            ]
            self._unrefined = set(self._windows())
        self._view: _View | None = None
        self._last: dict[int, tuple[Box, Tensor]] = {}
        """By level, the window whose latents were computed last, and these latents (1, D, H, W), margins included."""

    def latents(self, level: int, coarser: Sequence[Grid], rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return scaled latents of a part of a level's grid, (D, rows, columns), in codebook cells.

        ``coarser`` holds the whole grids of all coarser levels.  Ask for the parts of a large picture in
        raster order: the analysis of a window is kept only until another window is asked for.
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
        if level + 1 == len(self._vqvae.config.levels) and not self._plan.rounds:
            for known, config in zip(self._corrections, self._vqvae.config.levels, strict=False):
                known.free((rows.start * stride - MARGIN) // config.stride)  # nothing above is asked for again
        found = torch.cat(parts, 1).cpu().numpy()
        self._trim()
        return found

    def _trim(self) -> None:
        """Return the networks' memory to the system before the walks need some; a small picture is not worth it."""
        if self._has_windows:
            trim_heap()

    @property
    def _has_windows(self) -> bool:
        """Whether the picture is analysed in more than one window."""
        height, width = self._pixels.shape[:2]
        return bool(height * width > WHOLE_PIXELS)

    def _latents_of(self, box: Box, level: int, coarser: Sequence[Grid]) -> Tensor:
        """Return the latents of a window, (D, rows, columns)."""
        view = self._view_of(box)
        if box in self._unrefined:
            self._refine_first(view, box)
        return self._whole_latents_of(view, box, level, coarser)[0][:, *self._inside(view, box, level)]

    def _refine_first(self, view: _View, box: Box) -> None:
        """Refine the latents of a window at a quick choice of indices."""
        self._unrefined.remove(box)
        for number in range(self._plan.first_steps):
            corrections = [self._corrections_in(view, level) for level in range(len(self._corrections))]
            choice = first_choice(self._vqvae, view.pyramid, corrections, self._quality)
            better = self._refine(view, *choice, step_share(number))
            self._keep(better.corrections, view, box, self._corrections)
        if not better.is_exact:
            self._inexact.add(box)

    def _whole_latents_of(self, view: _View, box: Box, level: int, coarser: Sequence[Grid]) -> Tensor:
        """Return the latents of a window and its margin, (1, D, rows, columns)."""
        if level not in self._last or self._last[level][0] != box:
            self._last[level] = box, self._analyse(view, box, level, coarser)
        return self._last[level][1]

    def refine(self, grids: Sequence[Grid], prior: Prior | None) -> float:
        """Refine the latents, given the indices of each level that were coded from them.

        ``prior`` tells what indices cost later ones, if that counts.  Returns the squared error of these indices,
        samples from 0 to 255.
        """
        refined = copy.deepcopy(self._corrections)
        error = 0.0
        for box in self._windows():
            view = self._view_of(box)
            latents = [self._whole_latents_of(view, box, level, grids[:level]) for level in range(len(grids))]
            chosen = [self._indices(view, level, grid) for level, grid in enumerate(grids)]
            codewords = [self._vqvae.dequantize(level, indices) for level, indices in enumerate(chosen)]
            rates = None if prior is None else rate_gradients(self._vqvae, prior, latents, chosen, self._quality)
            better = self._refine(view, latents, codewords, step_share(self._steps), rates)
            self._keep(better.corrections, view, box, refined)
            error += self._squared_error(view, box, better.pixels)
        self._corrections = refined
        self._steps += 1
        self._last.clear()
        self._trim()
        return error

    @torch.no_grad()
    def squared_error(self, grids: Sequence[Grid]) -> float:
        """Return the squared error of indices of each level, samples from 0 to 255, sum of all."""
        error = 0.0
        for box in self._windows():
            view = self._view_of(box)
            conditioning: Conditioning | None = None
            with half(self._device, min(view.x.shape[2:]) // self._vqvae.config.stride):
                for level, grid in enumerate(grids[:-1]):
                    codewords = self._codewords(view, level, grid)
                    conditioning = self._vqvae.advance(level, codewords, conditioning, self._quality)
                codewords = self._codewords(view, len(grids) - 1, grids[-1])
                pixels = self._vqvae.pixels(codewords, conditioning, self._quality)
            error += self._squared_error(view, box, pixels)
        return error

    def _squared_error(self, view: _View, box: Box, pixels: Tensor) -> float:
        """Return the squared error of pixels (1, 3, H, W) of a view in its window, samples from 0 to 255."""
        inside = box.moved(view.around.left, view.around.top)
        part = pixels[:, :, inside.top : inside.bottom, inside.left : inside.right]
        found = turned_back(part, self._tint)[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).cpu().numpy()
        return float(np.square(found - box.of(self._pixels)).sum(dtype=np.float64))

    def _windows(self) -> Iterator[Box]:
        """Yield all windows in raster order."""
        height, width = self._pixels.shape[:2]
        top = 0
        while top < height:
            left = 0
            while left < width:
                yield (box := self._window(top, left))
                left = box.right
            top = box.bottom

    def _window(self, top: int, left: int) -> Box:
        """Return the window, without its margin, that holds a pixel."""
        height, width = self._pixels.shape[:2]
        if not self._has_windows:
            return Box(0, 0, width, height)
        left, top = left // WINDOW_WIDTH * WINDOW_WIDTH, top // WINDOW_HEIGHT * WINDOW_HEIGHT
        return Box(left, top, min(WINDOW_WIDTH, width - left), min(WINDOW_HEIGHT, height - top))

    @torch.no_grad()
    def _view_of(self, box: Box) -> _View:
        """Return the analysis of a window; the last one is kept."""
        height, width = self._pixels.shape[:2]
        margin = min(MARGIN, self._vqvae.analysis_reach)
        around = box.grown(margin, self._vqvae.config.stride, width, height)
        if self._view is None or self._view.around != around:
            if self._view is not None:
                self._view = None  # freed first, so that memory holds one window
                self._last.clear()
                trim_heap()
            x = self._to_tensor(self._pixels[around.top : around.bottom, around.left : around.right])
            with half(self._device, min(x.shape[2:]) // self._vqvae.config.stride):
                self._view = _View(around, x, self._vqvae.analyse(x, self._quality))
        return self._view

    @torch.no_grad()
    def _analyse(self, view: _View, box: Box, level: int, coarser: Sequence[Grid]) -> Tensor:
        """Return the latents of a level in the view of a window, with the corrections found so far: (1, D, H, W)."""
        conditioning: Conditioning | None = None
        with half(self._device, min(view.x.shape[2:]) // self._vqvae.config.stride):
            for i, grid in enumerate(coarser):
                conditioning = self._vqvae.advance(i, self._codewords(view, i, grid), conditioning, self._quality)
            latents = self._vqvae.latents(level, view.pyramid, conditioning, self._quality)
        if self._corrections:
            known = self._corrections_in(view, level)
            latents[:, : known.shape[1]] += known
            if box in self._inexact and level + 1 == len(self._vqvae.config.levels):
                latents = self._close(view, box, latents, conditioning)
        return latents

    def _close(self, view: _View, box: Box, latents: Tensor, conditioning: Conditioning | None) -> Tensor:
        """Return the finest latents (1, D, H, W) of an inexact window that give its picture.

        The loop runs once: it takes as long as many rounds, in which its result changes little.
        """
        if box in self._closed:
            unit, change = self._closed[box]
            return latents + torch.from_numpy(change)[None].to(self._device).float() * unit
        closed = close_loop(self._vqvae, view.x, latents, conditioning, self._quality)
        if self._plan.rounds:
            moved = (closed - latents)[0].cpu().numpy()
            unit = max(_CLOSED_UNIT, float(np.abs(moved).max()) / 127)
            self._closed[box] = unit, np.rint(moved / unit).astype(np.int8)
        return closed

    def _corrections_in(self, view: _View, level: int) -> Tensor:
        """Return the corrections (1, C, H, W) of a level's leading latents in a view."""
        known = self._corrections[level].read(*self._positions(view.around, level))
        return torch.from_numpy(known)[None].to(self._device).float() * _UNIT

    def _keep(self, more: Sequence[Tensor], view: _View, box: Box, corrections: Sequence[Bands]) -> None:
        """Add corrections that were found in a view to those of its window."""
        for level, (found, whole) in enumerate(zip(more, corrections, strict=True)):
            known = whole.view(*self._positions(box, level))
            wanted = known + found[0][: whole.channels, *self._inside(view, box, level)].cpu().numpy() / _UNIT
            known[:] = np.clip(np.rint(wanted), -127, 127)

    def _refine(
        self,
        view: _View,
        latents: Sequence[Tensor],
        codewords: Sequence[Tensor],
        share: float,
        rates: Sequence[Tensor] | None = None,
    ) -> Refinement:
        size = view.around.height, view.around.width
        return refine(self._vqvae, view.x, latents, codewords, self._quality, size, share, rates)

    def _codewords(self, view: _View, level: int, grid: Grid) -> Tensor:
        """Return the codewords (1, D, H, W) of a level's indices in a view."""
        return self._vqvae.dequantize(level, self._indices(view, level, grid))

    def _indices(self, view: _View, level: int, grid: Grid) -> Tensor:
        """Return a level's indices in a view, (1, G, H, W)."""
        return torch.from_numpy(grid.read(*self._positions(view.around, level)))[None].long().to(self._device)

    def _positions(self, box: Box, level: int) -> tuple[slice, slice]:
        config = self._vqvae.config
        return box.positions(config.levels[level].stride, config.stride)

    def _inside(self, view: _View, box: Box, level: int) -> tuple[slice, slice]:
        """Return the rows and columns of a box within a view."""
        return self._positions(box.moved(view.around.left, view.around.top), level)

    def _to_tensor(self, pixels: Pixels) -> Tensor:
        """Convert (H, W, 3) to (1, 3, H, W) in [0, 1], padded; a tint is turned to grey, which may leave [0, 1]."""
        x = torch.from_numpy(pixels).to(self._device).permute(2, 0, 1)[None].float() / 255
        return pad(turned(x, self._tint), self._vqvae.config.stride)
