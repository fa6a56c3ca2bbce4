"""What can go wrong, one named class per defect.

A message is one line that says what is wrong and by how much; it never names the file: only the caller knows
what the user called it.  Classes that stand for a familiar built-in error also derive from that one.
"""

import re


class VqcError(Exception):
    """Base of everything that vqcodec raises on purpose."""


class VqcWarning(UserWarning):
    """Something about a picture is lost on the way; the call goes on."""


# The stream


class NotAVqcFile(VqcError):
    """The data does not begin with the magic bytes."""


class UnsupportedVersion(VqcError):
    """A stream of a format version that this program does not know."""


class UnsupportedFeature(VqcError):
    """A stream of a known version that uses something this program does not know and must not skip."""


class TruncatedStream(VqcError):
    """The data ends before the stream does."""


class CorruptStream(VqcError):
    """Bytes were changed: a checksum, or what the coder finds at the end of a section, does not agree."""


class MalformedStream(VqcError):
    """Intact bytes that contradict each other or the specification."""


# The model


class UnknownModel(VqcError):
    """No weights of that name or hash here."""


class ModelMismatch(VqcError):
    """The stream was made with another model than the one that was asked to decode it."""


class InvalidWeights(VqcError):
    """A weights file that is damaged, incomplete or not one of ours."""


# The picture and the request


class InvalidImage(VqcError):
    """Not a picture, or one that has no sensible 8-bit grey or RGB form."""


class LossRefused(InvalidImage):
    """A picture of which something would be lost, which the caller does not want."""


class ImageTooLarge(VqcError):
    """More pixels than the caller allows, or than the format can say."""


class InvalidQuality(VqcError, ValueError):
    """A quality outside of 0 to 100, or a goal that no picture could have."""


class InvalidEffort(VqcError, ValueError):
    """An effort that the encoder does not know."""


class GoalOutOfReach(VqcError):
    """A size or a PSNR that no quality gives for this picture."""


class InvalidRegion(VqcError, ValueError):
    """A rectangle that is empty or not inside the picture."""


class DeviceUnavailable(VqcError):
    """A device that is misspelled or not present."""


# Files


class UnreadableFile(VqcError, OSError):
    """The operating system would not let us read it."""


class MissingFile(UnreadableFile, FileNotFoundError):
    """There is no such file."""


class UnwritableFile(VqcError, OSError):
    """The operating system, or the writer of the picture format, would not let us write it."""


class UnknownFormat(VqcError, ValueError):
    """A picture format, or a suffix, that Pillow does not write."""


class InvalidJobs(VqcError, ValueError):
    """Sources and a target that make no sense together, whatever the files are."""


class WorkerDied(VqcError):
    """A process that was given some of the work ended before it was done."""


class OutputExists(VqcError, FileExistsError):
    """The output is already there and the caller did not ask to replace it."""


def one_line(text: str) -> str:
    """Escape control characters and surrogates: names may hold them, and terminals obey or cannot print them."""
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: ascii(found[0])[1:-1], text)


def cause(error: Exception) -> str:
    """Describe an error in one line, without the name of the file."""
    if isinstance(error, VqcError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory"
    return " ".join(f"internal error: {type(error).__name__}: {error}".split())
