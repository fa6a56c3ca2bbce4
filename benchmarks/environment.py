"""Machine and versions of a measurement, without paths or user names."""

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

_PACKAGES = (
    *("vqcodec", "torch", "numpy", "pillow", "scikit-image", "scikit-learn"),
    *("pytorch-msssim", "bjontegaard", "imagecodecs"),
)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, str | int]:
    """Return the date, the machine and the versions of packages."""
    record: dict[str, str | int] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": _processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            record[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return record


def _processor() -> str:
    """Return the processor's model name (Linux), or Python's name of its type."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
