"""Chunks in several processes: results in order, an error per item, no process or file left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vqcodec.concurrency.processes import map_in_processes
from vqcodec.errors import WorkerDied

_offset = 0


def prepare(offset: int = 0) -> None:
    global _offset
    _offset = offset


def work(chunk):
    """Return the numbers with the offset added; some items raise, sleep, or kill the process."""
    for item in chunk:
        if item == "die":
            os._exit(9)
        if item == "raise":
            raise ValueError("no")
        if isinstance(item, Path):
            sleep_at(item)
    return [item + _offset for item in chunk]


def sleep_at(path: Path) -> None:
    """Create a file, sleep, and delete the file when interrupted."""
    path.touch()
    try:
        time.sleep(600)
    finally:
        path.unlink()


def wait_for(condition) -> None:
    """Wait for a condition, at most a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_results_are_in_order():
    chunks = [[i, i + 1] for i in range(0, 20, 2)]
    assert list(map_in_processes(work, chunks, 2, prepare, (100,))) == [(i, 100 + i) for i in range(20)]


def test_chunks_are_taken_when_needed():
    taken = []

    def chunks():
        for i in range(100):
            taken.append(i)
            yield [i]

    results = map_in_processes(work, chunks(), 1, prepare)
    assert next(results) == (0, 0) and len(taken) < 10
    results.close()


def test_error_fails_only_its_chunk():
    results = list(map_in_processes(work, [[1], ["raise", 2], [3]], 2, prepare))
    assert [str(result) for _, result in results] == ["1", "no", "no", "3"]


def test_dying_process_fails_only_the_item_that_killed_it():
    results = list(map_in_processes(work, [[1, 2], [3, "die", 4], [5], [6], [7], [8], [9]], 1, prepare))
    assert [item for item, _ in results] == [1, 2, 3, "die", 4, 5, 6, 7, 8, 9]
    assert all(result == item for item, result in results if item != "die")
    assert isinstance(results[3][1], WorkerDied)


def test_closing_ends_the_processes(tmp_path):
    results = map_in_processes(work, [[1], [tmp_path / "a"]], 1, prepare)
    assert next(results) == (1, 1)
    wait_for((tmp_path / "a").exists)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 60 and os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    "number, all_of_them",
    [
        (signal.SIGINT, True),
        (signal.SIGINT, False),
        (signal.SIGHUP, True),
        (signal.SIGTERM, True),
        (signal.SIGKILL, False),
    ],
)
def test_interrupts_leave_nothing_behind(tmp_path, number, all_of_them):
    """A keyboard interrupt reaches all processes; SIGKILL only the parent, which cannot forward it."""
    program = (
        "import signal\nfrom pathlib import Path\nfrom tests.test_processes import prepare, work\n"
        "from vqcodec.concurrency.processes import map_in_processes\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background does not have\n"
        f"    a, b = Path({str(tmp_path / 'a')!r}), Path({str(tmp_path / 'b')!r})\n"
        "    list(map_in_processes(work, [[a], [b]], 2, prepare))\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as parent:
        wait_for(lambda: {"a", "b"} <= set(os.listdir(tmp_path)) or parent.poll() is not None)
        assert parent.poll() is None, parent.communicate()[1]
        (os.killpg if all_of_them else os.kill)(parent.pid, number)
        said = parent.communicate(timeout=60)[1]  # returns when no process holds the pipe
    assert parent.returncode == -number
    assert said.count("Traceback") == (number == signal.SIGINT)  # only the parent's KeyboardInterrupt
    wait_for(lambda: os.listdir(tmp_path) == ["program.py"])
