"""Find the pictures of a collection, in chunks."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from vqcodec.distributed.records import Item
from vqcodec.distributed.storage import Storage
from vqcodec.errors import OutputExists, PassedOver, UnreadableFile, VqcError


def stream_key(key: str) -> str:
    """Return the key of a picture's stream: ``sub/photo.png`` -> ``sub/photo.vqc``."""
    return str(PurePosixPath(key).with_suffix(".vqc"))


def find_chunks(
    source: Storage, suffixes: frozenset[str], size: int, *, unique_outputs: bool, passed_over: bool = False
) -> Iterator[list[Item]]:
    """Yield all pictures in and below a folder, in the order of ``os.walk``, in chunks.

    Only the names of one folder are held at a time.  A folder that cannot be listed completely is an item with its
    error.

    Args:
        source: the folder.
        suffixes: lower-case suffixes of pictures; other files are ignored.
        size: largest number of pictures in a chunk.
        unique_outputs: give an error to all but the first of the pictures of a folder that have the same stream key.
        passed_over: yield the other files, too, with :class:`PassedOver` as their error.
    """
    items = _find(source, suffixes, unique_outputs, passed_over)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def _find(source: Storage, suffixes: frozenset[str], unique_outputs: bool, passed_over: bool) -> Iterator[Item]:
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            found = source.list(folder)
        except VqcError as error:
            yield folder, error
            continue
        if found.unnamed:
            yield folder, UnreadableFile(f"{found.unnamed} file names in this folder are not UTF-8")
        waiting += reversed(found.folders)
        pictures = [key for key in found.files if PurePosixPath(key).suffix.lower() in suffixes]
        if passed_over:
            known = set(pictures)
            yield from ((key, PassedOver("no suffix of a picture format")) for key in found.files if key not in known)
        yield from _refuse_clashes(pictures) if unique_outputs else ((key, None) for key in pictures)


def _refuse_clashes(keys: Iterable[str]) -> Iterator[Item]:
    taken: dict[str, str] = {}
    for key in keys:
        first = taken.setdefault(stream_key(key), key)
        yield key, None if first == key else OutputExists(f"already the output of {first}")
