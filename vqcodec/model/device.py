"""Find a torch device by name."""

import torch

from vqcodec.errors import DeviceUnavailable


def find_device(name: str) -> torch.device:
    """Return the device called ``auto`` (cuda if present), ``cpu`` or ``cuda[:N]``.

    Raises :class:`DeviceUnavailable` for other names, and for devices that are not present.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("only cpu and cuda are supported")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise DeviceUnavailable(f"device {name!r}: {str(error).splitlines()[0]}") from error
    return device
