"""A Parquet table of streams with the columns key, bytes, bpp and error.

The table consists of files ("parts") that are written atomically and never changed.  Failures are in separate parts,
which the next run deletes because it tries those pictures again, so that every key is in the table once.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from vqcodec.distributed.storage import Storage
from vqcodec.errors import MissingFile, UnreadableFile

SCHEMA = pa.schema([("key", pa.string()), ("bytes", pa.binary()), ("bpp", pa.float64()), ("error", pa.string())])
"""``key`` is the picture's path below the source; ``bytes`` and ``bpp`` are null if ``error`` is not."""


class Row(TypedDict):
    """A row of :data:`SCHEMA`."""

    key: str
    bytes: bytes | None
    bpp: float | None
    error: str | None


_STREAMS, _FAILURES = "part-", "failed-"
_SUFFIX = ".parquet"

Digests = npt.NDArray[np.bytes_]
"""Sorted digests of keys, 16 bytes each.  All workers of a machine share them; ten million take 160 MB."""


@dataclass(frozen=True)
class Table:
    """A table in one folder."""

    storage: Storage

    def write(self, rows: Iterable[Row]) -> None:
        """Add rows of :data:`SCHEMA`.  The keys determine the name of the part: a second attempt replaces the first."""
        rows = list(rows)
        for prefix, failed in ((_STREAMS, False), (_FAILURES, True)):
            selected = [row for row in rows if (row["error"] is not None) == failed]
            if selected:
                name = hashlib.blake2b("\0".join(row["key"] for row in selected).encode(), digest_size=16).hexdigest()
                sink = pa.BufferOutputStream()
                parquet.write_table(pa.Table.from_pylist(selected, SCHEMA), sink)
                self.storage.write(f"{prefix}{name}{_SUFFIX}", sink.getvalue().to_pybytes())

    def delete_failures(self) -> None:
        """Delete the failures of the previous run."""
        for part in self._parts(_FAILURES):
            self.storage.delete(part)

    def finished(self) -> Digests:
        """Return the digests of all keys that have a stream.  Raises :class:`UnreadableFile` for a damaged part."""
        found = [np.empty(0, "S16")]
        for part in self._parts(_STREAMS):
            try:
                with self.storage.open(part) as file:
                    keys = parquet.read_table(file, columns=["key"])["key"]
            except (pa.ArrowException, OSError) as error:
                raise UnreadableFile(f"{part} is not a part of a table of streams") from error
            found.append(digests(keys.to_pylist()))
        return np.sort(np.concatenate(found))

    def _parts(self, prefix: str) -> list[str]:
        try:
            keys = self.storage.list("").files
        except MissingFile:
            return []
        return [key for key in keys if key.startswith(prefix) and key.endswith(_SUFFIX)]


def digests(keys: Iterable[str]) -> Digests:
    """Return the digest of each key, in order."""
    return np.array([hashlib.blake2b(key.encode(), digest_size=16).digest() for key in keys], "S16")


def contains(finished: Digests, keys: list[str]) -> list[bool]:
    """Return for each key whether its digest is among the sorted digests."""
    wanted = digests(keys)
    places = np.searchsorted(finished, wanted)
    inside = places < len(finished)
    inside[inside] = finished[places[inside]] == wanted[inside]
    found: list[bool] = inside.tolist()
    return found
