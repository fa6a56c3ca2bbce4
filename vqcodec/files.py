"""Read whole files and write files atomically.  Operating system errors become :mod:`vqcodec.errors`."""

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
    """Open a file for reading.

    Raises:
        MissingFile: the file does not exist.
        UnreadableFile: the file cannot be opened.
    """
    try:
        return open(path, "rb")
    except ValueError as error:
        raise UnreadableFile(f"invalid file name: {error}") from error
    except FileNotFoundError as error:
        raise MissingFile(_cause(error)) from error
    except OSError as error:
        raise UnreadableFile(_cause(error)) from error


def read_bytes(path: AnyPath) -> bytes:
    """Read all bytes of a file.  Raises the same errors as :func:`open_binary`."""
    with open_binary(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise UnreadableFile(_cause(error)) from error


@contextlib.contextmanager
def atomic_file(path: AnyPath) -> Iterator[BinaryIO]:
    """Open a file for writing that appears complete on success and not at all on failure.

    The data goes to a hidden temporary file ``.vqcodec-*.tmp`` in the same folder, which is synced, then renamed.  Only
    a killed process leaves a temporary file behind; it can be deleted.

    The target of a symbolic link is replaced, the link is kept.  Devices and pipes are written in place.

    Raises:
        UnwritableFile: the file cannot be written.
    """
    try:
        target = Path(os.path.realpath(path))
    except ValueError as error:  # the name has a null byte
        raise UnwritableFile(str(error)) from error
    try:
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            with open(target, "wb") as file:
                yield file
            return
        temporary = target.with_name(f".vqcodec-{secrets.token_hex(8)}.tmp")
        try:
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
            # New files get the mode of the umask; a replaced file keeps its mode.
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                if mode is not None:
                    temporary.chmod(mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            _sync_folder(target.parent)
        except BaseException:  # including KeyboardInterrupt
            temporary.unlink(missing_ok=True)
            raise
    except VqcError:  # some of them are OSErrors
        raise
    except OSError as error:
        raise UnwritableFile(_cause(error)) from error


def write_atomically(path: AnyPath, data: bytes) -> None:
    """Write bytes to a file by way of :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


def _sync_folder(path: Path) -> None:
    """Flush a folder to disk so that a rename in it survives a crash.  Ignore systems that cannot sync folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _cause(error: OSError) -> str:
    """Return the message without the file name that ``str(error)`` adds."""
    return error.strerror or str(error)
