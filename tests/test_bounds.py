"""Files of at most 64 bytes cost next to nothing, whatever they ask for."""

import json
import subprocess
import sys


def test_tiny_files_are_cheap(tiny_weights):
    program = [sys.executable, "-m", "tests.bounds", tiny_weights, "16"]
    told = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    assert told["files"] > 20 and told["decoded"] > 0
    assert told["megabytes"] < 100, told["worst"]
    assert told["ordinary"] < 12, told["worst"]
