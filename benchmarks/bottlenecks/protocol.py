"""What a bottleneck, a pair of transforms and a member of the family are.

Every member minimises, per picture ``x`` with reconstruction ``y``,

    ``|x - y|^2 / (2 sigma^2) + auxiliary``

in nats, with one ``sigma`` for all members.  For a VAE this is the negative ELBO under a Gaussian decoder of variance
``sigma^2``; for a codec it is the Lagrangian of rate and distortion with ``lambda = 1 / (2 sigma^2 ln 2)`` per bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

NATS_PER_BIT = math.log(2)


@dataclass(frozen=True)
class Shape:
    """Sizes that all members share on a data set."""

    channels: int
    """Channels of a picture."""
    side: int
    """Height and width of a picture in pixels."""
    stride: int
    """Pixels per grid position of the latents along each axis, a power of two, at least 4."""
    width: int
    """Channels of the transforms."""
    groups: int
    """Codebooks of a product quantizer."""
    dim: int
    """Dimensions of a codeword."""
    size: int
    """Codewords of a codebook."""
    sigma: float
    """Standard deviation of the decoder's noise; samples are in [0, 1]."""
    batch: int
    """Pictures per training step."""

    @property
    def latents(self) -> int:
        """Latent channels ``D``."""
        return self.groups * self.dim

    @property
    def grid(self) -> int:
        """Height and width of the latents' grid."""
        return self.side // self.stride

    @property
    def values(self) -> int:
        """Samples of a picture."""
        return self.channels * self.side**2

    @property
    def fixed_bits(self) -> float:
        """Bits of a picture's indices at ``log2 K`` bits each."""
        return self.grid**2 * self.groups * math.log2(self.size)


@dataclass(frozen=True)
class Coded:
    """Output of a bottleneck."""

    quantized: Tensor
    """(B, D, H, W): what the decoder gets."""
    bits: Tensor | None
    """(B,): rate or KL in bits per picture; None where there is no code."""
    auxiliary: Tensor
    """Scalar: loss beside the distortion, nats per picture."""
    indices: Tensor | None = None
    """(B, G, H, W): codewords' indices of a discrete code."""
    statistics: dict[str, float] = field(default_factory=dict)
    """Numbers of interest, by name."""


class Bottleneck(nn.Module):
    """Base class: ``z`` -> :class:`Coded`.  In ``eval`` mode a bottleneck codes as it would in use."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape

    @property
    def inputs(self) -> int:
        """Channels that the encoder must produce."""
        return self.shape.latents

    def code(self, z: Tensor, progress: float) -> Coded:
        """Code ``z`` (B, inputs, H, W); ``progress``, 0 to 1, is the finished fraction of the training."""
        raise NotImplementedError

    def learn(self, step: int) -> None:
        """Update what is not learned by gradients, after the optimizer's step number ``step``, from 0."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Draw latents (count, D, H, W) from the member's own prior; None if it has none."""
        return None


class Decoder(nn.Module):
    """Base class: latents (B, D, H, W) -> pictures (B, C, S, S), centred at 0."""

    last: nn.Conv2d | nn.Linear
    """Last layer, whose gradients weigh an adversarial loss."""


class Transforms(Protocol):
    """Builds an encoder and a decoder, given the shape and the channels that the encoder must produce."""

    def __call__(self, shape: Shape, inputs: int) -> tuple[nn.Module, Decoder]:
        """Return the encoder (B, C, S, S) -> (B, inputs, H, W) and the decoder (B, D, H, W) -> (B, C, S, S)."""


@dataclass(frozen=True)
class Corruption:
    """A corrupted input, and where the reconstruction counts."""

    pictures: Tensor
    """(B, C, S, S): what the encoder sees."""
    weight: Tensor
    """Broadcasts to (B, C, S, S): weight of each sample's squared error, with mean 1."""


Corrupt = Callable[[Tensor, torch.Generator], Corruption]
"""Corrupts pictures (B, C, S, S) in [0, 1]."""
Penalty = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Loss in nats per picture from the encoder's output ``z`` and its input ``x``, both with gradients."""


@dataclass(frozen=True)
class Member:
    """A member of the family: where it comes from, and in what it differs from the plain autoencoder."""

    name: str
    group: str
    """The kind of its code, or where else it differs."""
    paper: str
    idea: str
    """One line for the report."""
    bottleneck: Callable[[Shape], Bottleneck]
    transforms: Transforms
    corrupt: Corrupt | None = None
    penalty: Penalty | None = None
    adversarial: bool = False
    """Train against a patch discriminator as well."""
    rotated: bool = False
    """Train on rotated digits, whatever the other members get."""
    setting: str = ""
    """Difference from other runs of the same member; empty for the usual one."""

    @property
    def run(self) -> str:
        """Name of the run: the member and its setting."""
        return f"{self.name} {self.setting}".strip()


class Autoencoder(nn.Module):
    """Encoder, bottleneck and decoder of a member."""

    def __init__(self, member: Member, shape: Shape):
        super().__init__()
        self.shape = shape
        state = torch.get_rng_state()
        self.bottleneck = member.bottleneck(shape)
        torch.set_rng_state(state)  # transforms start alike, whatever the bottleneck drew
        self.encoder: nn.Module
        self.decoder: Decoder
        self.encoder, self.decoder = member.transforms(shape, self.bottleneck.inputs)

    def encode(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, S, S) in [0, 1] to the bottleneck's input (B, inputs, H, W)."""
        z: Tensor = self.encoder(x - 0.5)
        return z

    def decode(self, latents: Tensor) -> Tensor:
        """Map latents (B, D, H, W) to pictures (B, C, S, S), about in [0, 1]."""
        y: Tensor = self.decoder(latents)
        return y + 0.5

    def forward(self, x: Tensor, progress: float = 1.0) -> tuple[Tensor, Coded]:
        """Return the reconstruction (B, C, S, S) of ``x`` (B, C, S, S), and its code."""
        coded = self.bottleneck.code(self.encode(x), progress)
        return self.decode(coded.quantized), coded
