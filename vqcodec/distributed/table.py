"""A Parquet table of streams, in parts that are written whole and never changed: key, bytes, bpp, error.

Failures have parts of their own, which the next run deletes, because it tries those pictures again.  So every key
stands in the table once.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from vqcodec.distributed.storage import Storage
from vqcodec.errors import MissingFile, UnreadableFile

SCHEMA = pa.schema([("key", pa.string()), ("bytes", pa.binary()), ("bpp", pa.float64()), ("error", pa.string())])
"""``key`` is the picture's path below the source; ``bytes`` and ``bpp`` are null where ``error`` is not."""
_STREAMS, _FAILURES = "part-", "failed-"
_SUFFIX = ".parquet"

Digests = npt.NDArray[np.bytes_]
"""Sorted, 16 bytes each: ten million keys take 160 MB, which all workers of a machine share."""


@dataclass(frozen=True)
class Table:
    """The parts in one folder."""

    storage: Storage

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows of :data:`SCHEMA`.  The same keys make the same part: a second attempt replaces the first."""
        rows = list(rows)
        for prefix, failed in ((_STREAMS, False), (_FAILURES, True)):
            some = [row for row in rows if (row["error"] is not None) == failed]
            if some:
                name = hashlib.blake2b("\0".join(row["key"] for row in some).encode(), digest_size=16).hexdigest()
                sink = pa.BufferOutputStream()
                parquet.write_table(pa.Table.from_pylist(some, SCHEMA), sink)
                self.storage.write(f"{prefix}{name}{_SUFFIX}", sink.getvalue().to_pybytes())

    def forget_failures(self) -> None:
        """Delete the failures of the run before."""
        for part in self._parts(_FAILURES):
            self.storage.delete(part)

    def finished(self) -> Digests:
        """The digests of all keys that have a stream."""
        found = [np.empty(0, "S16")]
        for part in self._parts(_STREAMS):
            try:
                with self.storage.open(part) as file:  # of which only the column of keys is read
                    keys = parquet.read_table(file, columns=["key"])["key"]
            except (pa.ArrowException, OSError) as error:
                raise UnreadableFile(f"{part} is no part of a table of streams") from error
            found.append(digests(keys.to_pylist()))
        return np.sort(np.concatenate(found))

    def _parts(self, prefix: str) -> list[str]:
        try:
            keys = self.storage.list("").files
        except MissingFile:
            return []
        return [key for key in keys if key.startswith(prefix) and key.endswith(_SUFFIX)]


def digests(keys: Iterable[str]) -> Digests:
    """A digest for each key."""
    return np.array([hashlib.blake2b(key.encode(), digest_size=16).digest() for key in keys], "S16")


def is_in(keys: list[str], finished: Digests) -> list[bool]:
    """Whether each key's digest is among the sorted ones."""
    wanted = digests(keys)
    places = np.searchsorted(finished, wanted)
    inside = places < len(finished)
    inside[inside] = finished[places[inside]] == wanted[inside]
    return inside.tolist()
