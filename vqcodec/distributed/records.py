"""Turns and results as rows of Arrow tables, which is how they travel between machines."""

import pyarrow as pa

from vqcodec import errors
from vqcodec.batch.tasks import FileResult
from vqcodec.errors import VqcError, cause
from vqcodec.images.modes import Remark

_ERROR = pa.struct([("kind", pa.string()), ("text", pa.string())])
_REMARK = pa.struct([("text", pa.string()), ("loses", pa.bool_())])

TURN = pa.schema([("keys", pa.list_(pa.string())), ("errors", pa.list_(_ERROR))])
"""One row is a turn: what a worker is given at a time.  A picture that must not be tried has its error already."""

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
"""One row is what became of one picture; ``data`` is its stream, on the way to a table."""
_TOLD = [name for name in RESULT.names if name not in ("key", "data")]

Item = tuple[str, Exception | None]
"""A key, and what is wrong with it already."""


def turn_to_table(items: list[Item]) -> pa.Table:
    """A table of one :data:`TURN`."""
    keys = [key for key, _ in items]
    return pa.table({"keys": [keys], "errors": [[_pack(error) for _, error in items]]}, TURN)


def table_to_turns(table: pa.Table) -> list[list[Item]]:
    """Inverse of :func:`turn_to_table`; of a collection without pictures Ray makes a table without rows."""
    return [
        [(key, _unpack(error)) for key, error in zip(row["keys"], row["errors"], strict=True)]
        for row in table.to_pylist()
    ]


def result_to_table(key: str, result: FileResult, data: bytes | None) -> pa.Table:
    """A table of one :data:`RESULT`."""
    packed = {"error": _pack(result.error), "remarks": [vars(remark) for remark in result.remarks]}
    return pa.Table.from_pylist([{"key": key, **vars(result), **packed, "data": data}], RESULT)


def table_to_results(table: pa.Table) -> list[FileResult]:
    """The results of a table of :data:`RESULT`, less their keys and data."""
    return [
        FileResult(
            error=_unpack(record.pop("error")),
            remarks=tuple(Remark(**remark) for remark in record.pop("remarks")),
            **record,
        )
        for record in (table.select(_TOLD).to_pylist() if len(table) else ())
    ]


def _pack(error: Exception | None) -> dict[str, str] | None:
    return None if error is None else {"kind": type(error).__name__, "text": cause(error)}


def _unpack(packed: dict[str, str] | None) -> Exception | None:
    """The same error; one that is not ours becomes a plain :class:`VqcError` that says the same."""
    if packed is None:
        return None
    kind = getattr(errors, packed["kind"], VqcError)
    error: Exception = kind(packed["text"])
    return error
