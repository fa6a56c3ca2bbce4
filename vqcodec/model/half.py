"""Where half the precision is enough: in the encoder, whose networks only say what would be good to choose.

What is chosen reaches the decoder in whole numbers, so encoders may compute as their machines do best.  The linear
part of the transforms, which carries most of the signal, stays in float32 by itself.
"""

import torch

_CPU_KNOWS_BFLOAT16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
"""Where bfloat16 is emulated it is slower, not faster."""


def half(device: torch.device) -> torch.autocast:
    """A context in which networks compute in bfloat16, if the device does so faster."""
    enabled = device.type == "cuda" or _CPU_KNOWS_BFLOAT16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
