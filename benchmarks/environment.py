"""What a measurement ran on, for the record: machine and versions, no paths and no names of people."""

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

_PACKAGES = ("vqcodec", "torch", "numpy", "pillow", "scikit-image", "pytorch-msssim", "bjontegaard", "imagecodecs")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, str | int]:
    """Date, machine and versions."""
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
    """The model's name where Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
