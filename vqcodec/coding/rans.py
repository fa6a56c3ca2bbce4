"""Symbols and their frequencies <-> bytes: asymmetric numeral systems (rANS), by the ``constriction`` package.

Duda 2013 (arXiv:1311.2540); Bamler 2022 (arXiv:2201.01741).  The only module that imports constriction.  A coder is a
stack: the symbol pushed last is popped first, so an encoder pushes everything in reverse.

constriction's fast categorical model turns a row of K frequencies into cumulative counts out of 2^24 by
``floor(cumulative * ((2^24 - K) / total)) + k``, in IEEE double precision, the same on every machine.  It does not
detect damage; the container's checksums do.
"""

import constriction
import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import CorruptStream, MalformedStream

# Not perfect=True: 200 times slower, and its optimisation is not a fixed function of the input.
_FAMILY = constriction.stream.model.Categorical(perfect=False)
_UNIFORM = constriction.stream.model.Uniform()

WORD_BYTES = 4


class AnsEncoder:
    """Encodes symbols as 32-bit words."""

    def __init__(self) -> None:
        self._coder = constriction.stream.stack.AnsCoder()

    def push(self, symbols: NDArray[np.integer], frequencies: NDArray[np.float64]) -> None:
        """Push ``symbols`` (N,) with frequencies (N, K), so that they are popped in order."""
        rows = np.ascontiguousarray(frequencies)
        self._coder.encode_reverse(np.ascontiguousarray(symbols, dtype=np.int32), _FAMILY, rows)

    def push_uniform(self, symbols: NDArray[np.integer], sizes: NDArray[np.integer]) -> None:
        """Push ``symbols`` (N,), uniform below ``sizes`` (N,), so that they are popped in order."""
        self._coder.encode_reverse(
            np.ascontiguousarray(symbols, np.int32), _UNIFORM, np.ascontiguousarray(sizes, np.int32)
        )

    def to_bytes(self, least: int = 0) -> bytes:
        """Return all pushed symbols as little-endian 32-bit words, padded with zeros to ``least`` words."""
        return payload(self._coder.get_compressed(), least)


def payload_words(data: bytes, least: int) -> NDArray[np.uint32]:
    """Return the words of a payload; ``least`` is that of :meth:`AnsEncoder.to_bytes`.

    Raises :class:`MalformedStream` for fewer than ``least`` words, :class:`CorruptStream` for other lengths and endings
    that no encoder writes.
    """
    if len(data) % WORD_BYTES:
        raise CorruptStream(f"{len(data)} bytes of entropy-coded data: not a multiple of {WORD_BYTES}")
    words = np.frombuffer(data, "<u4").astype(np.uint32)
    if len(words) < least:
        raise MalformedStream(f"{len(data)} bytes of entropy-coded data: at least {WORD_BYTES * least} are needed")
    if len(words) == least:
        words = np.trim_zeros(words, "b")
    if len(words) and words[-1] == 0:
        raise CorruptStream("entropy-coded data ends with a word of zeros")
    return words


def payload(words: NDArray[np.uint32], least: int) -> bytes:
    """Return words as a payload: little-endian, padded with zeros to ``least`` words."""
    return words.astype("<u4").tobytes().ljust(WORD_BYTES * least, b"\0")


class AnsDecoder:
    """Decodes the symbols of an :class:`AnsEncoder`."""

    def __init__(self, data: bytes, least: int = 0):
        """Start at the end of ``data``; for ``least`` and errors see :func:`payload_words`."""
        self._coder = constriction.stream.stack.AnsCoder(payload_words(data, least))

    def pop(self, frequencies: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the next symbols (N,), given their frequencies (N, K)."""
        symbols: NDArray[np.int32] = self._coder.decode(_FAMILY, np.ascontiguousarray(frequencies))
        return symbols

    def pop_uniform(self, sizes: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the next symbols (N,), uniform below ``sizes`` (N,)."""
        symbols: NDArray[np.int32] = self._coder.decode(_UNIFORM, np.ascontiguousarray(sizes, np.int32))
        return symbols

    def finish(self) -> None:
        """Raise :class:`CorruptStream` unless the data ends with the last popped symbol."""
        if not self._coder.is_empty():
            raise CorruptStream("entropy-coded data does not end after the last symbol")
