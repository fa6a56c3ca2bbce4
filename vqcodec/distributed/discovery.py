"""What there is to do: the pictures of a collection, some at a time."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from vqcodec.distributed.records import Item
from vqcodec.distributed.storage import Storage
from vqcodec.errors import OutputExists, UnreadableFile, VqcError


def stream_key(key: str) -> str:
    """``sub/photo.png`` -> ``sub/photo.vqc``"""
    return str(PurePosixPath(key).with_suffix(".vqc"))


def find_turns(source: Storage, suffixes: frozenset[str], size: int, *, unique_outputs: bool) -> Iterator[list[Item]]:
    """All pictures in and below a folder, in the order of ``os.walk``, in turns of at most ``size``.

    The names of one folder are held at a time.  A folder that cannot be listed, or not all of it, is an
    item with its error.

    Args:
        source: the folder.
        suffixes: in lower case; other files are passed over.
        size: pictures of a turn.
        unique_outputs: refuse all but the first of those pictures of a folder that would become the same stream.
    """
    items = _find(source, suffixes, unique_outputs)
    while turn := list(itertools.islice(items, size)):
        yield turn


def _find(source: Storage, suffixes: frozenset[str], unique_outputs: bool) -> Iterator[Item]:
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            found = source.list(folder)
        except VqcError as error:
            yield folder, error
            continue
        if found.unnamed:
            yield folder, UnreadableFile(f"{found.unnamed} of the names in this folder are not UTF-8")
        waiting += reversed(found.folders)
        pictures = [key for key in found.files if PurePosixPath(key).suffix.lower() in suffixes]
        yield from _refuse_clashes(pictures) if unique_outputs else ((key, None) for key in pictures)


def _refuse_clashes(keys: Iterable[str]) -> Iterator[Item]:
    taken: dict[str, str] = {}
    for key in keys:
        first = taken.setdefault(stream_key(key), key)
        yield key, None if first == key else OutputExists(f"is the output of {first} already")
