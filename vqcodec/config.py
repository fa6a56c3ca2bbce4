"""The shape of a model as plain frozen data: levels, codebooks, widths.  No tensors, no torch.

Everything that a weights file must say about its network is here, goes into the file as JSON
(:func:`to_json`) and comes back from it (:func:`from_json`).
"""

import dataclasses
import json
import math
from dataclasses import dataclass

from vqcodec.errors import InvalidQuality

MAX_LEVELS = 4
"""A stream has names for no more."""
MAX_STRIDE = 1024
MAX_WIDTH = 4096
"""Bound of channels, codebooks and codewords: of everything whose number is a size of arrays."""
MAX_DEPTH = 64
"""Bound of what is built one by one: slices, blocks, attention heads."""

QUALITY_STEPS = 256
"""Qualities that a stream can name: the header stores one byte."""


def _check_bounds(config: object, most: int, *names: str, least: int = 1) -> None:
    """Raise ``ValueError`` unless those fields are integers in a range: weights files may come from anywhere."""
    for name in names:
        value = getattr(config, name)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{name} is {value!r}, not an integer from {least} to {most}")


@dataclass(frozen=True)
class SliceConfig:
    """``groups`` codebooks of ``size`` codewords in ``dim`` dimensions that are coded side by side."""

    groups: int
    dim: int
    size: int

    def __post_init__(self) -> None:
        _check_bounds(self, MAX_WIDTH, "groups", "dim")
        _check_bounds(self, MAX_WIDTH, "size", least=2)

    @property
    def channels(self) -> int:
        """Latent channels that this slice quantizes."""
        return self.groups * self.dim


@dataclass(frozen=True)
class PriorConfig:
    """Widths of one level's PixelCNN."""

    channels: int = 128
    hidden: int = 128
    rank: int = 24
    attention_heads: int = 0

    def __post_init__(self) -> None:
        _check_bounds(self, MAX_WIDTH, "channels", "hidden", "rank")
        _check_bounds(self, MAX_DEPTH, "attention_heads", least=0)


@dataclass(frozen=True)
class LevelConfig:
    """One grid of indices: its stride in pixels, its codebooks and the networks around it."""

    stride: int
    channels: int
    slices: tuple[SliceConfig, ...]
    predicted: int = 0
    """Leading latent channels that the next coarser level predicts linearly."""
    analysis_blocks: int = 1
    synthesis_blocks: int = 1
    prior: PriorConfig = PriorConfig()

    def __post_init__(self) -> None:
        _check_bounds(self, MAX_STRIDE, "stride", least=4)
        if self.stride & (self.stride - 1):
            raise ValueError(f"stride {self.stride} is not a power of two")
        _check_bounds(self, MAX_WIDTH, "channels")
        _check_bounds(self, MAX_DEPTH, "analysis_blocks", "synthesis_blocks", least=0)
        if not 1 <= len(self.slices) <= MAX_DEPTH:
            raise ValueError(f"{len(self.slices)} slices, there may be 1 to {MAX_DEPTH}")
        _check_bounds(self, self.latents, "predicted", least=0)

    @property
    def latents(self) -> int:
        """Latent channels ``D`` of this level."""
        return sum(s.channels for s in self.slices)

    @property
    def groups(self) -> int:
        """Indices ``G`` at each grid position."""
        return sum(s.groups for s in self.slices)


