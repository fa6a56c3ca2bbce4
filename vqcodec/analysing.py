"""Pixels -> latents: a picture as the analysis sees it, window by window.

The networks are functions of finite reach, so latents need the pixels around them and no others, and a picture of any
size can be analysed in constant memory.  The way back is ``painting.py``.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vqcodec.coding.traversal import Indices
from vqcodec.image import Pixels
from vqcodec.model.transform import Message
from vqcodec.model.vqvae import VQVAE, Pyramid
from vqcodec.tiles import Box

WINDOW_WIDTH, WINDOW_HEIGHT = 2048, 1024
"""Pixels that are analysed at once, apart from a margin; tiles divide them."""
WHOLE_PIXELS = 1 << 22
"""A picture up to this size is one window."""


class Subject:
    """One picture at one quality."""

    def __init__(self, vqvae: VQVAE, device: torch.device, pixels: Pixels, step: int):
        """``pixels`` (H, W, 3); ``step`` is the quality step that the stream will store."""
        self._vqvae, self._device, self._pixels = vqvae, device, pixels
        self._quality = torch.tensor([vqvae.config.knot_positions(step)], device=device)
        self._seen: tuple[Box, Pyramid] | None = None
        self._last: tuple[int, Box, Tensor] | None = None

    def latents(self, level: int, coarser: Sequence[Indices], rows: slice, columns: slice) -> NDArray[np.float32]:
        """Scaled latents of a part of a level's grid, (D, rows, columns), in codebook cells.

        ``coarser`` holds the whole grids (G, H, W) of all coarser levels.  Parts of a large picture should be asked for
        in raster order: what was computed for a window is kept until another one is needed.
        """
        stride = self._vqvae.config.levels[level].stride
        box = self._window(rows.start * stride, columns.start * stride)
        if self._last is None or self._last[:2] != (level, box):
            self._last = level, box, self._analyse(level, coarser, box)
        top, left = rows.start - box.top // stride, columns.start - box.left // stride
        part = self._last[2][:, top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]
        return part.cpu().numpy()

    def _window(self, top: int, left: int) -> Box:
        """The window, without margin, that a pixel is in."""
        height, width = self._pixels.shape[:2]
        if height * width <= WHOLE_PIXELS:
            return Box(0, 0, width, height)
        left, top = left // WINDOW_WIDTH * WINDOW_WIDTH, top // WINDOW_HEIGHT * WINDOW_HEIGHT
        return Box(left, top, min(WINDOW_WIDTH, width - left), min(WINDOW_HEIGHT, height - top))

    @torch.inference_mode()
    def _analyse(self, level: int, coarser: Sequence[Indices], box: Box) -> Tensor:
        """A level's latents in a box: (D, H, W)."""
        height, width = self._pixels.shape[:2]
        config = self._vqvae.config
        around = box.grown(self._vqvae.analysis_reach, config.stride, width, height)
        if self._seen is None or self._seen[0] != around:
            x = self._pixels[around.top : around.bottom, around.left : around.right]
            self._seen = around, self._vqvae.analyse(self._to_tensor(x), self._quality)
        message: Message | None = None
        for i, grid in enumerate(coarser):
            rows, columns = around.positions(config.levels[i].stride, config.stride)
            indices = torch.from_numpy(grid[:, rows, columns])[None].long().to(self._device)
            message = self._vqvae.advance(i, self._vqvae.dequantize(i, indices), message, self._quality)
        latents = self._vqvae.latents(level, self._seen[1], message, self._quality)[0]
        rows, columns = box.moved(around.left, around.top).positions(config.levels[level].stride, config.stride)
        return latents[:, rows, columns]

    def _to_tensor(self, pixels: Pixels) -> Tensor:
        """(H, W, 3) -> (1, 3, H, W) in [0, 1], the last row and column repeated up to whole positions."""
        x = torch.from_numpy(pixels).to(self._device).permute(2, 0, 1)[None].float() / 255
        stride = self._vqvae.config.stride
        return F.pad(x, (0, -x.shape[3] % stride, 0, -x.shape[2] % stride), mode="replicate")
