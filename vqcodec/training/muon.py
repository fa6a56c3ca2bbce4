"""Muon: gradient steps of orthogonalised momentum (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

``torch.optim.Muon`` always computes in bfloat16, one matrix at a time: on a processor without bfloat16 it took 4.2 s of
a step of ``vqc-1``, all else 2.5 s in float32.  Here matrices of one size are orthogonalised together, in float32.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = 3.4445, -4.775, 2.0315
_ROUNDS = 5
_MOMENTUM = 0.95


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return float32 matrices (n, rows, columns) with the same singular vectors and singular values of about 1.

    Five rounds of a Newton-Schulz iteration of fifth order, which takes all but the smallest ones to 0.7 to 1.2.  The
    rounds work on the Gram matrix ``x x^T`` and collect their product, which takes less than half the time where
    matrices are wide.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    gram = x @ x.mT
    product = one = torch.eye(gram.shape[1], device=x.device).expand_as(gram)
    for _ in range(_ROUNDS):
        step = torch.baddbmm(a * one + b * gram, gram, gram, alpha=c)
        product = step @ product
        gram = step @ gram @ step
    result: Tensor = product @ x
    return result.mT if tall else result


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum for kernels (outputs, inputs, ...), each taken as a matrix of ``outputs`` rows.

    Steps are as large as Adam's with the same learning rate (Liu et al. 2025, arXiv:2502.16982, equation 4).
    """

    def __init__(self, kernels: Iterable[nn.Parameter], lr: float = 1e-3):
        super().__init__(kernels, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take one step for every kernel that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            by_size = defaultdict(list)
            for kernel in group["params"]:
                if kernel.grad is not None:
                    by_size[kernel.flatten(1).shape].append(kernel)
            for (rows, columns), kernels in by_size.items():
                updates = orthogonalize(torch.stack([self._momentum(kernel) for kernel in kernels]))
                rate = group["lr"] * 0.2 * max(rows, columns) ** 0.5
                for kernel, update in zip(kernels, updates, strict=True):
                    kernel.sub_(update.view_as(kernel), alpha=rate)

    def _momentum(self, kernel: Tensor) -> Tensor:
        """Return the kernel's gradient with momentum, as a matrix."""
        assert kernel.grad is not None
        gradient = kernel.grad.flatten(1)
        state = self.state[kernel]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer: Tensor = state["momentum_buffer"].lerp_(gradient, 1 - _MOMENTUM)
        return gradient.lerp(buffer, _MOMENTUM)
