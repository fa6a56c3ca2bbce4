"""Record the pictures that failed in the last run as lines of JSON, in a file beside the outputs."""

import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from vqcodec.batch.tasks import FileResult
from vqcodec.errors import cause

FILE_NAME = "_failures.jsonl"
"""Programs that read a folder as a table ignore names that begin with an underscore."""


def record_failures(results: Iterable[FileResult], file: BinaryIO) -> Iterator[FileResult]:
    """Yield the results unchanged, and write a line for each that failed."""
    for result in results:
        if result.error is not None:
            names = {"source": result.source, "output": result.output}
            line = {**names, "error": type(result.error).__name__, "message": cause(result.error)}
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
        yield result
