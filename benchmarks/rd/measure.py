"""Measure one codec on one picture at one quality: bytes, distortion and time."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from benchmarks.errors import RoundTripFailed
from benchmarks.rd.codecs import Codec
from benchmarks.rd.metrics import Scores, score
from vqcodec import metrics

T = TypeVar("T")


@dataclass(frozen=True)
class Measurement:
    """One point of a picture's rate-distortion curve."""

    image: str
    width: int
    height: int
    quality: float
    bytes: int
    """Size of the file on disk."""
    scores: Scores
    encode_seconds: float
    """Median wall-clock time of the runs, without loading the codec."""
    decode_seconds: float
    """Likewise."""

    @property
    def bpp(self) -> float:
        """Bits per pixel of the original."""
        return metrics.bits_per_pixel(self.bytes, self.width, self.height)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Measurement":
        """Invert :meth:`to_json`."""
        return cls(**{**record, "scores": Scores(**record["scores"])})


def measure(codec: Codec, name: str, image: Image.Image, quality: float, folder: Path, runs: int = 1) -> Measurement:
    """Encode ``image``, write the file into ``folder``, decode the file and compare.

    Raises :class:`RoundTripFailed` if the decoded picture has another size.
    """
    path = folder / f"stream{codec.suffix}"
    data, encode_seconds = _timed(lambda: codec.encode(image, quality), runs)
    path.write_bytes(data)
    decoded, decode_seconds = _timed(lambda: codec.decode(path), runs)
    if decoded.size != image.size:
        raise RoundTripFailed(
            f"{codec.choice.name} at quality {quality:g}: {name} has size {image.size} but decodes to {decoded.size}"
        )
    size = path.stat().st_size
    scores = score(image, decoded)
    return Measurement(name, *image.size, quality, size, scores, encode_seconds, decode_seconds)


def _timed(work: Callable[[], T], runs: int) -> tuple[T, float]:
    """Run ``work``; return the last result and the median time in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return result, statistics.median(times)
