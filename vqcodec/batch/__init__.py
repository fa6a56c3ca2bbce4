"""Encode and decode folders on this machine: a folder of pictures to a folder tree of .vqc files, and back.

The names below are the public interface.  They load on first use, so that the command line can import the light
modules of this package without torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqcodec.batch.folders import FolderOptions, decode_folder, encode_folder
    from vqcodec.batch.tasks import FileResult, Weights

_HOME = {
    "FileResult": "vqcodec.batch.tasks",
    "FolderOptions": "vqcodec.batch.folders",
    "Weights": "vqcodec.batch.tasks",
    "decode_folder": "vqcodec.batch.folders",
    "encode_folder": "vqcodec.batch.folders",
}

__all__ = ["FileResult", "FolderOptions", "Weights", "decode_folder", "encode_folder"]

if not TYPE_CHECKING:  # hidden from type checkers, for which every attribute would exist otherwise

    def __getattr__(name):
        """Import a public name from its module on first use."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
