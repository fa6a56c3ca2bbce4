"""List a folder on a disk or in an object store, and read and write its files.

A key is the path of a file below the folder, with ``/`` between the parts on every system.
"""

import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import BinaryIO

from pyarrow import NativeFile, fs

from vqcodec import files
from vqcodec.errors import MissingFile, UnreadableFile, UnwritableFile

_OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
"""Filesystems where a file appears when it is complete, renaming copies, and folders need not be created."""


@dataclass(frozen=True)
class Listing:
    """Content of one folder: the sorted keys of its files and subfolders."""

    files: list[str]
    folders: list[str]
    unnamed: int
    """Number of entries whose names are not UTF-8, which Arrow cannot represent."""


@dataclass(frozen=True)
class Storage:
    """A folder, given by its URI or by an absolute path.

    Only this name travels between machines; each opens the filesystem with its own credentials.
    """

    uri: str

    @classmethod
    def at(cls, place: files.AnyPath) -> "Storage":
        """Return the storage for a URI or path; the folder need not exist.

        Raises:
            UnreadableFile: the URI names no known filesystem.
        """
        name = os.fspath(place)
        storage = cls(name if "://" in name else os.path.abspath(name))
        storage.path("")
        return storage

    def path(self, key: str) -> str:
        """Return the path of a file in its filesystem."""
        root = _open(self.uri)[1]
        return f"{root.rstrip('/')}/{key}" if key else root

    def name(self, key: str) -> str:
        """Return the name of a file for messages: its path or URI without parameters."""
        base = self.uri.partition("?")[0] if "://" in self.uri else self.uri
        return f"{base.rstrip('/')}/{key}" if key else base

    def check(self) -> None:
        """Raise :class:`MissingFile` or :class:`UnreadableFile` unless the folder exists."""
        with _translated_errors(UnreadableFile):
            kind = self._filesystem.get_file_info(self.path("")).type
        if kind is not fs.FileType.Directory:
            raise (
                MissingFile("No such file or directory")
                if kind is fs.FileType.NotFound
                else UnreadableFile("Not a directory")
            )

    def list(self, folder: str) -> "Listing":
        """List one folder.  Symbolic links to folders are ignored, because they may form cycles."""
        found: dict[fs.FileType, list[str]] = {fs.FileType.File: [], fs.FileType.Directory: []}
        unnamed = 0
        local = isinstance(self._filesystem, fs.LocalFileSystem)
        with _translated_errors(UnreadableFile):
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
        """Return the keys of the files that exist.  An object store gets one request per key, many in parallel."""
        with _translated_errors(UnreadableFile):
            found = self._filesystem.get_file_info([self.path(key) for key in keys])
        return {key for key, entry in zip(keys, found, strict=True) if entry.type is fs.FileType.File}

    def read(self, key: str) -> bytes:
        """Read all bytes of a file."""
        with (
            _translated_errors(UnreadableFile),
            self._filesystem.open_input_stream(self.path(key), compression=None) as file,
        ):
            return bytes(file.read())

    def open(self, key: str) -> NativeFile:
        """Open an Arrow file for random access; errors while reading it are ``OSError``."""
        with _translated_errors(UnreadableFile):
            return self._filesystem.open_input_file(self.path(key))

    def write(self, key: str, data: bytes) -> None:
        """Write a file, which appears complete or not at all; create folders as needed."""
        path = self.path(key)
        folder = path.rpartition("/")[0]
        with _translated_errors(UnwritableFile):
            if isinstance(self._filesystem, fs.LocalFileSystem):
                os.makedirs(folder, exist_ok=True)
                files.write_atomically(path, data)
            elif self._filesystem.type_name in _OBJECT_STORES:
                self._put(path, data)
            else:
                self._filesystem.create_dir(folder)
                temporary = f"{folder}/.vqcodec-{secrets.token_hex(8)}.tmp"
                self._put(temporary, data)
                self._filesystem.move(temporary, path)

    @contextmanager
    def stream(self, key: str) -> Iterator[BinaryIO]:
        """Open a file for writing over a long time; in an object store it appears when it is closed."""
        path = self.path(key)
        with _translated_errors(UnwritableFile):
            if self._filesystem.type_name not in _OBJECT_STORES:
                self._filesystem.create_dir(path.rpartition("/")[0])
            file = self._filesystem.open_output_stream(path, compression=None)
        try:
            yield file
        finally:
            with _translated_errors(UnwritableFile):
                file.close()

    def delete(self, key: str) -> None:
        """Delete a file."""
        with _translated_errors(UnwritableFile):
            self._filesystem.delete_file(self.path(key))

    @property
    def _filesystem(self) -> fs.FileSystem:
        return _open(self.uri)[0]

    def _put(self, path: str, data: bytes) -> None:
        with self._filesystem.open_output_stream(path, compression=None) as file:
            file.write(data)


class LazyFile(io.RawIOBase):
    """A file in a storage whose bytes are loaded, and whose errors are raised, when it is first read."""

    def __init__(self, storage: Storage, key: str):
        self._storage, self._key = storage, key

    @cached_property
    def _content(self) -> io.BytesIO:
        return io.BytesIO(self._storage.read(self._key))

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """See :class:`io.RawIOBase`."""
        return self._content.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See :class:`io.RawIOBase`."""
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        """See :class:`io.RawIOBase`."""
        return self._content.tell()


@cache
def _open(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the filesystem of a URI and the folder's path in it."""
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError, NotImplementedError) as error:
        raise UnreadableFile(_one_line(error)) from error
    return filesystem, path


@contextmanager
def _translated_errors(kind: type[UnreadableFile] | type[UnwritableFile]) -> Iterator[None]:
    """Turn an ``OSError`` of a filesystem into an error of the given type, in one line."""
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
