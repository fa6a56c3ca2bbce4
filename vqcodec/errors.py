"""Exceptions and warnings that vqcodec raises on purpose.

VqcError
  · NotAVqcFile
  · UnsupportedVersion
  · UnsupportedFeature
  · TruncatedStream
  · CorruptStream
  · MalformedStream
  · UnknownModel
  · ModelMismatch
  · InvalidWeights
  · InvalidImage
    - LossRefused
  · ImageTooLarge
  · InvalidQuality (ValueError)
  · InvalidEffort (ValueError)
  · InvalidRealism (ValueError)
  · RealismUnavailable
  · InvalidSampling (ValueError)
  · GoalOutOfReach
  · InvalidRegion (ValueError)
  · DeviceUnavailable
  · UnreadableFile (OSError)
    - MissingFile (FileNotFoundError)
  · UnwritableFile (OSError)
  · UnknownFormat (ValueError)
  · InvalidJobs (ValueError)
  · PassedOver
  · WorkerDied
  · OutputExists (FileExistsError)

VqcWarning (UserWarning)

Built-in base classes are in parentheses.  A message is one line: what is wrong, with which value.  It does not name the
file, because only the caller knows the name that the user gave; ``vqcodec.training`` names the files of runs itself.
"""

import re
import sys
import warnings


class VqcError(Exception):
    """Base class of all errors below."""


class VqcWarning(UserWarning):
    """Issued when part of a picture is lost or missing and the call continues."""


# Streams


class NotAVqcFile(VqcError):
    """Raised when the data does not begin with the magic bytes of a .vqc file."""


class UnsupportedVersion(VqcError):
    """Raised when the stream has a format version that this release does not support."""


class UnsupportedFeature(VqcError):
    """Raised when the stream uses a feature that this release does not support and cannot skip."""


class TruncatedStream(VqcError):
    """Raised when the data ends before the end of the stream."""


class CorruptStream(VqcError):
    """Raised when a checksum, or the final state of the entropy coder, does not match: bytes were changed."""


class MalformedStream(VqcError):
    """Raised when intact data violates the format specification."""


# Models


class UnknownModel(VqcError):
    """Raised when no installed model has the given id or hash."""


class ModelMismatch(VqcError):
    """Raised when the stream was encoded with another model than the one chosen for decoding."""


class InvalidWeights(VqcError):
    """Raised when a weights file is damaged, incomplete or in another format."""


# Pictures and parameters


class InvalidImage(VqcError):
    """Raised when the input is not a picture, or cannot be converted to 8-bit grey or RGB."""


class LossRefused(InvalidImage):
    """Raised in strict mode when encoding the picture would lose something."""


class ImageTooLarge(VqcError):
    """Raised when a picture has more pixels than ``max_pixels``, or than the format supports."""


class InvalidQuality(VqcError, ValueError):
    """Raised when the quality is outside 0 to 100, or a goal is invalid."""


class InvalidEffort(VqcError, ValueError):
    """Raised when the effort is not one that the encoder supports."""


class InvalidRealism(VqcError, ValueError):
    """Raised when the realism is outside 0 to 1."""


class RealismUnavailable(VqcError):
    """Raised when a lifelike picture is asked for and the model has no second synthesis."""


class InvalidSampling(VqcError, ValueError):
    """Raised when pictures are asked for that the model cannot draw: another class, seed, size or temperature."""


class GoalOutOfReach(VqcError):
    """Raised when no quality reaches the requested size, rate or PSNR for this picture."""


class InvalidRegion(VqcError, ValueError):
    """Raised when a rectangle is empty or not inside the picture."""


class DeviceUnavailable(VqcError):
    """Raised when the name of a device is invalid or the device is not present."""


# Files


class UnreadableFile(VqcError, OSError):
    """Raised when the operating system cannot read a file or folder."""


class MissingFile(UnreadableFile, FileNotFoundError):
    """Raised when a file or folder does not exist."""


class UnwritableFile(VqcError, OSError):
    """Raised when the operating system, or the writer of the picture format, cannot write a file."""


class UnknownFormat(VqcError, ValueError):
    """Raised when Pillow cannot write pictures of the given format or suffix."""


class InvalidJobs(VqcError, ValueError):
    """Raised when sources and target contradict each other, for example several sources and one output file."""


class PassedOver(VqcError):
    """Stands for a file of a collection whose suffix is not that of a picture format.  It is counted, not raised."""


class WorkerDied(VqcError):
    """Raised when a worker process ended before its work was done."""


class OutputExists(VqcError, FileExistsError):
    """Raised when an output already exists and overwriting was not requested."""


# Messages


def one_line(text: str) -> str:
    """Return text with control characters and lone surrogates escaped, so that it is safe to print on one line."""
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: ascii(found[0])[1:-1], text)


def silence_libraries() -> None:
    """Keep warnings and log messages of other libraries off stderr, in a process that belongs to this program.

    Python's option ``-W`` shows the warnings all the same.
    """
    import logging  # not needed for --help

    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if not logging.getLogger().hasHandlers():
        logging.getLogger().addHandler(logging.NullHandler())


def cause(error: Exception) -> str:
    """Return the message of an error in one line, without the name of the file."""
    if isinstance(error, VqcError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory"
    return " ".join(f"internal error: {type(error).__name__}: {error}".split())