@dataclass(frozen=True)
class ModelConfig:
    """A hierarchy of levels, coarse to fine, each at half the stride of the one before it.

    Lambdas are the price of a squared error against a bit: the training loss is
    ``lambda * 255^2 * MSE + bpp``.  They rise geometrically from ``lambda_min`` to ``lambda_max``; networks hold
    learned vectors at ``knots`` of them and interpolate between, so that quality is continuous.
    """

    name: str
    levels: tuple[LevelConfig, ...]
    pixel_channels: int = 64
    """Width of the networks at half the finest stride."""
    pixel_blocks: int = 2
    lambda_min: float = 0.0006
    lambda_max: float = 0.18
    knots: int = 8
    entropy_constrained: bool = True
    """Choose codewords by distance and bits; otherwise the nearest one (the VQ-VAE papers)."""

    def __post_init__(self) -> None:
        strides = [level.stride for level in self.levels]
        if not 1 <= len(strides) <= MAX_LEVELS:
            raise ValueError(f"{len(strides)} levels, there may be 1 to {MAX_LEVELS}")
        if any(a != 2 * b for a, b in zip(strides, strides[1:], strict=False)):
            raise ValueError(f"strides must halve from level to level, not {strides}")
        _check_bounds(self, MAX_WIDTH, "pixel_channels")
        _check_bounds(self, MAX_DEPTH, "pixel_blocks", least=0)
        _check_bounds(self, QUALITY_STEPS, "knots", least=2)
        if not 0 < self.lambda_min < self.lambda_max < math.inf:
            raise ValueError(f"lambdas from {self.lambda_min} to {self.lambda_max} are no range")

    @property
    def finest(self) -> LevelConfig:
        """The level that is nearest to the pixels."""
        return self.levels[-1]

    @property
    def stride(self) -> int:
        """Pictures are padded to multiples of this: the coarsest stride."""
        return self.levels[0].stride

    def lambda_at(self, position: float) -> float:
        """Lambda at ``position`` in ``[0, 1]`` of the quality range."""
        return self.lambda_min * (self.lambda_max / self.lambda_min) ** position

    def knot_positions(self, step: float) -> float:
        """Where the quality step ``0 .. QUALITY_STEPS - 1`` lies among the knots: ``0 .. knots - 1``."""
        return step / (QUALITY_STEPS - 1) * (self.knots - 1)

    def gain_at(self, position: float) -> float:
        """Cells per pixel unit that make unit codebook cells optimal at high rate.

        A cell of unit volume has squared error 1/12 per dimension and its derivative against the rate is
        ``2 ln 2 / 12`` per bit (:data:`BIT_PRICE`); equating that with ``lambda`` gives the gain.
        """
        return math.sqrt(BIT_PRICE * self.lambda_at(position) * 255**2 / 3)

    def grid_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """``(rows, columns)`` of each level's grid for a picture of that size."""
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        return [(rows << i, columns << i) for i in range(len(self.levels))]


BIT_PRICE = 2 * math.log(2) / 12
"""Squared error, in unit cells, that one bit is worth."""


def to_json(config: ModelConfig) -> str:
    """The configuration as JSON, for weights files and checkpoints."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def from_json(text: str) -> ModelConfig:
    """Inverse of :func:`to_json`.  Raises ``ValueError`` or ``TypeError`` on anything else."""
    fields = json.loads(text)
    levels = tuple(
        LevelConfig(
            **{
                **level,
                "slices": tuple(SliceConfig(**s) for s in level["slices"]),
                "prior": PriorConfig(**level["prior"]),
            }
        )
        for level in fields["levels"]
    )
    return ModelConfig(**{**fields, "levels": levels})


def _paper(name: str, strides: tuple[int, ...]) -> ModelConfig:
    """A (hierarchical) VQ-VAE as in the papers: one codebook of 512 codewords in 64 dimensions per level."""
    levels = tuple(
        LevelConfig(stride, 128, (SliceConfig(1, 64, 512),), predicted=0 if i == 0 else 16)
        for i, stride in enumerate(strides)
    )
    return ModelConfig(name, levels, entropy_constrained=False)


PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        # Dimensions and sizes from the standard deviation of latents in unit cells at lambda_max, so that no group is
        # overloaded: one dimension above 3 cells, two from 0.8 to 3, four below; 96 latents, the rest stays at zero.
        ModelConfig(
            "vqc-1",
            (
                LevelConfig(
                    16,
                    96,
                    (SliceConfig(4, 1, 512), SliceConfig(12, 1, 192), SliceConfig(16, 1, 96)),
                    prior=PriorConfig(channels=128, hidden=128, attention_heads=4),
                ),
                LevelConfig(
                    8,
                    128,
                    (SliceConfig(8, 2, 256), SliceConfig(8, 2, 192), SliceConfig(16, 2, 112), SliceConfig(8, 4, 96)),
                    predicted=16,
                    analysis_blocks=2,
                    synthesis_blocks=4,
                    prior=PriorConfig(channels=160, hidden=128),
                ),
            ),
        ),
        # van den Oord et al. 2017 (arXiv:1711.00937); Razavi et al. 2019 (arXiv:1906.00446).
        _paper("vqvae", (4,)),
        _paper("vqvae2", (8, 4)),
        _paper("vqvae2-3level", (16, 8, 4)),
    )
}


def quality_step(quality: float) -> int:
    """The step that a stream stores for a quality of 0 to 100.  Raises :class:`InvalidQuality`."""
    try:
        known = 0 <= quality <= 100
    except TypeError:
        known = False
    if not known:
        raise InvalidQuality(f"quality {quality!s} is not a number from 0 to 100")
    return round(quality * (QUALITY_STEPS - 1) / 100)


def quality_of(step: int) -> float:
    """The quality that a step of the header stands for, to one digit."""
    return round(step * 100 / (QUALITY_STEPS - 1), 1)
