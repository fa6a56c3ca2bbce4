"""Symbols + frequencies <-> bytes: asymmetric numeral systems, by the ``constriction`` package.

Duda 2013 (arXiv:1311.2540); Bamler 2022 (arXiv:2201.01741).  The only module that knows constriction.  A coder is a
stack: what is pushed last is popped first, so an encoder pushes everything in reverse.

constriction's fast categorical model turns a row of K frequencies into cumulative counts out of 2^24 by
``floor(cumulative * ((2^24 - K) / total)) + k``, in IEEE double precision throughout, which is the same everywhere.
It never reports damage, so checksums are the container's business.
"""

import constriction
import numpy as np
from numpy.typing import NDArray

from vqcodec.errors import CorruptStream, MalformedStream

# Not the "perfect" model: that one is 200 times slower and its optimisation is not a fixed function of the input.
_FAMILY = constriction.stream.model.Categorical(perfect=False)

WORD_BYTES = 4


class AnsEncoder:
    """Packs symbols."""

    def __init__(self) -> None:
        self._coder = constriction.stream.stack.AnsCoder()

    def push(self, symbols: NDArray[np.integer], frequencies: NDArray[np.float64]) -> None:
        """Push ``symbols`` (N,) with frequencies (N, K) so that they are popped in order."""
        rows = np.ascontiguousarray(frequencies)
        self._coder.encode_reverse(np.ascontiguousarray(symbols, dtype=np.int32), _FAMILY, rows)

    def to_bytes(self, least: int = 0) -> bytes:
        """Everything pushed so far, as little-endian 32-bit words; zeros fill them up to ``least`` words."""
        return self._coder.get_compressed().astype("<u4").tobytes().ljust(WORD_BYTES * least, b"\0")


class AnsDecoder:
    """Unpacks what a :class:`AnsEncoder` packed."""

    def __init__(self, data: bytes, least: int = 0):
        """``least`` is what the :class:`AnsEncoder` was told."""
        if len(data) % WORD_BYTES:
            raise CorruptStream(f"entropy-coded data of {len(data)} bytes is not a whole number of words")
        words = np.frombuffer(data, "<u4").astype(np.uint32)
        if len(words) < least:
            raise MalformedStream(f"entropy-coded data of {len(data)} bytes, at least {WORD_BYTES * least} are needed")
        if len(words) == least:
            words = np.trim_zeros(words, "b")
        if len(words) and words[-1] == 0:
            raise CorruptStream("entropy-coded data ends in an empty word")
        self._coder = constriction.stream.stack.AnsCoder(words)

    def pop(self, frequencies: NDArray[np.float64]) -> NDArray[np.int32]:
        """The next N symbols, given their frequencies (N, K)."""
        return self._coder.decode(_FAMILY, np.ascontiguousarray(frequencies))

    def finish(self) -> None:
        """Raise :class:`CorruptStream` unless exactly everything was popped."""
        if not self._coder.is_empty():
            raise CorruptStream("entropy-coded data does not end where its symbols end")
