"""The transforms that all members share: strided convolutions with residual blocks, of the package's layers."""

from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.bottlenecks.protocol import Decoder, Shape
from vqcodec.model.layers import ResidualBlock, conv, upsample

_KNOTS = 2
"""The package's blocks depend on a quality, which is constant here."""


class _Block(nn.Module):
    """A residual block at constant quality."""

    def __init__(self, channels: int):
        super().__init__()
        self.block = ResidualBlock(channels, _KNOTS)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        y: Tensor = self.block(x, x.new_zeros(len(x)))
        return y


class Encoder(nn.Module):
    """Pixels -> latents: blocks of 2x2 pixels, then a strided convolution and a residual block per halving."""

    def __init__(self, shape: Shape, inputs: int):
        super().__init__()
        layers: list[nn.Module] = [conv(4 * shape.channels, shape.width), _Block(shape.width)]
        for _ in range(shape.stride.bit_length() - 2):
            layers += [conv(shape.width, shape.width, stride=2), _Block(shape.width)]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Conv2d(shape.width, inputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, S, S) to (B, inputs, H, W)."""
        z: Tensor = self.out(F.leaky_relu(self.layers(F.pixel_unshuffle(x, 2)), 0.1))
        return z


class ConvDecoder(Decoder):
    """Latents -> pixels, the encoder's mirror image."""

    def __init__(self, shape: Shape):
        super().__init__()
        layers: list[nn.Module] = [conv(shape.latents, shape.width), _Block(shape.width)]
        for _ in range(shape.stride.bit_length() - 2):
            layers += [upsample(shape.width, shape.width), _Block(shape.width)]
        self.layers = nn.Sequential(*layers)
        self.last = conv(shape.width, 4 * shape.channels)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (B, D, H, W) to pictures (B, C, S, S)."""
        return F.pixel_shuffle(self.last(F.leaky_relu(self.layers(latents), 0.1)), 2)


def convolutions(shape: Shape, inputs: int) -> tuple[nn.Module, Decoder]:
    """Return encoder and decoder."""
    decoder = ConvDecoder(shape)  # first: it has the same layers for all members, and so the same random numbers
    return Encoder(shape, inputs), decoder
