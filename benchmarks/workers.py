"""Worker processes with a fixed number of threads."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch


def worker_pool(jobs: int, threads: int) -> ProcessPoolExecutor:
    """Return a pool of ``jobs`` processes of ``threads`` threads each, started on first use."""
    for library in ("OMP", "OPENBLAS", "MKL"):  # the workers read them when they load numpy and torch
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    # Spawned, not forked: torch's thread pools do not survive a fork.
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare, initargs=(threads,))


def _prepare(threads: int) -> None:
    torch.set_num_threads(threads)
    # The parent handles an interrupt from the keyboard: it waits for the running measurements, then stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
