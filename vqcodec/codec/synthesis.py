"""Compute pixels from indices: all of a picture, a rectangle of it, or a preview.  The inverse of ``analysis.py``.

The synthesis has a finite receptive field, so a rectangle depends only on the indices around it, and a picture of any
size is computed window by window in constant memory.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from vqcodec.codec.grid import Grid
from vqcodec.codec.tiles import Box
from vqcodec.codec.tint import turned_back
from vqcodec.concurrency.memory import trim_heap
from vqcodec.config import lifelike_share
from vqcodec.images.reading import Pixels
from vqcodec.model.grids import Grids
from vqcodec.model.torch_state import isolated_torch_state
from vqcodec.model.transform import PixelSynthesis
from vqcodec.model.vqvae import VQVAE
from vqcodec.stream.container import Header

WINDOW = 1024
"""Edge, in pixels, of what is computed at once."""
STRIP = 512
"""Rows of a strip of a large picture: windows of half the height take less memory, but compute 18 % more pixels."""


class PictureSynthesis:
    """The synthesis of one model, on one device.

    Two syntheses of the same indices, one for the least error and one for lifelike pictures, span the trade between the
    two: by mixing their pixels (Yan et al., "Optimally Controllable Perceptual Lossy Compression", ICML 2022).
    """

    def __init__(self, vqvae: VQVAE, device: torch.device, load_lifelike: Callable[[], PixelSynthesis]):
        """``load_lifelike`` returns the second synthesis, on the device; it is called when that is first needed."""
        self._vqvae, self._device, self._load_lifelike = vqvae, device, load_lifelike
        self._stride = vqvae.config.stride
        self._reach = vqvae.reach

    def pixels(self, header: Header, grids: Sequence[Grid], box: Box | None = None, realism: float = 0.0) -> Pixels:
        """Compute the pixels (H, W, 3) of a picture, or of a box in it, from the indices of each level.

        ``realism`` is 0 for the faithful picture, 1 for the lifelike one, between them for a mixture.
        """
        box = box or Box(0, 0, header.width, header.height)
        share = realism * lifelike_share(header.quality)
        return _window_by_window(box, lambda part: self._pixels_at_once(header, grids, part, share))

    def window(self, header: Header, box: Box) -> Box:
        """Return the rectangle that the pixels of a box depend on, box included."""
        return box.grown(self._reach, self._stride, header.width, header.height)

    def preview(self, header: Header, top: Grid) -> Pixels:
        """Compute coarse pixels (H, W, 3) from the coarsest indices alone."""
        if len(self._vqvae.config.levels) == 1:
            return self.pixels(header, [top])
        box = Box(0, 0, header.width, header.height)
        return _window_by_window(box, lambda part: self._preview_at_once(header, top, part))

    def quality(self, step: int) -> Tensor:
        """Return a quality step as the networks take it: a position among the knots, (1,)."""
        return torch.tensor([self._vqvae.config.knot_position(step)], dtype=torch.float32, device=self._device)

    def to_indices(self, grid: Grid, rows: slice, columns: slice) -> Tensor:
        """Return a part of a grid as (1, G, rows, columns) int64 on the device."""
        return torch.from_numpy(grid.read(rows, columns))[None].long().to(self._device)

    @isolated_torch_state()
    def _preview_at_once(self, header: Header, top: Grid, box: Box) -> Pixels:
        rows, columns = box.positions(self._stride, self._stride)
        x = self._vqvae.preview(self.to_indices(top, rows, columns), self.quality(header.quality))
        return _to_pixels(turned_back(x, header.tint))[: box.height, : box.width]

    @isolated_torch_state()
    def _pixels_at_once(self, header: Header, grids: Sequence[Grid], box: Box, share: float) -> Pixels:
        """``share`` is that of the second synthesis in the mixture."""
        window = self.window(header, box)
        parts = []
        for level, grid in zip(self._vqvae.config.levels, grids, strict=True):
            rows, columns = window.positions(level.stride, self._stride)
            parts.append(self.to_indices(grid, rows, columns))
        pixels = _to_pixels(self._mixture(header, Grids(tuple(parts)), share))
        inside = box.moved(window.left, window.top)
        return pixels[inside.top : inside.bottom, inside.left : inside.right]

    def _mixture(self, header: Header, grids: Grids, share: float) -> Tensor:
        """Map indices to pixels (1, 3, H, W): those of the faithful picture, the lifelike one, or their mixture."""
        quality = self.quality(header.quality)
        latents, conditioning = self._vqvae.decode_latents(grids, quality)

        def picture(synthesis: PixelSynthesis) -> Tensor:
            return turned_back(synthesis(latents, conditioning, quality), header.tint).clamp(0, 1)

        if share == 0:
            return picture(self._vqvae.pixel_synthesis)
        lifelike = picture(self._load_lifelike())
        return lifelike if share == 1 else torch.lerp(picture(self._vqvae.pixel_synthesis), lifelike, share)


def _window_by_window(box: Box, compute: Callable[[Box], Pixels]) -> Pixels:
    """Return the pixels (H, W, 3) of a box, computed one window at a time."""
    if max(box.width, box.height) <= WINDOW:
        return compute(box)
    pixels = np.empty((box.height, box.width, 3), np.uint8)
    for top in range(box.top, box.bottom, WINDOW):
        for left in range(box.left, box.right, WINDOW):
            part = Box(left, top, min(WINDOW, box.right - left), min(WINDOW, box.bottom - top))
            at = part.moved(box.left, box.top)
            pixels[at.top : at.bottom, at.left : at.right] = compute(part)
            trim_heap()
    return pixels


def _to_pixels(x: Tensor) -> Pixels:
    """Convert (1, 3, H, W) in about [0, 1] to (H, W, 3) uint8."""
    return x[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
