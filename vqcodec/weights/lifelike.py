"""The second synthesis in a weights file: optional arrays, which change neither the model nor its hash.

A model's hash is the SHA-256 of its weights file without them, so that a file with and a file without a second
synthesis decode the same streams.  docs/FORMAT.md, "Weights file", defines it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vqcodec.errors import InvalidWeights

PREFIX = "lifelike."
"""Name prefix of the arrays."""
_FACTS = "lifelike"
"""Key of the metadata: facts about the training, and the arrays' own SHA-256, as JSON."""
_METADATA = "__metadata__"
_TYPE, _BYTES = "F16", {"F32": 4, "I32": 4, "F16": 2, "I16": 2, "I8": 1}


@dataclass(frozen=True)
class _File:
    """A safetensors file: metadata, and for each array its name, type, shape and bytes."""

    metadata: Mapping[str, str]
    arrays: list[tuple[str, str, list[int], memoryview]]

    @classmethod
    def parse(cls, content: bytes) -> "_File":
        """Read a file.  Raises ``ValueError`` or ``LookupError`` if it is none."""
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        if not isinstance(header, dict) or not isinstance(metadata := header.pop(_METADATA, {}), dict):
            raise ValueError("no header")
        data = memoryview(content)[start:]
        return cls(metadata, [(n, a["dtype"], a["shape"], data[slice(*a["data_offsets"])]) for n, a in header.items()])

    def pieces(self) -> Iterable[bytes | memoryview]:
        """Yield the bytes of the file, as the safetensors library writes it."""
        header: dict[str, Any] = {_METADATA: dict(self.metadata)}
        end = 0
        for name, kind, shape, data in self.arrays:
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + len(data)]}
            end += len(data)
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return [len(text).to_bytes(8, "little"), text, *(data for *_, data in self.arrays)]

    def split(self) -> tuple["_File", "_File"]:
        """Return the model alone, and the arrays and the facts of its second synthesis alone."""
        lifelike = [a for a in self.arrays if a[0].startswith(PREFIX)]
        model = [a for a in self.arrays if not a[0].startswith(PREFIX)]
        facts = {key: value for key, value in self.metadata.items() if key == _FACTS}
        return _File({k: v for k, v in self.metadata.items() if k != _FACTS}, model), _File(facts, lifelike)


def model_sha256(content: bytes) -> str:
    """Return the hash, in hexadecimal, of the model in a weights file: that of the file without a second synthesis.

    Raises ``ValueError``, ``TypeError`` or ``LookupError`` if the content is no safetensors file.
    """
    model, lifelike = _File.parse(content).split()
    if not lifelike.arrays:
        return hashlib.sha256(content).hexdigest()
    return _digest(model.pieces())


def has_lifelike(content: bytes) -> bool:
    """Return whether a weights file has a second synthesis.  Raises what :func:`model_sha256` raises."""
    return any(name.startswith(PREFIX) for name, *_ in _File.parse(content).arrays)


def add_lifelike(content: bytes, state: Mapping[str, Tensor], facts: Mapping[str, object]) -> bytes:
    """Return a weights file with a second synthesis, in float16, in place of the one that it may have.

    Raises :class:`InvalidWeights` if the file was not written by the safetensors library, so that the model's hash
    would change.
    """
    model, _ = _File.parse(content).split()
    arrays: list[tuple[str, str, list[int], memoryview]] = []
    for name, tensor in state.items():
        half = tensor.detach().cpu().to(torch.float16).contiguous()
        arrays.append((PREFIX + name, _TYPE, list(half.shape), memoryview(half.numpy().tobytes())))
    about = {**facts, "sha256": _digest(data for *_, data in arrays)}
    metadata = {**model.metadata, _FACTS: json.dumps(about, sort_keys=True)}
    aligned = sorted(model.arrays + arrays, key=lambda array: -_BYTES[array[1]])
    changed = b"".join(_File(metadata, aligned).pieces())
    if model_sha256(changed) != model_sha256(content):
        raise InvalidWeights("a second synthesis would change the model's hash: write the file with 'train export'")
    return changed


def read_lifelike(content: bytes) -> dict[str, Tensor]:
    """Return the arrays of the second synthesis in float32, without their prefix; none if the file has none.

    Raises :class:`InvalidWeights` if they are damaged, ``ValueError``, ``TypeError`` or ``LookupError`` if the file is.
    """
    _, lifelike = _File.parse(content).split()
    if not lifelike.arrays:
        return {}
    facts = json.loads(lifelike.metadata[_FACTS])
    if _digest(data for *_, data in lifelike.arrays) != facts["sha256"]:
        raise InvalidWeights("the second synthesis is damaged: its hash differs")
    state = {}
    for name, kind, shape, data in lifelike.arrays:
        if kind != _TYPE:
            raise InvalidWeights(f"unexpected tensor {name!r} of type {kind}")
        half = torch.frombuffer(bytearray(data), dtype=torch.float16).reshape(shape)
        if not torch.isfinite(half).all():
            raise InvalidWeights(f"tensor {name!r} holds numbers that are not finite")
        state[name.removeprefix(PREFIX)] = half.float()
    return state


def _digest(pieces: Iterable[bytes | memoryview]) -> str:
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()
