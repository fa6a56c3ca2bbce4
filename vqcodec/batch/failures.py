"""Write failures to a JSON Lines file in the output folder.  Each run replaces the file of the previous run."""

import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from vqcodec.batch.tasks import FileResult
from vqcodec.errors import cause

FILE_NAME = "_failures.jsonl"
"""Programs that read a folder as a table skip files whose names begin with an underscore."""


def record_failures(results: Iterable[FileResult], file: BinaryIO) -> Iterator[FileResult]:
    """Yield the results unchanged and write one line of JSON for each that has an error."""
    for result in results:
        if result.error is not None:
            names = {"source": result.source, "output": result.output}
            line = {**names, "error": type(result.error).__name__, "message": cause(result.error)}
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
        yield result
