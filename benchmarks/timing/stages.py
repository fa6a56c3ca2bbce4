"""Share of vqcodec's time in each stage: transforms, prior, rANS.

A profile function records every call and return in Python.  Time is assigned to the innermost function of vqcodec on
the stack, including what it calls in other packages, and the folder of that function's module gives the stage.
"""

import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType

import vqcodec

TRANSFORMS, PRIOR, RANS = "transforms", "prior", "rANS"
OTHER = "other"
"""Reading and writing the container, padding, colour conversion."""
STAGES = (TRANSFORMS, PRIOR, RANS, OTHER)

_PACKAGE = Path(vqcodec.__file__).parent
_PREFIXES = (("model/", TRANSFORMS), ("coding/rans.py", RANS), ("coding/", PRIOR), ("", OTHER))
"""Prefix of a module's path inside the package, and its stage; the first match counts."""


def stage_shares(work: Callable[[], object]) -> dict[str, float]:
    """Run ``work`` in this thread; return the share of its time in each of the :data:`STAGES` (their sum is 1)."""
    seconds = dict.fromkeys(STAGES, 0.0)
    stack = [OTHER]
    last = time.perf_counter()

    def account(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal last
        seconds[stack[-1]] += time.perf_counter() - last
        if event == "call":
            stack.append(_stage(frame.f_code.co_filename) or stack[-1])
        elif event == "return" and len(stack) > 1:
            stack.pop()
        last = time.perf_counter()

    sys.setprofile(account)
    try:
        work()
    finally:
        sys.setprofile(None)
    total = sum(seconds.values())
    return {stage: value / total for stage, value in seconds.items()}


@cache
def _stage(filename: str) -> str | None:
    """Return the stage of a source file; None outside vqcodec."""
    path = Path(filename)
    if not path.is_relative_to(_PACKAGE):
        return None
    inside = path.relative_to(_PACKAGE).as_posix()
    return next(stage for prefix, stage in _PREFIXES if inside.startswith(prefix))
