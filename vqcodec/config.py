"""Model configuration as frozen data: levels, codebooks, widths, quality range.  Imports no torch.

The networks are built from it.  A weights file stores it as JSON (:func:`to_json`, :func:`from_json`).
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from functools import cached_property

from vqcodec.errors import InvalidQuality

MAX_LEVELS = 4
"""The format has section kinds for no more."""
MAX_STRIDE = 1024
MAX_WIDTH = 4096
"""Bound of the numbers of channels, codebooks and codewords."""
MAX_DEPTH = 64
"""Bound of the numbers of blocks and attention heads."""

MAX_CLASSES = 4096
"""Bound of the number of classes of a prior."""
MAX_SLICES = 16
"""Bound of the number of slices of a level."""
MAX_SHELL = 64
"""Codewords of a shell, where the lattice allows."""
MAX_OUTER_BITS = 10
"""Outer points have coordinates up to 1023 cells: more than pixels can excite."""
MAX_SHELL_DIM = 8
"""Most dimensions of a codebook with shells."""
_NEAREST = {1: 2, 2: 6, 4: 24, 8: 240}
"""Points nearest to the origin in Z, A2, D4 and E8 (Conway & Sloane, table 1.2)."""

QUALITY_STEPS = 256
"""Quality steps of the format: the header stores one byte."""


LIFELIKE_FADE = 0.5, 0.6
"""Positions in the quality range between which the lifelike picture fades to the faithful one."""


def _check_bounds(config: object, most: int, *names: str, least: int = 1) -> None:
    """Raise ``ValueError`` unless the named fields are integers in range; weights files may be hostile."""
    for name in names:
        value = getattr(config, name)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{name} must be an integer from {least} to {most}, not {value!r}")


@dataclass(frozen=True)
class SliceConfig:
    """``groups`` codebooks of ``size`` codewords in ``dim`` dimensions, coded in parallel."""

    groups: int
    dim: int
    size: int
    rank: int = 24
    """Coefficients per codebook from which the logits of its codewords are computed."""

    def __post_init__(self) -> None:
        _check_bounds(self, MAX_WIDTH, "groups", "dim", "rank")
        _check_bounds(self, MAX_WIDTH, "size", least=2)

    @property
    def channels(self) -> int:
        """Latent channels of this slice."""
        return self.groups * self.dim

    def embedding_width(self, by_shells: bool) -> int:
        """Return the channels of an embedded index: coordinates (in 1-D at two scales) and magnitude.

        With shells, indices in more than two dimensions are mostly zero, and only the magnitude tells their neighbours
        something.
        """
        if by_shells and self.dim > 2:
            return 1
        return 3 if self.dim == 1 else self.dim + 1

    @cached_property
    def shells(self) -> tuple[int, ...]:
        """Number of codewords in each shell: codewords are ordered by norm, and shell 0 is the zero codeword alone.

        Each shell holds about as many codewords as all nearer ones but zero, and at most :data:`MAX_SHELL` or as many
        as the lattice has at its least norm.
        """
        nearest = _NEAREST.get(self.dim, 2 * self.dim)
        sizes, left = [1], self.size - 1
        while left:
            count = nearest if len(sizes) == 1 else min(sum(sizes) - 1, max(MAX_SHELL, nearest))
            sizes.append(left if left < count * 3 // 2 else count)
            left -= sizes[-1]
        return tuple(sizes)

    @cached_property
    def widest_shell(self) -> int:
        """Number of codewords in the largest shell."""
        return max(self.shells)

    def check_shells(self) -> None:
        """Raise ``ValueError`` if the codebooks cannot have shells."""
        if self.dim > MAX_SHELL_DIM:
            raise ValueError(f"codebooks with shells have at most {MAX_SHELL_DIM} dimensions, not {self.dim}")
        if self.size < 3 or not self.outer_bits:
            raise ValueError(
                f"codebooks with shells have at least 3 codewords and leave room for outer points, unlike "
                f"{self.size} codewords in {self.dim} dimensions"
            )

    @property
    def precision(self) -> int:
        """Bits of the largest coordinate of an outer point, so that a point fits into 31 bits."""
        return min(MAX_OUTER_BITS, 28 // self.dim - 1)

    @cached_property
    def outer_bits(self) -> tuple[int, ...]:
        """Bit length of the largest coordinate in each outer shell: the points of Z^d that codewords do not reach.

        The ball of ``size`` unit cells holds the codewords; outer shells start where a cube leaves it.
        """
        unit_ball = math.pi ** (self.dim / 2) / math.gamma(self.dim / 2 + 1)
        reach = (self.size / unit_ball) ** (1 / self.dim)
        least = max(1, int(reach / math.sqrt(self.dim)).bit_length())
        return tuple(range(least, MAX_OUTER_BITS + 1))

    @property
    def shell_count(self) -> int:
        """Number of shells, outer ones included."""
        return len(self.shells) + len(self.outer_bits)


@dataclass(frozen=True)
class PriorConfig:
    """Widths of one level's PixelCNN."""

    channels: int = 128
    """Trunk channels."""
    hidden: int = 128
    """Hidden channels of each slice's head."""
    attention_heads: int = 0
    """0: no attention."""

    def __post_init__(self) -> None:
        _check_bounds(self, MAX_WIDTH, "channels", "hidden")
        _check_bounds(self, MAX_DEPTH, "attention_heads", least=0)


