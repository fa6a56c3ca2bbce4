"""Integer layers of the prior, in their training form: integers held in float32, straight-through gradients.

Activations are integers ``0 .. 255`` (signed where stated) in units of ``1 / UNIT``; weights are integers of 7 bits and
a sign, times a power of two per output.  Every sum stays below 2^24, so float32 holds it exactly in any order of
addition.  The forward pass rounds, the backward pass ignores the rounding.  ``coding/integer_prior.py`` is the form
that the codec runs; ``prior_arrays.py`` converts one into the other.

After Balle, Johnston & Minnen, "Integer networks for data compression with latent-variable models", ICLR 2019.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqcodec.arithmetic import EXACT, LIMIT, MAX_EXPONENT, POINT, UNIT, WEIGHT_LIMIT, Tap

_rounding: ContextVar[bool] = ContextVar("rounding", default=True)


@contextmanager
def unrounded() -> Iterator[None]:
    """Disable rounding within the context, to measure what the integer arithmetic costs."""
    token = _rounding.set(False)
    try:
        yield
    finally:
        _rounding.reset(token)


def floor_to(x: Tensor, unit: int) -> Tensor:
    """Floor to multiples of ``1 / unit``, with the gradient of the identity."""
    if not _rounding.get():
        return x - 0.5 / unit  # the mean error of flooring
    return x + (torch.floor(x * unit) / unit - x).detach()


def round_to(x: Tensor, unit: int) -> Tensor:
    """Round to multiples of ``1 / unit``, with the gradient of the identity."""
    if not _rounding.get():
        return x
    return x + (torch.round(x * unit) / unit - x).detach()


def activate(x: Tensor) -> Tensor:
    """Apply a clipped ReLU: clamp to ``0 .. LIMIT / UNIT``."""
    return x.clamp(0, LIMIT / UNIT)


def clip(x: Tensor, limit: int, unit: int) -> Tensor:
    """Clamp to ``-limit / unit .. limit / unit``."""
    return x.clamp(-limit / unit, limit / unit)


@torch.no_grad()
def exponents(weight: Tensor, bias: Tensor | None, input_limit: int, weight_limit: int = WEIGHT_LIMIT) -> Tensor:
    """Return the largest exponents (outputs,) of two that keep scaled weights in range and sums exact.

    ``weight`` (outputs, inputs) maps integers of magnitude up to ``input_limit`` to integers; ``bias`` (outputs,) is
    in units of the output.
    """
    largest = weight.abs().amax(1).clamp_min(1e-12)
    # Leave room for rounding, which raises a weight or the bias by at most half a step.
    reach = weight.abs().sum(1) * input_limit + (0 if bias is None else bias.abs())
    room = EXACT - 1 - input_limit * (weight.shape[1] + 1)
    scale = torch.minimum(weight_limit / largest, room / reach.clamp_min(1e-12))
    return scale.log2().floor().clamp(-MAX_EXPONENT, MAX_EXPONENT)


class ExactLinear(nn.Module):
    """Convolution over a set of taps, ``floor(W x + b)``; with a single tap, a 1x1 convolution.

    ``weight`` (outputs, taps, inputs) is in real units.  Inputs are integers over ``unit_in`` of magnitude at most
    ``limit_in``; outputs are integers over ``unit_out``, not clipped.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        taps: Sequence[Tap] = POINT,
        *,
        limit_in: int = LIMIT,
        unit_in: int = UNIT,
        unit_out: int = UNIT,
    ):
        super().__init__()
        self.taps, self.limit_in, self.unit_in, self.unit_out = tuple(taps), limit_in, unit_in, unit_out
        self.weight = nn.Parameter(torch.randn(outputs, len(self.taps), inputs) * (len(self.taps) * inputs) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def quantized(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return integer weights (outputs, taps, inputs), exponents (outputs,) and biases (outputs,), all as float.

        On integers the layer is ``floor((weights . x + biases) * 2^-exponents)``.
        """
        ratio = self.unit_out / self.unit_in
        weight = self.weight.flatten(1) * ratio
        bias = self.bias * self.unit_out
        exponent = exponents(weight, bias, self.limit_in)
        scale = torch.exp2(exponent)
        integers = round_to(weight * scale[:, None], 1)
        biases = round_to(bias * scale, 1)
        return integers.reshape_as(self.weight), exponent, biases

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W), with zero padding."""
        integers, exponent, biases = self.quantized()
        scale = torch.exp2(-exponent)
        weight = integers * (scale * self.unit_in / self.unit_out)[:, None, None]
        bias = biases * scale / self.unit_out
        if len(self.taps) == 1:
            y = F.conv2d(x, weight.transpose(1, 2)[..., None], bias)
        else:
            rows, columns = zip(*self.taps, strict=True)
            top, left = -min(rows), -min(columns)
            height, width = top + max(rows) + 1, left + max(columns) + 1
            kernel = weight.new_zeros(len(weight), weight.shape[2], height, width)
            kernel[:, :, [r + top for r in rows], [c + left for c in columns]] = weight.transpose(1, 2)
            y = F.conv2d(F.pad(x, (left, max(columns), top, max(rows))), kernel, bias)
        return floor_to(y, self.unit_out)
