"""A safetensors file in parts: its metadata and its arrays.

The safetensors library reads metadata from paths only, and writes them in another order each time.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from safetensors.torch import save
from torch import Tensor

_METADATA = "__metadata__"


@dataclass(frozen=True)
class Array:
    """One array of a file."""

    name: str
    type: str
    """In the spelling of safetensors: ``F16``, ``I32`` ..."""
    shape: list[int]
    data: memoryview


@dataclass(frozen=True)
class ArrayFile:
    """The content of a safetensors file, arrays in the order of the file."""

    metadata: Mapping[str, str]
    arrays: list[Array]

    @classmethod
    def parse(cls, content: bytes) -> "ArrayFile":
        """Read a file.  Raises ``ValueError``, ``TypeError`` or ``LookupError`` if it is none."""
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        if not isinstance(header, dict) or not isinstance(metadata := header.pop(_METADATA, {}), dict):
            raise ValueError("no header")
        data = memoryview(content)[start:]
        return cls(
            metadata, [Array(n, a["dtype"], a["shape"], data[slice(*a["data_offsets"])]) for n, a in header.items()]
        )

    def pieces(self) -> Iterable[bytes | memoryview]:
        """Yield the bytes of the file, as the safetensors library writes it."""
        header: dict[str, Any] = {_METADATA: dict(self.metadata)}
        end = 0
        for array in self.arrays:
            header[array.name] = {
                "dtype": array.type,
                "shape": array.shape,
                "data_offsets": [end, end + len(array.data)],
            }
            end += len(array.data)
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return [len(text).to_bytes(8, "little"), text, *(array.data for array in self.arrays)]


def array_file(tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file: the same bytes for the same tensors and metadata."""
    return b"".join(ArrayFile(dict(sorted(metadata.items())), ArrayFile.parse(save(tensors)).arrays).pieces())
