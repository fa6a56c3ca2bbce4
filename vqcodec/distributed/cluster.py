"""Encode a collection with Ray Data: the cluster finds, encodes and writes pictures, one process gets the results.

    find (one task) -> chunks of keys -> encode (one worker per core) -> results [-> table parts (tasks)] -> the caller

Only keys and results travel between machines; workers read and write the files themselves, with Arrow's filesystems.
``ray.data.read_binary_files`` is not used because it lists the whole collection in the caller's memory before the
first picture is read, reads finished pictures again, and fails a whole block for one file that cannot be read.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

from vqcodec import defaults, files
from vqcodec.batch.deprecation import renamed_keyword
from vqcodec.batch.failures import FILE_NAME, record_failures
from vqcodec.batch.folders import available_cores
from vqcodec.batch.jobs import Job
from vqcodec.batch.tasks import EncodeTask, FileResult, Weights
from vqcodec.codec.options import EncodeOptions
from vqcodec.distributed import records, table
from vqcodec.distributed.discovery import find_chunks, stream_key
from vqcodec.distributed.storage import LazyFile, Storage
from vqcodec.errors import PassedOver, VqcError, WorkerDied, cause
from vqcodec.images import formats
from vqcodec.images.reading import AS_IS, ReadOptions

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle


@dataclass(frozen=True)
class ClusterOptions:
    """Options of :func:`encode_collection`."""

    weights: Weights = field(default_factory=lambda: Weights(device="cpu"))
    """Model and device."""
    workers: int | None = None
    """Number of workers, each with one core and its own copy of the weights; default: one per core of the cluster."""
    address: str | None = None
    """Address of a Ray cluster as ``ray.init`` takes it; default: that of the environment, else this machine alone."""
    as_table: bool = False
    """Write one Parquet table instead of a ``.vqc`` file for each picture."""
    turn: int = 16
    """Pictures that a worker gets at a time: enough to share wavefronts."""
    part: int = 256
    """Pictures per file of the table."""


DEFAULT = ClusterOptions()


@renamed_keyword("how", "cluster_options")
def encode_collection(
    source: files.AnyPath,
    target: files.AnyPath,
    quality: float = defaults.QUALITY,
    *,
    effort: int = defaults.EFFORT,
    max_pixels: int = defaults.MAX_PIXELS,
    options: ReadOptions = AS_IS,
    lossless: bool | None = None,
    cluster_options: ClusterOptions = DEFAULT,
) -> Iterator[FileResult]:
    """Encode every picture below a folder on a Ray cluster; skip pictures whose stream exists.

    Args:
        source: a folder: a path, or a URI such as ``s3://bucket/photos`` or ``gs://bucket/photos``.
        target: the folder for the ``.vqc`` files, in the same tree, or for the table; created if missing.
        quality, effort, max_pixels, options, lossless: see :meth:`vqcodec.Codec.encode`.
        cluster_options: which weights, which cluster, files or a table.

    Returns:
        An iterator that does the work and yields one result per picture, in no particular order.  A picture that fails
        has its ``error`` in the result; the others continue.  Failures are also recorded in the target
        (:mod:`vqcodec.batch.failures`), and the next run tries these pictures again.

    Raises:
        MissingFile, UnreadableFile, InvalidQuality, InvalidEffort, and what loading the weights raises: at once.
        VqcError: from the iterator, if Ray fails.
    """
    encode_options = EncodeOptions(quality, None, effort, max_pixels, options, lossless)
    return encode_on_cluster(source, target, encode_options, cluster_options)


def encode_on_cluster(
    source: files.AnyPath,
    target: files.AnyPath,
    encode_options: EncodeOptions,
    cluster_options: ClusterOptions,
    passed_over: Callable[[str], None] = lambda name: None,
) -> Iterator[FileResult]:
    """Do the work of :func:`encode_collection`, whose options are given as one object.

    ``passed_over`` is called with the name of each file that has no suffix of a picture format.
    """
    locations = _Locations(Storage.at(source), Storage.at(target), cluster_options.as_table)
    locations.source.check()
    # Encode nothing here to raise the errors that every worker would raise.
    cluster_options.weights.load().encode_batch((), encode_options.quality, effort=encode_options.effort)
    return _run(locations, EncodeTask(encode_options), cluster_options, passed_over)


@dataclass(frozen=True)
class _Locations:
    """Storage of pictures and of streams."""

    source: Storage
    target: Storage
    as_table: bool

    def job(self, key: str) -> "_StoredJob":
        """Return the job for a picture; the empty key stands for the folder itself."""
        output = self.target.name(stream_key(key) if key and not self.as_table else "")
        return _StoredJob(self.source.name(key), output, locations=self, key=key)


@dataclass(frozen=True)
class _StoredJob(Job):
    """A job that reads from and writes to a :class:`Storage`."""

    locations: _Locations = field(kw_only=True)
    key: str = field(kw_only=True)
    streams: list[bytes] = field(default_factory=list, kw_only=True)
    """The stream, if it goes to a table; at most one."""

    def open_source(self) -> BinaryIO:
        """See :class:`Job`."""
        return cast(BinaryIO, LazyFile(self.locations.source, self.key))

    def write_output(self, data: bytes) -> None:
        """See :class:`Job`."""
        if self.locations.as_table:
            self.streams.append(data)
        else:
            self.locations.target.write(stream_key(self.key), data)


def _run(
    locations: _Locations, task: EncodeTask, cluster_options: ClusterOptions, passed_over: Callable[[str], None]
) -> Iterator[FileResult]:
    finished = table.digests([])
    if locations.as_table:
        parts = table.Table(locations.target)
        parts.delete_failures()
        finished = parts.finished()
    with _cluster(cluster_options), locations.target.stream(FILE_NAME) as file:
        workers = cluster_options.workers or int(ray.cluster_resources().get("CPU", 1))
        cluster_options = replace(cluster_options, workers=workers)
        results = _results(locations, task, cluster_options, finished)
        yield from record_failures(_without_passed_over(results, passed_over), file)


def _without_passed_over(results: Iterator[FileResult], passed_over: Callable[[str], None]) -> Iterator[FileResult]:
    for result in results:
        if isinstance(result.error, PassedOver):
            passed_over(result.source)
        else:
            yield result


def _results(
    locations: _Locations, task: EncodeTask, cluster_options: ClusterOptions, finished: table.Digests
) -> Iterator[FileResult]:
    tracker = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_CrashTracker).remote()
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # one row per block, so that chunks and results are passed on at once
    workers = cluster_options.workers
    pool = ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers)
    with DataContext.current(context):
        # Tasks that compute little ask for no core, or they would wait for the workers, which have all of them.
        found = ray.data.from_items([cluster_options.turn]).map_batches(_find, fn_args=(locations,), num_cpus=0)
        dataset = found.map_batches(
            _Encoder,
            fn_constructor_args=(locations, task, cluster_options.weights, ray.put(finished), tracker),
            batch_size=None,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=1,
        )
        if locations.as_table:
            dataset = dataset.map_batches(
                _write_part,
                fn_args=(locations.target,),
                batch_size=cluster_options.part,
                batch_format="pyarrow",
                num_cpus=0,
            )
    try:
        for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from records.table_to_results(block)
    except ray.exceptions.RayError as error:
        reason = getattr(error, "cause", None)  # the exception that was raised on the other machine
        raise VqcError(f"Ray failed: {cause(reason or error)}") from error


@contextmanager
def _cluster(cluster_options: ClusterOptions) -> Iterator[None]:
    """Use the cluster that this process is connected to, or connect to one inside the block."""
    if ray.is_initialized():
        yield
        return
    address = cluster_options.address or os.environ.get("RAY_ADDRESS") or "local"
    local = address == "local"
    settings = {"num_cpus": cluster_options.workers or available_cores(), "include_dashboard": False} if local else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except Exception as error:  # of many types
        raise VqcError(f"cannot connect to a Ray cluster at {address}: {cause(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


# On the machines of the cluster


def _find(batch: dict[str, npt.NDArray[np.int64]], locations: _Locations) -> Iterator[pa.Table]:
    (size,) = batch["item"]
    suffixes = formats.picture_suffixes()
    unique = not locations.as_table
    for chunk in find_chunks(locations.source, suffixes, int(size), unique_outputs=unique, passed_over=True):
        yield records.chunk_to_table(chunk)


class _Encoder:
    """A worker with one core, which loads the weights once and encodes a chunk at a time.

    If it dies, Ray starts another and gives it the same chunk.  Ray discards repeated results.
    """

    def __init__(
        self, locations: _Locations, task: EncodeTask, weights: Weights, finished: "ObjectRef", tracker: "ActorHandle"
    ):
        from vqcodec.concurrency.threads import limit_threads  # imports torch, which only workers need

        limit_threads(1)
        self._locations, self._task, self._codec = locations, task, weights.load()
        self._finished: table.Digests = ray.get(finished)
        self._tracker = tracker

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Encode a chunk and yield each result as soon as it is known, in order."""
        for chunk in records.table_to_chunks(batch):
            name, _ = chunk[0]
            again, fatal = ray.get(self._tracker.begin.remote(name))
            for job, result in self._encode(chunk, name if again else None, fatal):
                yield records.result_to_table(job.key, result, job.streams[0] if job.streams else None)
            self._tracker.end.remote(name)

    def _encode(
        self, chunk: list[records.Item], tracked: str | None, fatal: frozenset[str]
    ) -> Iterator[tuple[_StoredJob, FileResult]]:
        """Encode a chunk; picture by picture if ``tracked`` is its name.  ``fatal`` are keys not to be tried again."""
        jobs = [self._locations.job(key) for key, _ in chunk]
        errors: dict[str, Exception] = {key: error for key, error in chunk if error is not None}
        try:
            done = self._already_done([job.key for job in jobs if job.key not in errors])
        except VqcError as error:
            done, errors = set(), {job.key: error for job in jobs} | errors
        died = WorkerDied("the worker process died; it may have run out of memory")
        errors = dict.fromkeys(fatal - done, died) | errors
        remaining = [job for job in jobs if job.key not in errors and job.key not in done]
        results = self._task.run(self._codec, remaining) if tracked is None else self._one_by_one(remaining, tracked)
        for job in jobs:
            if job.key in errors:
                yield job, FileResult(job.source, job.output, errors[job.key])
            elif job.key in done:
                yield job, FileResult(job.source, job.output, skipped=True)
            else:
                yield job, next(results)

    def _already_done(self, keys: list[str]) -> set[str]:
        """Return the keys whose stream exists, from an earlier run or from a worker that died."""
        if self._locations.as_table:
            return {key for key, done in zip(keys, table.contains(self._finished, keys), strict=True) if done}
        streams = {key: stream_key(key) for key in keys}
        existing = self._locations.target.existing(list(streams.values()))
        return {key for key, stream in streams.items() if stream in existing}

    def _one_by_one(self, jobs: list[_StoredJob], chunk: str) -> Iterator[FileResult]:
        for job in jobs:
            ray.get(self._tracker.set_current.remote(chunk, job.key))
            (result,) = self._task.run(self._codec, [job])
            ray.get(self._tracker.set_current.remote(chunk, None))
            yield result


