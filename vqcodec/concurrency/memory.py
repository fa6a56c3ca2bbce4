"""Memory that was freed -> the operating system.

Networks take and free blocks of many megabytes for every window of a large picture.  glibc keeps them for later use, in
pieces that fit ever worse, so that without this a process would grow with the picture.
"""

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def _trimmer() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, which has its own ways
        return None


def trim_heap() -> None:
    """Return what is free, where that is possible; takes about a millisecond."""
    trim = _trimmer()
    if trim is not None:
        trim(0)
