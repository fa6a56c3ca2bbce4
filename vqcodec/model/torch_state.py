"""The transforms' own surroundings: what callers have set of torch around a call does not reach them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def isolated_torch_state() -> Iterator[None]:
    """Inside, and inside functions that it decorates, no autocast, no inference mode and no gradients are left over.

    All three belong to the calling thread.  Inference mode ends because tensors that are made in it, weights for
    example, can never have gradients, which the encoder's refinement asks for.  Switches of the whole process (thread
    counts, oneDNN, TF32 on GPUs) are the caller's: they may move pixels by one level, and the encoder's choice.
    """
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


_CPU_KNOWS_BFLOAT16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
"""Where bfloat16 is emulated it is slower, not faster."""


def half(device: torch.device) -> torch.autocast:
    """A context in which networks compute in bfloat16, if the device does so faster."""
    enabled = device.type == "cuda" or _CPU_KNOWS_BFLOAT16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