class _CrashTracker:
    """An actor that finds pictures which kill their worker, so that they are not tried forever.

    A chunk whose worker died is encoded again picture by picture; if the worker dies again, the picture that it was
    encoding is the cause.
    """

    def __init__(self) -> None:
        self._current: dict[str, str | None] = {}
        """Name of each chunk in progress -> key of the picture that is encoded on its own."""
        self._fatal: dict[str, set[str]] = {}
        """Name of each chunk in progress -> keys of the pictures that killed a worker."""

    def begin(self, chunk: str) -> tuple[bool, frozenset[str]]:
        """Return whether the chunk was begun before, and the keys of its pictures that must not be tried again."""
        again = chunk in self._current
        suspect = self._current.get(chunk)
        fatal = self._fatal.setdefault(chunk, set())
        if suspect is not None:
            fatal.add(suspect)
        self._current[chunk] = None
        return again, frozenset(fatal)

    def set_current(self, chunk: str, key: str | None) -> None:
        """Set the picture that the worker of a chunk encodes on its own, or None."""
        self._current[chunk] = key

    def end(self, chunk: str) -> None:
        """Forget a chunk that is done."""
        self._current.pop(chunk, None)
        self._fatal.pop(chunk, None)


def _write_part(batch: pa.Table, target: Storage) -> pa.Table:
    """Write results to a part of the table and return them without their streams."""
    passed_over = PassedOver.__name__
    done = [
        record
        for record in batch.to_pylist()
        if not record["skipped"] and not (record["error"] and record["error"]["kind"] == passed_over)
    ]
    table.Table(target).write(
        {
            "key": record["key"],
            "bytes": record["data"],
            "bpp": 8 * record["bytes"] / (record["width"] * record["height"]) if record["data"] else None,
            "error": record["error"] and record["error"]["text"],
        }
        for record in done
    )
    return batch.drop_columns(["data"]) if len(batch) else batch
