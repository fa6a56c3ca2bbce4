"""Measure every codec, picture and quality in parallel; continue an interrupted run.

Each measurement is appended as one line of JSON to ``measurements/CODEC.jsonl`` when it is made.  Its key covers all
that it depends on: the picture's bytes, the encoder, the quality, device, threads and number of runs.  The next run
skips keys that exist.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from PIL import Image

from benchmarks.rd.codecs import Choice, Codec, open_codec
from benchmarks.rd.datasets import Photo
from benchmarks.rd.measure import Measurement, measure
from benchmarks.workers import worker_pool


@dataclass(frozen=True)
class Task:
    """One measurement to make."""

    choice: Choice
    photo: Photo
    quality: float
    runs: int
    key: str


class Journal:
    """Measurements on disk."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, choice: Choice) -> dict[str, Measurement]:
        """Return the measurements by key; ignore an incomplete line, which an interrupted run leaves."""
        path = self._path(choice)
        found = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            key = record.pop("key")
            found[key] = Measurement.from_json(record)
        return found

    def append(self, task: Task, measurement: Measurement) -> None:
        """Append a measurement, after a line break, so that it never continues an incomplete line."""
        with self._path(task.choice).open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"key": task.key, **measurement.to_json()}))

    def _path(self, choice: Choice) -> Path:
        return self._folder / f"{choice.stem}.jsonl"


class Sweep:
    """Measurements to make, and those that exist."""

    def __init__(
        self,
        codecs: Sequence[Codec],
        photos: Sequence[Photo],
        qualities: Mapping[str, Sequence[float]],
        journal: Journal,
        runs: int = 1,
    ):
        """Read the journal; ``qualities`` maps the name of each codec to the qualities to measure."""
        self._journal = journal
        digests = {photo.name: photo.digest() for photo in photos}
        # Pictures in the outer loop: the mean time per task is then steady, and so is the estimate of the time left.
        self.tasks = [
            Task(codec.choice, photo, quality, runs, _key(codec, digests[photo.name], quality, runs))
            for photo in photos
            for codec in codecs
            for quality in qualities[codec.choice.name]
        ]
        self._codecs = codecs
        self._done: dict[str, Measurement] = {}
        for codec in codecs:
            self._done |= journal.read(codec.choice)
        self.missing = [task for task in self.tasks if task.key not in self._done]

    def run(self, jobs: int) -> Iterator[Task]:
        """Make the missing measurements in ``jobs`` processes (1: in this one); yield each task when done."""
        for task, measurement in _here(self.missing, self._codecs) if jobs == 1 else _in_parallel(self.missing, jobs):
            self._journal.append(task, measurement)
            self._done[task.key] = measurement
            yield task

    def measurements(self, choice: Choice) -> list[Measurement]:
        """Return all measurements of a codec in the order of the tasks; call :meth:`run` first."""
        return [self._done[task.key] for task in self.tasks if task.choice == choice]


def _key(codec: Codec, digest: str, quality: float, runs: int) -> str:
    circumstances = [codec.choice.device, codec.choice.threads, runs]  # times depend on them
    return hashlib.sha256(json.dumps([codec.fingerprint, digest, quality, *circumstances]).encode()).hexdigest()[:24]


def _here(tasks: Sequence[Task], codecs: Sequence[Codec]) -> Iterator[tuple[Task, Measurement]]:
    opened = {codec.choice: codec for codec in codecs}
    for task in tasks:
        yield task, _measure(task, opened[task.choice])


def _in_parallel(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Measurement]]:
    pool = worker_pool(jobs, tasks[0].choice.threads if tasks else 1)
    try:
        pending: dict[Future[Measurement], Task] = {pool.submit(_work, task): task for task in tasks}
        for future in as_completed(pending):
            yield pending[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _work(task: Task) -> Measurement:
    """Measure in a worker process."""
    return _measure(task, _opened(task.choice))


@cache
def _opened(choice: Choice) -> Codec:
    """Load a codec, once in each worker."""
    return open_codec(choice).codec


def _measure(task: Task, codec: Codec) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="vqcodec-rd-") as folder:
        return measure(codec, task.photo.name, _load(task.photo), task.quality, Path(folder), task.runs)


@lru_cache(maxsize=1)
def _load(photo: Photo) -> Image.Image:
    """Load a picture; keep the last one, since consecutive tasks have the same picture."""
    return photo.load()
