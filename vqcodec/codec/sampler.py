"""Draw pictures from the prior: level by level, coarse to fine, then synthesis (Razavi et al. 2019, section 3.3).

The same walk over the same tiles as in ``decoder.py``; ``coding/sampling.py`` supplies the indices.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vqcodec.codec.grid import Grid
from vqcodec.codec.levels import CodedLevel, TileGroup, code_level
from vqcodec.codec.tiles import Tiling
from vqcodec.coding.grids import sample_grids
from vqcodec.coding.integer_prior import IntegerLevelPrior
from vqcodec.coding.sampling import MOST_TEMPERATURE, GridSeed
from vqcodec.coding.slice_symbols import Indices
from vqcodec.errors import InvalidSampling
from vqcodec.model.torch_state import isolated_torch_state
from vqcodec.stream.container import Header
from vqcodec.weights.registry import Model

Classify = Callable[[Tensor], Tensor]
"""Maps pictures (B, 3, H, W) in [0, 1] to logits (B, classes): a torch module, or any function."""

_DEFAULT_EDGE = 256
"""Edge of a sample of a model that does not say what it was trained on."""
_BATCH = 64
"""Pictures that are classified at once."""


class Sampler:
    """Draw indices from the priors of one model."""

    def __init__(self, model: Model):
        self._model = model

    def default_size(self) -> tuple[int, int]:
        """Return ``(width, height)`` of the crops that the model was trained on: what its prior has seen."""
        plan = self._model.facts.get("plan")
        edge = plan.get("crop") if isinstance(plan, dict) else None
        return (edge, edge) if isinstance(edge, int) and edge > 0 else (_DEFAULT_EDGE, _DEFAULT_EDGE)

    def number_of(self, label: str) -> int:
        """Return the number of a class.  Raises :class:`InvalidSampling` for one that the model does not know."""
        classes = self._model.config.classes
        if label not in classes:
            known = f"its classes are {', '.join(classes)}" if classes else "it was trained without classes"
            raise InvalidSampling(f"{self._model.id} knows no class {label!r}: {known}")
        return classes.index(label)

    def number_in(self, classify: Classify, label: str) -> int:
        """Return the number that a classifier gives to a class: by the names in its ``classes``, or as the model."""
        names = getattr(classify, "classes", self._model.config.classes)
        if label not in names:
            raise InvalidSampling(f"the classifier knows no class {label!r}")
        return list(names).index(label)

    def grids(
        self, header: Header, count: int, seed: int, temperature: float, label: str | None, top: Grid | None = None
    ) -> list[list[Grid]]:
        """Draw the indices of all levels of ``count`` pictures with the same header.

        ``top`` are the indices of the coarsest level, which are drawn, too, if None.  Picture ``i`` is the same for any
        ``count``.

        Raises :class:`InvalidSampling`.
        """
        if not 0 <= seed < 2**64:
            raise InvalidSampling(f"the seed must be from 0 to 2^64 - 1, not {seed}")
        if not 0 <= temperature <= MOST_TEMPERATURE:
            raise InvalidSampling(f"the temperature must be from 0 to {MOST_TEMPERATURE:g}, not {temperature}")
        priors = self._model.priors
        if label is not None:
            number = self.number_of(label)
            priors = tuple(prior.of_class(number) for prior in priors)
        headers = [header] * count
        grids: list[list[Grid]] = [[] for _ in headers]
        coarse: CodedLevel[None] | None = None
        for level, (prior, config) in enumerate(zip(priors, self._model.config.levels, strict=True)):
            tiling = Tiling.of_level(headers, self._model.config, level)
            tiles = range(len(tiling.tile_shapes))
            if level == 0 and top is not None:
                coarse = CodedLevel(tiling, [top] * count, tiles, [])
            else:
                coarse = code_level(
                    tiling,
                    config.groups,
                    [header.quality] * count,
                    coarse,
                    tiles,
                    partial(_seed_of_tile, seed, len(tiles) // count, level),
                    partial(_draw_tiles, prior, temperature),
                )
            for known, grid in zip(grids, coarse.grids, strict=True):
                known.append(grid)
        return grids


def _seed_of_tile(seed: int, tiles: int, level: int, number: int) -> GridSeed:
    """Return the seed of a tile, given how many ``tiles`` a picture has."""
    picture, tile = divmod(number, tiles)
    return GridSeed(seed, picture, tile, level)


def _draw_tiles(
    prior: IntegerLevelPrior, temperature: float, group: TileGroup[GridSeed]
) -> tuple[list[Indices], list[None]]:
    """Return the indices of each tile."""
    return sample_grids(prior, group.sources, group.shapes, group.coarse, group.steps, temperature), []


@isolated_torch_state()
def class_scores(images: Sequence[Image.Image], classify: Classify, number: int | None) -> list[float]:
    """Return how likely the classifier finds a class (its log-probability) in each picture, or the likeliest if None.

    Raises :class:`InvalidSampling` if it gives no logits of that class.
    """
    scores: list[float] = []
    for start in range(0, len(images), _BATCH):
        pixels = np.stack([np.asarray(image.convert("RGB")) for image in images[start : start + _BATCH]])
        logits = classify(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
        if logits.ndim != 2 or len(logits) != len(pixels) or not (number or 0) < logits.shape[1]:
            raise InvalidSampling(
                f"the classifier gives logits of shape {tuple(logits.shape)}, not ({len(pixels)}, classes)"
            )
        likely = torch.log_softmax(logits.float(), 1)
        scores += (likely.amax(1) if number is None else likely[:, number]).tolist()
    return scores
