"""A decoder that draws through an affine matrix: rotation and the like get latents of their own.

The idea is that of spatial-VAE (Bepler et al. 2019) and affine-VAE (Bidart & Wong 2019): a picture is a function of
coordinates, and the first latents move the coordinates before the function sees them.  Without that matrix the same
function draws the upright picture.  The shared convolutions encode; the decoder is a network of coordinates.
"""

import math

import torch
from torch import Tensor, nn

from benchmarks.bottlenecks.convolutions import Encoder
from benchmarks.bottlenecks.protocol import Decoder, Shape

POSE = 6
"""Latents of the affine matrix: rotation, log scale, stretch, shear, and two of the shift."""
DEVIATIONS = (0.6, 0.1, 0.1, 0.1, 0.1, 0.1)
"""Size of each at one standard deviation of the prior: radians, logarithms, half widths of a picture."""
FREQUENCIES = 2
HIDDEN = 128


def affine_matrix(pose: Tensor) -> tuple[Tensor, Tensor]:
    """Return invertible matrices (B, 2, 2) and shifts (B, 2) of ``pose`` (B, 6), standard normal under the prior.

    The matrix is the exponential of a rotation's generator plus symmetric ones.
    """
    turn, scale, stretch, shear, *shift = (pose * pose.new_tensor(DEVIATIONS)).unbind(1)
    rows = [torch.stack([scale + stretch, shear - turn], 1), torch.stack([shear + turn, scale - stretch], 1)]
    return torch.linalg.matrix_exp(torch.stack(rows, 1)), torch.stack(shift, 1)


class CoordinateDecoder(Decoder):
    """Draw a picture as a function of coordinates, moved by the first :data:`POSE` latents."""

    coordinates: Tensor

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        axis = (torch.arange(shape.side) + 0.5) / shape.side * 2 - 1
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("coordinates", torch.stack([x, y], 2).flatten(0, 1))
        self.content = nn.Linear(shape.latents - POSE, HIDDEN)
        self.place = nn.Linear(2 + 4 * FREQUENCIES, HIDDEN)
        self.layers = nn.Sequential(nn.LeakyReLU(0.1), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.1))
        self.last = nn.Linear(HIDDEN, shape.channels)

    def draw(self, content: Tensor, points: Tensor) -> Tensor:
        """Return the picture (B, C, S, S) of ``content`` (B, D - 6) at ``points`` (B, S * S, 2)."""
        waves = [points * (math.pi * 2**k) for k in range(FREQUENCIES)]
        features = torch.cat([points, *(f(w) for w in waves for f in (torch.sin, torch.cos))], 2)
        h = self.layers(self.place(features) + self.content(content)[:, None])
        side = self.shape.side
        samples: Tensor = self.last(h)
        return samples.transpose(1, 2).reshape(len(points), self.shape.channels, side, side)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (B, D, 1, 1) to pictures (B, C, S, S)."""
        flat = latents.flatten(1)
        matrix, shift = affine_matrix(flat[:, :POSE])
        return self.draw(flat[:, POSE:], self.coordinates @ matrix + shift[:, None])

    def upright(self, latents: Tensor) -> Tensor:
        """Map latents (B, D, 1, 1) to pictures (B, C, S, S), the affine matrix left out."""
        flat = latents.flatten(1)
        return self.draw(flat[:, POSE:], self.coordinates.expand(len(flat), -1, -1))


class _UprightDecoder(CoordinateDecoder):
    """The same without the matrix."""

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (B, D, 1, 1) to pictures (B, C, S, S), their pose ignored."""
        return self.upright(latents)


def through_affine_matrix(shape: Shape, inputs: int) -> tuple[nn.Module, Decoder]:
    """Return encoder and decoder.  The grid has one position, for a pose belongs to the whole picture."""
    return Encoder(shape, inputs), CoordinateDecoder(shape)


def without_matrix(shape: Shape, inputs: int) -> tuple[nn.Module, Decoder]:
    """Return encoder and decoder of the same sizes whose decoder ignores the pose, for comparison."""
    return Encoder(shape, inputs), _UprightDecoder(shape)


def axis_angles(pictures: Tensor) -> Tensor:
    """Return the angle (N,) of the principal axis of ``pictures`` (N, 1, S, S), in radians within half a turn.

    The axis is that of the second moments of brightness.
    """
    side = pictures.shape[-1]
    mass = pictures.clamp_min(0)[:, 0]
    mass = mass / mass.sum((1, 2), keepdim=True).clamp_min(1e-6)
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    x = axis - (mass * axis).sum((1, 2))[:, None, None]
    y = axis[:, None] - (mass * axis[:, None]).sum((1, 2))[:, None, None]
    xx, yy, xy = ((mass * m).sum((1, 2)) for m in (x * x, y * y, x * y))
    return 0.5 * torch.atan2(2 * xy, xx - yy)


def angle_spread(angles: Tensor) -> float:
    """Return the circular standard deviation of axes' ``angles`` (N, T) over ``T``, mean over ``N``, in degrees.

    Axes half a turn apart are the same, so that angles are doubled first (Mardia & Jupp 2000, sections 2.3 and 13.2).
    """
    length = torch.polar(torch.ones_like(angles), 2 * angles).mean(1).abs().clamp(1e-6, 1 - 1e-6)
    return float(torch.rad2deg(0.5 * torch.sqrt(-2 * torch.log(length))).mean())
