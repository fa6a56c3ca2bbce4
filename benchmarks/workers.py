"""Processes that measure: spawned afresh, with as many threads as they were given and no more."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch


def worker_pool(jobs: int, threads: int) -> ProcessPoolExecutor:
    """``jobs`` processes of ``threads`` threads each, started when they are first needed."""
    for library in ("OMP", "OPENBLAS", "MKL"):  # read by the workers when they load numpy and torch
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    # Spawned, not forked: torch's thread pools do not survive a fork.
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare, initargs=(threads,))


def _prepare(threads: int) -> None:
    torch.set_num_threads(threads)
    # An interrupt from the keyboard is the parent's to handle: it waits for what is being measured, then stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
