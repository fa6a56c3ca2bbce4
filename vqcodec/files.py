"""Whole files in, whole files out: system errors get our names, and no output is ever half there.

It knows no formats of its own: what is written are bytes, or a picture that Pillow turns into bytes.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from vqcodec.errors import MissingFile, UnreadableFile, UnwritableFile, VqcError

AnyPath: TypeAlias = str | os.PathLike[str]


def open_binary(path: AnyPath) -> BinaryIO:
    """The file, open for reading."""
    try:
        return open(path, "rb")
    except ValueError as error:
        raise UnreadableFile(f"not a name that a file could have: {error}") from error
    except FileNotFoundError as error:
        raise MissingFile(_cause(error)) from error
    except OSError as error:
        raise UnreadableFile(_cause(error)) from error


def read_bytes(path: AnyPath) -> bytes:
    """All bytes of the file."""
    with open_binary(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise UnreadableFile(_cause(error)) from error


@contextlib.contextmanager
def atomic_file(path: AnyPath) -> Iterator[BinaryIO]:
    """A file to write, which is there whole at the end or not at all: a temporary one beside it, synced, then renamed.

    The temporary file is hidden, ``.vqcodec-*.tmp``.  Only a process that is killed leaves one behind; it is in the
    way of nobody and may be deleted.

    A symbolic link stays one and its target is replaced.  What is not a regular file (a device, a pipe) is
    written in place, for it must not be replaced.
    """
    try:
        target = Path(os.path.realpath(path))
    except ValueError as error:  # a zero byte
        raise UnwritableFile(str(error)) from error
    try:
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            with open(target, "wb") as file:
                yield file
            return
        temporary = target.with_name(f".vqcodec-{secrets.token_hex(8)}.tmp")
        try:
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
            # With the mode that the umask gives new files, or that of the file which is replaced.
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                if mode is not None:
                    temporary.chmod(mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            _sync_folder(target.parent)
        except BaseException:  # an interrupt, too, must leave nothing behind
            temporary.unlink(missing_ok=True)
            raise
    except VqcError:  # some are an OSError, too
        raise
    except OSError as error:
        raise UnwritableFile(_cause(error)) from error


def write_atomically(path: AnyPath, data: bytes) -> None:
    """Write all of an :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


def _sync_folder(path: Path) -> None:
    """Wait until the folder's names are on disk, where folders can be opened and synced: so that a rename lasts."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _cause(error: OSError) -> str:
    """What happened, without the file name that ``str(error)`` would add."""
    return error.strerror or str(error)
