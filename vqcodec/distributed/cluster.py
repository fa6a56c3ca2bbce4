"""Ray Data: pictures are found, encoded and written by a cluster, and one process hears what became of each.

    find (one task) -> turns of keys -> encode (one worker per core) -> results [-> table parts (tasks)] -> the caller

Only keys and results travel; workers read and write the files themselves, through Arrow's filesystems.
``ray.data.read_binary_files`` is not used because it lists the whole collection in the caller's memory before the
first picture is read, reads finished pictures again, and fails a whole block for one file that cannot be read.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

from vqcodec import defaults, files
from vqcodec.batch.failures import FILE_NAME, record_failures
from vqcodec.batch.folders import cores
from vqcodec.batch.jobs import Job
from vqcodec.batch.tasks import EncodeTask, FileResult, Weights
from vqcodec.distributed import records, table
from vqcodec.distributed.discovery import find_turns, stream_key
from vqcodec.distributed.storage import LateFile, Storage
from vqcodec.errors import VqcError, WorkerDied, cause
from vqcodec.images import formats
from vqcodec.images.reading import AS_IS, ReadOptions


@dataclass(frozen=True)
class ClusterOptions:
    """How to process a collection."""

    weights: Weights = field(default_factory=lambda: Weights(device="cpu"))
    workers: int | None = None
    """Each has one core and loads the weights; by default one per core of the cluster."""
    address: str | None = None
    """Of a Ray cluster, as ``ray.init`` takes it; by default that of the environment, else this machine alone."""
    as_table: bool = False
    """Write one Parquet table instead of a ``.vqc`` file for each picture."""
    turn: int = 16
    """Pictures that a worker is given at a time: enough to share wavefronts."""
    part: int = 256
    """Pictures in a part of the table."""


DEFAULT = ClusterOptions()


def encode_collection(
    source: files.AnyPath,
    target: files.AnyPath,
    quality: float = defaults.QUALITY,
    *,
    effort: int = defaults.EFFORT,
    max_pixels: int = defaults.MAX_PIXELS,
    options: ReadOptions = AS_IS,
    cluster_options: ClusterOptions = DEFAULT,
    how: ClusterOptions | None = None,
) -> Iterator[FileResult]:
    """Encode every picture in a folder and its subfolders, on a cluster; skip those whose stream exists.

    Args:
        source: a folder: a path, or a URI such as ``s3://bucket/photos`` or ``gs://bucket/photos``.
        target: the folder of the mirrored ``.vqc`` files, or of the table; created if missing.
        quality, effort, max_pixels, options: as for :meth:`vqcodec.Codec.encode`.
        cluster_options: which weights, which cluster, files or a table.
        how: deprecated name of ``cluster_options``.

    Returns:
        An iterator that does the work: one result for each picture, in no order.  One that fails has its ``error``
        there and ends nothing; it is also recorded in the target (:mod:`vqcodec.batch.failures`), and tried again by
        the next run.

    Raises:
        MissingFile, UnreadableFile, InvalidQuality, and what loading the weights raises: at once.
        VqcError: from the iterator, if Ray gives up.
    """
    if how is not None:
        warnings.warn("how= is renamed to cluster_options=", DeprecationWarning, stacklevel=2)
        cluster_options = how
    places = _Places(Storage.at(source), Storage.at(target), cluster_options.as_table)
    places.source.check()
    cluster_options.weights.load().encode_batch(
        (), quality, effort=effort
    )  # refuses here what every worker would refuse
    return _run(places, EncodeTask(quality, max_pixels, options, effort=effort), cluster_options)


@dataclass(frozen=True)
class _Places:
    """Where pictures come from and streams go."""

    source: Storage
    target: Storage
    as_table: bool

    def job(self, key: str) -> "_StoredJob":
        """The picture's name and its stream's, as the user would call them."""
        output = self.target.name(stream_key(key) if key and not self.as_table else "")  # the folder itself has no key
        return _StoredJob(self.source.name(key), output, places=self, key=key)


@dataclass(frozen=True)
class _StoredJob(Job):
    """A job whose files are in storages."""

    places: _Places = field(kw_only=True)
    key: str = field(kw_only=True)
    kept: list[bytes] = field(default_factory=list, kw_only=True)
    """The stream, if it goes to a table."""

    def open(self) -> Any:
        """See :class:`Job`."""
        return LateFile(self.places.source, self.key)

    def deliver(self, data: bytes) -> None:
        """See :class:`Job`."""
        if self.places.as_table:
            self.kept.append(data)
        else:
            self.places.target.write(stream_key(self.key), data)


def _run(places: _Places, task: EncodeTask, options: ClusterOptions) -> Iterator[FileResult]:
    finished = table.digests([])
    if places.as_table:
        parts = table.Table(places.target)
        parts.forget_failures()
        finished = parts.finished()
    with _cluster(options), places.target.stream(FILE_NAME) as file:
        workers = options.workers or int(ray.cluster_resources().get("CPU", 1))
        yield from record_failures(_results(places, task, replace(options, workers=workers), finished), file)


def _results(places: _Places, task: EncodeTask, options: ClusterOptions, finished: Any) -> Iterator[FileResult]:
    ledger = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Ledger).remote()
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # every row a block: a turn goes to a worker, and a result back, when it is there
    pool = ActorPoolStrategy(min_size=1, max_size=options.workers, initial_size=options.workers)
    with DataContext.current(context):
        # What costs no computing asks for no core, or it would wait for the workers, which have them all.
        found = ray.data.from_items([options.turn]).map_batches(_find, fn_args=(places,), num_cpus=0)
        dataset = found.map_batches(
            _Encoder,
            fn_constructor_args=(places, task, options.weights, ray.put(finished), ledger),
            batch_size=None,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=1,
        )
        if places.as_table:
            dataset = dataset.map_batches(
                _write_part, fn_args=(places.target,), batch_size=options.part, batch_format="pyarrow", num_cpus=0
            )
    try:
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from records.table_to_results(block)
    except ray.exceptions.RayError as error:
        reason = getattr(error, "cause", None)  # what was raised on the other machine
        raise VqcError(f"Ray gave up: {cause(reason or error)}") from error


@contextmanager
def _cluster(options: ClusterOptions) -> Iterator[None]:
    """The cluster that this process is connected to already, or a connection for a while."""
    if ray.is_initialized():
        yield
        return
    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    own = {"num_cpus": options.workers or cores(), "include_dashboard": False} if address == "local" else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # of many kinds
        raise VqcError(f"no Ray cluster at {address}: {cause(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


# On the machines of the cluster


def _find(batch: dict[str, Any], places: _Places) -> Iterator[pa.Table]:
    (size,) = batch["item"]
    suffixes = formats.picture_suffixes()
    for turn in find_turns(places.source, suffixes, int(size), unique_outputs=not places.as_table):
        yield records.turn_to_table(turn)


class _Encoder:
    """A worker: one core, the weights loaded once, a turn at a time.

    If it dies, Ray starts another and gives it the same turn; results that were taken already are not taken again.
    """

    def __init__(self, places: _Places, task: EncodeTask, weights: Weights, finished: Any, ledger: Any):
        from vqcodec.concurrency.threads import restrict  # with torch, which only the workers need

        restrict(1)
        self._places, self._task, self._codec = places, task, weights.load()
        self._finished = ray.get(finished)
        self._ledger = ledger

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """A turn -> its results, each as soon as it is there, in the order of the turn."""
        for turn in records.table_to_turns(batch):
            name, _ = turn[0]
            again, deadly = ray.get(self._ledger.begin.remote(name))
            for job, result in self._work(turn, name if again else None, deadly):
                yield records.result_to_table(job.key, result, job.kept[0] if job.kept else None)
            self._ledger.end.remote(name)

    def _work(
        self, turn: list[records.Item], watched: str | None, deadly: frozenset[str]
    ) -> Iterator[tuple[_StoredJob, FileResult]]:
        jobs = [self._places.job(key) for key, _ in turn]
        errors: dict[str, Exception] = {key: error for key, error in turn if error is not None}
        try:
            there = self._there([job.key for job in jobs if job.key not in errors])
        except VqcError as error:
            there, errors = set(), {job.key: error for job in jobs} | errors
        died = WorkerDied("the process that worked on it died; was there enough memory?")
        errors = dict.fromkeys(deadly - there, died) | errors
        left = [job for job in jobs if job.key not in errors and job.key not in there]
        done = self._task.run(self._codec, left) if watched is None else self._one_by_one(left, watched)
        for job in jobs:
            if job.key in errors:
                yield job, FileResult(job.source, job.output, errors[job.key])
            elif job.key in there:
                yield job, FileResult(job.source, job.output, skipped=True)
            else:
                yield job, next(done)

    def _there(self, keys: list[str]) -> set[str]:
        """Those of the pictures that are done: by an earlier run, or by a worker that died before it could tell."""
        if self._places.as_table:
            return {key for key, done in zip(keys, table.is_in(keys, self._finished), strict=True) if done}
        streams = {key: stream_key(key) for key in keys}
        existing = self._places.target.existing(list(streams.values()))
        return {key for key, stream in streams.items() if stream in existing}

    def _one_by_one(self, jobs: list[_StoredJob], turn: str) -> Iterator[FileResult]:
        for job in jobs:
            ray.get(self._ledger.trying.remote(turn, job.key))
            (result,) = self._task.run(self._codec, [job])
            ray.get(self._ledger.trying.remote(turn, None))
            yield result


class _Ledger:
    """The turns under way, so that a picture that kills every worker is found out and left: an actor of its own.

    A turn that comes back is gone through picture by picture; the picture at which its worker then dies is the one.
    """

    def __init__(self) -> None:
        self._trying: dict[str, str | None] = {}
        self._deadly: dict[str, set[str]] = {}

    def begin(self, turn: str) -> tuple[bool, frozenset[str]]:
        """Whether the turn was begun before, and those of its pictures that are not to be tried any more."""
        again = turn in self._trying
        suspect = self._trying.get(turn)
        deadly = self._deadly.setdefault(turn, set())
        if suspect is not None:
            deadly.add(suspect)
        self._trying[turn] = None
        return again, frozenset(deadly)

    def trying(self, turn: str, key: str | None) -> None:
        """From now on the turn's worker is at this picture alone, or at none."""
        self._trying[turn] = key

    def end(self, turn: str) -> None:
        """The turn is done."""
        self._trying.pop(turn, None)
        self._deadly.pop(turn, None)


def _write_part(batch: pa.Table, target: Storage) -> pa.Table:
    """Results with data -> a part of the table, and the results without."""
    records = [record for record in batch.to_pylist() if not record["skipped"]]
    table.Table(target).write(
        {
            "key": record["key"],
            "bytes": record["data"],
            "bpp": 8 * record["bytes"] / (record["width"] * record["height"]) if record["data"] else None,
            "error": record["error"] and record["error"]["text"],
        }
        for record in records
    )
    return batch.drop_columns(["data"]) if len(batch) else batch
