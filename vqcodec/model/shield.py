"""The transforms' own surroundings: what callers have set of torch around a call does not reach them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def shielded() -> Iterator[None]:
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
