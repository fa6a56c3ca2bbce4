"""A folder on a disk or in an object store: what is in it, and files read and written whole.

It knows nothing of pictures and of Ray.  Keys are paths below the folder with ``/`` between the parts, everywhere.
"""

import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, BinaryIO

from pyarrow import fs

from vqcodec import files
from vqcodec.errors import MissingFile, UnreadableFile, UnwritableFile

_WHOLE_OR_ABSENT = frozenset({"s3", "gcs", "abfs"})
"""Filesystems where a file appears when it is complete, where renaming is copying, and folders need not be made."""


@dataclass(frozen=True)
class Listing:
    """What is in one folder: keys, sorted, of its files and of the folders in it."""

    files: list[str]
    folders: list[str]
    unnamed: int
    """Of both: Arrow cannot say names that are not UTF-8."""


@dataclass(frozen=True)
class Storage:
    """A folder by its URI, or by an absolute path on this machine.

    Only that name travels between machines: each opens the filesystem with the credentials that it has itself.
    """

    uri: str

    @classmethod
    def at(cls, place: files.AnyPath) -> "Storage":
        """The folder that a user's URI or path means; it need not exist.

        Raises:
            UnreadableFile: if there is no such kind of filesystem.
        """
        name = os.fspath(place)
        storage = cls(name if "://" in name else os.path.abspath(name))
        storage.path("")
        return storage

    def path(self, key: str) -> str:
        """What the filesystem calls a file."""
        root = _open(self.uri)[1]
        return f"{root.rstrip('/')}/{key}" if key else root

    def name(self, key: str) -> str:
        """What a user would call a file."""
        base = self.uri.partition("?")[0] if "://" in self.uri else self.uri
        return f"{base.rstrip('/')}/{key}" if key else base

    def check(self) -> None:
        """Raise :class:`MissingFile` or :class:`UnreadableFile` unless it is a folder."""
        with _named_errors(UnreadableFile):
            kind = self._filesystem.get_file_info(self.path("")).type
        if kind is not fs.FileType.Directory:
            raise (
                MissingFile("No such file or directory")
                if kind is fs.FileType.NotFound
                else UnreadableFile("Not a directory")
            )

    def list(self, folder: str) -> "Listing":
        """What is in one folder; symbolic links to folders are left out, for they may lead back."""
        found: dict[fs.FileType, list[str]] = {fs.FileType.File: [], fs.FileType.Directory: []}
        unnamed = 0
        local = isinstance(self._filesystem, fs.LocalFileSystem)
        with _named_errors(UnreadableFile):
            for entry in self._filesystem.get_file_info(fs.FileSelector(self.path(folder))):
                try:
                    key = f"{folder}/{entry.base_name}".lstrip("/")
                except UnicodeDecodeError:
                    unnamed += 1
                    continue
                linked = local and entry.type is fs.FileType.Directory and os.path.islink(entry.path)
                if entry.type in found and not linked:
                    found[entry.type].append(key)
        return Listing(sorted(found[fs.FileType.File]), sorted(found[fs.FileType.Directory]), unnamed)

    def existing(self, keys: Sequence[str]) -> set[str]:
        """Those of the files that are there; in an object store, a request for each, many at a time."""
        with _named_errors(UnreadableFile):
            found = self._filesystem.get_file_info([self.path(key) for key in keys])
        return {key for key, entry in zip(keys, found, strict=True) if entry.type is fs.FileType.File}

    def read(self, key: str) -> bytes:
        """All bytes of a file."""
        with (
            _named_errors(UnreadableFile),
            self._filesystem.open_input_stream(self.path(key), compression=None) as file,
        ):
            return bytes(file.read())

    def open(self, key: str) -> Any:
        """A file of Arrow's to read parts of; what goes wrong while reading is an ``OSError``."""
        with _named_errors(UnreadableFile):
            return self._filesystem.open_input_file(self.path(key))

    def write(self, key: str, data: bytes) -> None:
        """Write a file whole or not at all; folders are made as they are needed."""
        path = self.path(key)
        folder = path.rpartition("/")[0]
        with _named_errors(UnwritableFile):
            if isinstance(self._filesystem, fs.LocalFileSystem):
                os.makedirs(folder, exist_ok=True)
                files.write_atomically(path, data)
            elif self._filesystem.type_name in _WHOLE_OR_ABSENT:
                self._put(path, data)
            else:
                self._filesystem.create_dir(folder)
                temporary = f"{folder}/.vqcodec-{secrets.token_hex(8)}.tmp"
                self._put(temporary, data)
                self._filesystem.move(temporary, path)

    @contextmanager
    def stream(self, key: str) -> Iterator[BinaryIO]:
        """A file to write to while something goes on, from its beginning; in an object store it appears at the end."""
        path = self.path(key)
        with _named_errors(UnwritableFile):
            if self._filesystem.type_name not in _WHOLE_OR_ABSENT:
                self._filesystem.create_dir(path.rpartition("/")[0])
            file = self._filesystem.open_output_stream(path, compression=None)
        try:
            yield file
        finally:
            with _named_errors(UnwritableFile):
                file.close()

    def delete(self, key: str) -> None:
        """Delete a file."""
        with _named_errors(UnwritableFile):
            self._filesystem.delete_file(self.path(key))

    @property
    def _filesystem(self) -> Any:
        return _open(self.uri)[0]

    def _put(self, path: str, data: bytes) -> None:
        with self._filesystem.open_output_stream(path, compression=None) as file:
            file.write(data)


class LateFile(io.RawIOBase):
    """A file in a storage, read as a whole when somebody first asks for bytes: what goes wrong goes wrong there."""

    def __init__(self, storage: Storage, key: str):
        self._storage, self._key = storage, key

    @cached_property
    def _content(self) -> io.BytesIO:
        return io.BytesIO(self._storage.read(self._key))

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """As of any binary file."""
        return self._content.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any binary file."""
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        """As of any binary file."""
        return self._content.tell()


@cache
def _open(uri: str) -> tuple[Any, str]:
    """The filesystem, and the folder's path in it."""
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError, NotImplementedError) as error:
        raise UnreadableFile(_one_line(error)) from error
    return filesystem, path


@contextmanager
def _named_errors(kind: type[UnreadableFile] | type[UnwritableFile]) -> Iterator[None]:
    """What a filesystem raises becomes one of our errors, in one line."""
    try:
        yield
    except (UnreadableFile, UnwritableFile):
        raise
    except FileNotFoundError as error:
        missing = MissingFile if kind is UnreadableFile else kind
        raise missing("No such file or directory") from error
    except OSError as error:
        raise kind(error.strerror or _one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
