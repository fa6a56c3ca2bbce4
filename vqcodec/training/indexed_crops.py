"""Training crops and their indices, made once by the encoder and kept in the run's folder."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vqcodec import defaults
from vqcodec.codec.encoder import Coded, Encoder
from vqcodec.config import QUALITY_STEPS, ModelConfig
from vqcodec.images.reading import Picture
from vqcodec.model.grids import Grids
from vqcodec.stream.container import Layout
from vqcodec.training.data import Crops

_AT_ONCE = 32
"""Crops that are encoded together."""


def encode_pictures(encoder: Encoder, pixels: Tensor, steps: Sequence[int]) -> list[Coded]:
    """Encode pictures (B, 3, H, W) uint8 at their quality steps, as files are encoded by default."""
    pictures = [Picture(np.ascontiguousarray(p.permute(1, 2, 0).numpy()), Layout.RGB) for p in pixels]
    return encoder.encode(pictures, steps, [[] for _ in steps], defaults.EFFORT)


@dataclass(frozen=True)
class IndexedCrops:
    """Pictures and the indices that the encoder chose for them."""

    pixels: Tensor
    """(N, 3, S, S) uint8."""
    steps: Tensor
    """(N,): quality steps."""
    indices: list[bytes]
    """The grids of each picture, one after the other, compressed: most indices are zero."""

    @classmethod
    def make(
        cls,
        encoder: Encoder,
        crops: Crops,
        count: int,
        size: int,
        position: Callable[[Tensor], Tensor],
        tell: Callable[[str], None],
    ) -> "IndexedCrops":
        """Encode crops 0 to ``count - 1``.

        ``position`` maps uniform numbers (B,) in [0, 1) to positions (B,) in the quality range, 0 to 1.
        """
        pixels, steps, indices = [], [], []
        for first in range(0, count, _AT_ONCE):
            several = min(_AT_ONCE, count - first)
            x = (crops.batch(first, several, size) * 255).round().byte()
            drawn = torch.from_numpy(np.random.default_rng((crops.seed, first)).random(several))
            chosen = (position(drawn) * (QUALITY_STEPS - 1)).round().int().tolist()
            coded = encode_pictures(encoder, x, chosen)
            pixels.append(x)
            steps += [one.header.quality for one in coded]
            for one in coded:
                content = b"".join(grid.read().tobytes() for grid in one.grids)
                indices.append(zlib.compress(content, 1))
            if first % (20 * _AT_ONCE) == 0:
                tell(f"{first + several} of {count} crops encoded")
        return cls(torch.cat(pixels), torch.tensor(steps), indices)

    @classmethod
    def load(cls, path: Path) -> "IndexedCrops":
        """Read a file of :meth:`save`."""
        with safe_open(path, "pt") as file:
            pixels, steps, ends, data = (file.get_tensor(name) for name in ("pixels", "steps", "ends", "indices"))
        content = data.numpy().tobytes()
        starts = [0, *ends.tolist()]
        return cls(pixels, steps, [content[a:b] for a, b in zip(starts, starts[1:], strict=False)])

    def save(self, path: Path) -> None:
        """Write a file, atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        ends = torch.tensor([len(one) for one in self.indices]).cumsum(0)
        data = torch.from_numpy(np.frombuffer(b"".join(self.indices), np.uint8).copy())
        save_file({"pixels": self.pixels, "steps": self.steps, "ends": ends, "indices": data}, fresh)
        fresh.replace(path)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.indices)

    def shuffled(self, number: int, count: int, seed: int) -> Tensor:
        """Return the pictures (``count``,) of batch ``number``: all in turn, shuffled anew each time."""
        turn, place = divmod(number, len(self) // count)
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed * 1_000_003 + turn))
        return order[place * count : (place + 1) * count]

    def batch(self, numbers: Tensor, config: ModelConfig, device: torch.device) -> tuple[Tensor, Grids, Tensor]:
        """Return pictures (B, 3, S, S) in [0, 1], their indices and their quality (B,) among the knots."""
        x = self.pixels[numbers].to(device).float() / 255
        shapes = config.grid_shapes(*x.shape[2:])
        sizes = [level.groups * rows * columns for level, (rows, columns) in zip(config.levels, shapes, strict=True)]
        flat = [np.frombuffer(zlib.decompress(self.indices[int(number)]), np.int32) for number in numbers]
        parts = torch.from_numpy(np.stack(flat)).to(device).long().split(sizes, 1)
        levels = zip(parts, config.levels, shapes, strict=True)
        grids = Grids(tuple(part.unflatten(1, (level.groups, *shape)) for part, level, shape in levels))
        return x, grids, config.knot_position(1) * self.steps[numbers].to(device).float()
