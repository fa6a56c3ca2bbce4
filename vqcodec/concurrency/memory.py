"""Return freed memory to the operating system.

The networks allocate and free blocks of many megabytes for every window of a large picture.  glibc keeps freed blocks
and fragments them, so that without trimming the memory of a process grows with the size of the picture.
"""

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc
        return None


def trim_heap() -> None:
    """Return free heap memory to the operating system; do nothing without glibc.  Takes about 1 ms."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)
