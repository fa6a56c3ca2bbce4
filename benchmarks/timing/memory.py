"""Resident memory of this process."""

import sys
from pathlib import Path


def reset_peak() -> None:
    """Reset the kernel's peak counter (Linux only)."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def memory(entry: str) -> float:
    """Return ``VmRSS`` (current) or ``VmHWM`` (peak) in MiB; outside Linux, the process's peak for both."""
    if sys.platform == "linux":
        # Not getrusage: a process inherits its peak from its parent.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(entry):
                return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