@dataclass(frozen=True)
class LevelConfig:
    """One level: a grid of indices, its codebooks and its networks."""

    stride: int
    """Pixels per grid position along each axis, a power of two."""
    channels: int
    """Channels of the level's convolutions."""
    slices: tuple[SliceConfig, ...]
    predicted: int = 0
    """Leading latent channels that the next coarser level predicts linearly."""
    analysis_blocks: int = 1
    synthesis_blocks: int = 1
    prior: PriorConfig = PriorConfig()

    def __post_init__(self) -> None:
        _check_bounds(self, MAX_STRIDE, "stride", least=4)
        if self.stride & (self.stride - 1):
            raise ValueError(f"stride must be a power of two, not {self.stride}")
        _check_bounds(self, MAX_WIDTH, "channels")
        _check_bounds(self, MAX_DEPTH, "analysis_blocks", "synthesis_blocks", least=0)
        if not 1 <= len(self.slices) <= MAX_SLICES:
            raise ValueError(f"a level must have 1 to {MAX_SLICES} slices, not {len(self.slices)}")
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
    """A hierarchy of levels, coarse to fine, each with half the stride of the one before it.

    The training loss is ``lambda * 255^2 * MSE + bpp``.  Lambda rises geometrically from ``lambda_min`` (quality 0) to
    ``lambda_max`` (quality 100); networks hold learned vectors at ``knots`` points of that range and interpolate
    linearly between them, so that quality is continuous.
    """

    name: str
    levels: tuple[LevelConfig, ...]
    pixel_channels: int = 64
    """Channels of the networks at half the finest stride."""
    pixel_blocks: int = 2
    """Residual blocks there."""
    lambda_min: float = 0.0006
    lambda_max: float = 2.07
    knots: int = 11
    entropy_constrained: bool = True
    """Choose codewords by distance and bits, and code them by shells; if false, choose the nearest one and code it with
    one symbol, as in the VQ-VAE papers."""
    classes: tuple[str, ...] = ()
    """Names of the classes that samples can be asked for; the prior has a vector for each."""

    def __post_init__(self) -> None:
        strides = [level.stride for level in self.levels]
        if not 1 <= len(strides) <= MAX_LEVELS:
            raise ValueError(f"a model must have 1 to {MAX_LEVELS} levels, not {len(strides)}")
        if any(a != 2 * b for a, b in zip(strides, strides[1:], strict=False)):
            raise ValueError(f"each stride must be half the one before it, not {strides}")
        _check_bounds(self, MAX_WIDTH, "pixel_channels")
        _check_bounds(self, MAX_DEPTH, "pixel_blocks", least=0)
        _check_bounds(self, QUALITY_STEPS, "knots", least=2)
        if self.entropy_constrained:
            for part in (s for level in self.levels for s in level.slices):
                part.check_shells()
        if len(self.classes) > MAX_CLASSES or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must be at most {MAX_CLASSES} different names")
        if not all(isinstance(name, str) and name for name in self.classes):
            raise ValueError("names of classes must be text, and not empty")
        if not 0 < self.lambda_min < self.lambda_max < math.inf:
            raise ValueError(
                f"lambda_min {self.lambda_min} must be positive and less than lambda_max {self.lambda_max}"
            )

    @property
    def finest(self) -> LevelConfig:
        """The finest level."""
        return self.levels[-1]

    @property
    def stride(self) -> int:
        """The coarsest stride; pictures are padded to multiples of it."""
        return self.levels[0].stride

    def lambda_at(self, position: float) -> float:
        """Return lambda at ``position`` in ``[0, 1]`` of the quality range."""
        value: float = self.lambda_min * (self.lambda_max / self.lambda_min) ** position
        return value

    def knot_position(self, step: float) -> float:
        """Convert a quality step ``0 .. QUALITY_STEPS - 1`` to a position ``0 .. knots - 1`` among the knots."""
        return step / (QUALITY_STEPS - 1) * (self.knots - 1)

    def gain_at(self, position: float) -> float:
        """Return the gain, in cells per unit of latents, that makes unit cells optimal at high rate.

        A cell of unit volume has squared error 1/12 per dimension, with a derivative of ``2 ln 2 / 12`` per bit
        (:data:`BIT_PRICE`); setting that equal to lambda's trade-off gives the gain.
        """
        return math.sqrt(BIT_PRICE * self.lambda_at(position) * 255**2 / 3)

    def grid_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return ``(rows, columns)`` of each level's grid for a picture of ``height`` x ``width`` pixels."""
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        return [(rows << i, columns << i) for i in range(len(self.levels))]


