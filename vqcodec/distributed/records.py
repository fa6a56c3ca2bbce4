"""Convert chunks and results to Arrow tables, which travel between machines, and back."""

import pyarrow as pa

from vqcodec import errors
from vqcodec.batch.tasks import FileResult
from vqcodec.errors import VqcError, cause
from vqcodec.images.modes import Remark

_ERROR = pa.struct([("kind", pa.string()), ("text", pa.string())])
_REMARK = pa.struct([("text", pa.string()), ("loses", pa.bool_())])

CHUNK = pa.schema([("keys", pa.list_(pa.string())), ("errors", pa.list_(_ERROR))])
"""One row is a chunk of pictures for a worker.  A picture that must not be encoded has an error."""

RESULT = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("output", pa.string()),
        ("error", _ERROR),
        ("skipped", pa.bool_()),
        ("remarks", pa.list_(_REMARK)),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("bytes", pa.int64()),
        ("quality", pa.float64()),
        ("psnr", pa.float64()),
        ("seconds", pa.float64()),
        ("data", pa.binary()),
    ]
)
"""One row is the result of one picture; ``data`` is its stream, if it goes to a table."""
_FILE_RESULT_COLUMNS = [name for name in RESULT.names if name not in ("key", "data")]

Item = tuple[str, Exception | None]
"""The key of a picture or folder, and its error if it must not be encoded."""


def chunk_to_table(items: list[Item]) -> pa.Table:
    """Return a table with one row of :data:`CHUNK`."""
    keys = [key for key, _ in items]
    return pa.table({"keys": [keys], "errors": [[_pack(error) for _, error in items]]}, CHUNK)


def table_to_chunks(table: pa.Table) -> list[list[Item]]:
    """Invert :func:`chunk_to_table`.  For a collection without pictures Ray passes a table without rows."""
    return [
        [(key, _unpack(error)) for key, error in zip(row["keys"], row["errors"], strict=True)]
        for row in table.to_pylist()
    ]


def result_to_table(key: str, result: FileResult, data: bytes | None) -> pa.Table:
    """Return a table with one row of :data:`RESULT`."""
    packed = {"error": _pack(result.error), "remarks": [vars(remark) for remark in result.remarks]}
    return pa.Table.from_pylist([{"key": key, **vars(result), **packed, "data": data}], RESULT)


def table_to_results(table: pa.Table) -> list[FileResult]:
    """Return the results in a table of :data:`RESULT`, without their keys and data."""
    return [
        FileResult(
            error=_unpack(record.pop("error")),
            remarks=tuple(Remark(**remark) for remark in record.pop("remarks")),
            **record,
        )
        for record in (table.select(_FILE_RESULT_COLUMNS).to_pylist() if len(table) else ())
    ]


def _pack(error: Exception | None) -> dict[str, str] | None:
    return None if error is None else {"kind": type(error).__name__, "text": cause(error)}


def _unpack(packed: dict[str, str] | None) -> Exception | None:
    """Return an equal error; one that is not in :mod:`vqcodec.errors` becomes a :class:`VqcError` with its message."""
    if packed is None:
        return None
    kind = getattr(errors, packed["kind"], VqcError)
    error: Exception = kind(packed["text"])
    return error
