"""The second synthesis in a weights file: optional arrays, which change neither the model nor its hash.

A model's hash is the SHA-256 of its weights file without them, so that a file with and a file without a second
synthesis decode the same streams.  docs/FORMAT.md, "Weights file", defines it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from vqcodec.errors import InvalidWeights
from vqcodec.weights.array_file import Array, ArrayFile

PREFIX = "lifelike."
"""Name prefix of the arrays."""
_FACTS = "lifelike"
"""Key of the metadata: facts about the training, and the arrays' own SHA-256, as JSON."""
_TYPE, _BYTES = "F16", {"F32": 4, "I32": 4, "F16": 2, "I16": 2, "I8": 1}


def _split(file: ArrayFile) -> tuple[ArrayFile, ArrayFile]:
    """Return the model alone, and the arrays and the facts of its second synthesis alone."""
    model = [array for array in file.arrays if not array.name.startswith(PREFIX)]
    lifelike = [array for array in file.arrays if array.name.startswith(PREFIX)]
    facts = {key: value for key, value in file.metadata.items() if key == _FACTS}
    return ArrayFile({k: v for k, v in file.metadata.items() if k != _FACTS}, model), ArrayFile(facts, lifelike)


def model_sha256(content: bytes) -> str:
    """Return the hash, in hexadecimal, of the model in a weights file: that of the file without a second synthesis.

    Raises ``ValueError``, ``TypeError`` or ``LookupError`` if the content is no safetensors file.
    """
    model, lifelike = _split(ArrayFile.parse(content))
    if not lifelike.arrays:
        return hashlib.sha256(content).hexdigest()
    return _digest(model.pieces())


def has_lifelike(content: bytes) -> bool:
    """Return whether a weights file has a second synthesis.  Raises what :func:`model_sha256` raises."""
    return any(array.name.startswith(PREFIX) for array in ArrayFile.parse(content).arrays)


def add_lifelike(content: bytes, state: Mapping[str, Tensor], facts: Mapping[str, object]) -> bytes:
    """Return a weights file with a second synthesis, in float16, in place of the one that it may have.

    Raises :class:`InvalidWeights` if the file was not written by the safetensors library, so that the model's hash
    would change.
    """
    model, _ = _split(ArrayFile.parse(content))
    arrays = []
    for name, tensor in state.items():
        half = tensor.detach().cpu().to(torch.float16).contiguous()
        arrays.append(Array(PREFIX + name, _TYPE, list(half.shape), memoryview(half.numpy().tobytes())))
    about = {**facts, "sha256": _digest(array.data for array in arrays)}
    metadata = {**model.metadata, _FACTS: json.dumps(about, sort_keys=True)}
    aligned = sorted(model.arrays + arrays, key=lambda array: -_BYTES[array.type])
    changed = b"".join(ArrayFile(metadata, aligned).pieces())
    if model_sha256(changed) != model_sha256(content):
        raise InvalidWeights("a second synthesis would change the model's hash: write the file with 'train export'")
    return changed


def read_lifelike(content: bytes) -> dict[str, Tensor]:
    """Return the arrays of the second synthesis in float32, without their prefix; none if the file has none.

    Raises :class:`InvalidWeights` if they are damaged, ``ValueError``, ``TypeError`` or ``LookupError`` if the file is.
    """
    _, lifelike = _split(ArrayFile.parse(content))
    if not lifelike.arrays:
        return {}
    facts = json.loads(lifelike.metadata[_FACTS])
    if _digest(array.data for array in lifelike.arrays) != facts["sha256"]:
        raise InvalidWeights("the second synthesis is damaged: its hash differs")
    state = {}
    for array in lifelike.arrays:
        if array.type != _TYPE:
            raise InvalidWeights(f"unexpected tensor {array.name!r} of type {array.type}")
        half = torch.frombuffer(bytearray(array.data), dtype=torch.float16).reshape(array.shape)
        if not torch.isfinite(half).all():
            raise InvalidWeights(f"tensor {array.name!r} holds numbers that are not finite")
        state[array.name.removeprefix(PREFIX)] = half.float()
    return state


def _digest(pieces: Iterable[bytes | memoryview]) -> str:
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()