BIT_PRICE = 2 * math.log(2) / 12
"""Squared error, in unit cells, equivalent to one bit at high rate."""
LEAST_OUTER_COST = 6 * BIT_PRICE
"""Outer points are tried only where the best codeword costs more, error and bits together."""


def to_json(config: ModelConfig) -> str:
    """Return the configuration as JSON, for weights files and checkpoints."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def from_json(text: str) -> ModelConfig:
    """Read the JSON of :func:`to_json`.  Raises ``ValueError``, ``TypeError`` or ``LookupError`` on other text."""
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
    return ModelConfig(**{**fields, "levels": levels, "classes": tuple(fields.get("classes", ()))})


def _paper(name: str, strides: tuple[int, ...]) -> ModelConfig:
    """Return a (hierarchical) VQ-VAE as in the papers: 512 codewords in 64 dimensions per level."""
    levels = tuple(
        LevelConfig(stride, 128, (SliceConfig(1, 64, 512),), predicted=0 if i == 0 else 16)
        for i, stride in enumerate(strides)
    )
    return ModelConfig(name, levels, entropy_constrained=False)


PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        # Dimensions and sizes follow the standard deviation of latents in unit cells at lambda 0.18 in photographs: one
        # dimension above 3 cells, two from 0.8 to 3, four below.  The finest level codes all 192 dimensions of a block.
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
                    (
                        SliceConfig(8, 2, 256),
                        SliceConfig(8, 2, 192),
                        SliceConfig(16, 2, 112),
                        SliceConfig(8, 4, 96),
                        SliceConfig(24, 4, 49, rank=8),
                    ),
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
        # Small enough to learn the 1,797 digits of scikit-learn, enlarged to 32x32, in minutes: docs/GENERATION.md.
        ModelConfig(
            "digits",
            tuple(
                LevelConfig(
                    stride,
                    32,
                    (SliceConfig(1, 8, 64), SliceConfig(1, 8, 64)),
                    predicted=predicted,
                    prior=PriorConfig(channels=64, hidden=64),
                )
                for stride, predicted in ((8, 0), (4, 8))
            ),
            pixel_channels=16,
            pixel_blocks=1,
            lambda_min=0.002,
            lambda_max=0.01,
            knots=2,
            entropy_constrained=False,
        ),
    )
}


def quality_step(quality: float) -> int:
    """Return the quality step that a header stores for ``quality`` 0 to 100.  Raises :class:`InvalidQuality`."""
    try:
        known = 0 <= quality <= 100
    except TypeError:
        known = False
    if not known:
        raise InvalidQuality(f"quality must be a number from 0 to 100, not {quality!s}")
    return round(quality * (QUALITY_STEPS - 1) / 100)


def lifelike_share(step: int) -> float:
    """Return the share of the second synthesis in a wholly lifelike picture, at a header's quality step."""
    full, none = LIFELIKE_FADE
    return min(1.0, max(0.0, (none - step / (QUALITY_STEPS - 1)) / (none - full)))


def quality_of(step: int) -> float:
    """Return the quality, rounded to one decimal, of a header's quality step."""
    return round(step * 100 / (QUALITY_STEPS - 1), 1)
