"""Isolate the codec from the caller's torch state (autocast, gradients), and choose the precision of networks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def isolated_torch_state() -> Iterator[None]:
    """Disable autocast, inference mode and gradients within the context or the decorated function.

    These states belong to the calling thread.  Inference mode must be off because tensors created in it, such as
    weights, can never have gradients, which latent refinement needs.  Settings of the whole process (thread counts,
    oneDNN, TF32) are not touched: they may change pixels by one level, and the encoder's choice of indices.
    """
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


_CPU_KNOWS_BFLOAT16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def knows_bfloat16(device: torch.device) -> bool:
    """Return whether networks run faster in bfloat16; emulated, it is much slower than float32."""
    return device.type == "cuda" or _CPU_KNOWS_BFLOAT16


def half(device: torch.device, narrowest: int) -> torch.autocast:
    """Return a context that runs networks in bfloat16 if the device is faster with it.

    ``narrowest`` is the shorter edge of the smallest feature map.  On maps that are one position wide, oneDNN's
    bfloat16 convolutions sometimes return NaN, so these are computed in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=narrowest > 1 and knows_bfloat16(device))
