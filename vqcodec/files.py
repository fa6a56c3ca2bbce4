"""Read whole files and write files atomically.  Operating system errors become :mod:`vqcodec.errors`."""

import contextlib
import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, TypeAlias

from vqcodec.errors import MissingFile, OutputExists, UnreadableFile, UnwritableFile, VqcError

AnyPath: TypeAlias = str | os.PathLike[str]

_MAX_LINKS = 40
"""Symbolic links that are followed one after the other, as many as Linux follows."""


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


def check_apart(source: AnyPath, target: AnyPath) -> None:
    """Raise :class:`OutputExists` if a source and its output are the same file, also through links."""
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise OutputExists("output is the same file as the source")


def from_position(file: IO[bytes]) -> IO[bytes]:
    """Return a file that begins at position 0, with what the given file holds from its position on.

    A file at its end is read from its beginning, so that one that was just written or read can be passed on.
    """
    try:
        start, end = file.tell(), file.seek(0, os.SEEK_END)
    except (AttributeError, OSError, ValueError):  # a pipe
        return io.BytesIO(file.read())
    file.seek(0 if start == end else start)
    return io.BytesIO(file.read()) if start not in (0, end) else file


@contextlib.contextmanager
def atomic_file(path: AnyPath) -> Iterator[BinaryIO]:
    """Open a file for writing that appears complete on success and not at all on failure.

    The data goes to a hidden temporary file ``.vqcodec-*.tmp`` in the same folder, which is synced, then renamed.  Only
    a killed process leaves a temporary file behind; it can be deleted.

    The target of a symbolic link is replaced, the link is kept.  What :func:`is_in_place` names is written in place.

    Raises:
        UnwritableFile: the file cannot be written.
    """
    try:
        in_place = is_in_place(path)
        target = Path(os.path.realpath(path))
    except ValueError as error:  # the name has a null byte
        raise UnwritableFile(str(error)) from error
    try:
        if in_place:
            with _open_in_place(path) as file:
                yield file
            return
        temporary = target.with_name(f".vqcodec-{os.urandom(8).hex()}.tmp")
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


def is_in_place(path: AnyPath) -> bool:
    """Return whether a name means a device or pipe, or a file that a process has open: ``/dev/stdout``, ``/dev/fd/3``.

    Such an output is written where it is; replacing it would take it from whoever holds it open.
    """
    if _descriptor_name(path) is not None:
        return True
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _open_in_place(path: AnyPath) -> BinaryIO:
    """Open for writing: by the descriptor itself where it is one of this process, so that nothing is cut or skipped."""
    name = _descriptor_name(path)
    if name is None:
        return open(path, "wb")
    process, number = name
    if process == os.getpid():
        if number == 2 and sys.stderr is not None:  # the command line leads descriptor 2 nowhere
            with contextlib.suppress(OSError):
                number = sys.stderr.fileno()
        return open(os.dup(number), "wb")
    return open(os.open(path, os.O_WRONLY | os.O_APPEND), "wb")  # of another process: not cut, at least


def _descriptor_name(path: AnyPath) -> tuple[int, int] | None:
    """Return the process and the number of the descriptor that a name leads to, or None."""
    name = os.path.abspath(os.fsdecode(path))
    for _ in range(_MAX_LINKS):
        folder, last = os.path.split(name)
        folder = os.path.realpath(folder)
        if last.isdecimal():
            if folder == "/dev/fd":  # of systems without /proc
                return os.getpid(), int(last)
            if found := re.fullmatch(r"/proc/(\d+)(?:/task/\d+)?/fd", folder):
                return int(found[1]), int(last)
        name = os.path.join(folder, last)
        if not os.path.islink(name):
            return None
        name = os.path.join(folder, os.readlink(name))
    return None


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
