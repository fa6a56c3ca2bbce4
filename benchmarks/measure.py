"""One picture, one codec, one quality -> what it costs and what comes back."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from benchmarks.codecs import Codec
from benchmarks.errors import RoundTripFailed
from benchmarks.metrics import Scores, score

T = TypeVar("T")


@dataclass(frozen=True)
class Measurement:
    """A point of a picture's rate-distortion curve."""

    image: str
    width: int
    height: int
    quality: float
    bytes: int
    """Size of the file on disk."""
    scores: Scores
    encode_seconds: float
    decode_seconds: float
    """Medians of the runs, wall-clock; the codec was loaded before."""

    @property
    def bpp(self) -> float:
        """Bits of the file for each pixel of the original."""
        return 8 * self.bytes / (self.width * self.height)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Measurement":
        """Inverse of :meth:`to_json`."""
        return cls(**{**record, "scores": Scores(**record["scores"])})


def measure(codec: Codec, name: str, image: Image.Image, quality: float, folder: Path, runs: int = 1) -> Measurement:
    """Encode, write a file into ``folder``, decode that file, compare.

    Raises :class:`RoundTripFailed` if what comes back is not a picture of the same size.
    """
    path = folder / f"stream{codec.suffix}"
    data, encode_seconds = _timed(lambda: codec.encode(image, quality), runs)
    path.write_bytes(data)
    decoded, decode_seconds = _timed(lambda: codec.decode(path), runs)
    if decoded.size != image.size:
        raise RoundTripFailed(
            f"{codec.choice.name} at quality {quality:g}: {name} is {image.size} and comes back {decoded.size}"
        )
    size = path.stat().st_size
    scores = score(image, decoded)
    return Measurement(name, *image.size, quality, size, scores, encode_seconds, decode_seconds)


def _timed(work: Callable[[], T], runs: int) -> tuple[T, float]:
    """The last result and the median time in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return result, statistics.median(times)
