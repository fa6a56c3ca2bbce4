"""The program starts quickly, and the same way as a module and as a command."""

import importlib.metadata
import resource
import statistics
import subprocess
import sys

import pytest


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["encode", "-h"], ["models", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    program = (
        "import sys\nfrom vqcodec.cli.main import main\n"
        f"main({arguments}, standalone_mode=False)\n"
        "assert not {'torch', 'PIL', 'numpy', 'skimage', 'constriction'} & set(sys.modules)"
    )
    assert python("-c", program).stdout


def test_help_is_fast():
    """Measure the child's CPU time, which does not depend on other load."""

    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    seconds = []
    for _ in range(5):
        start = spent()
        python("-m", "vqcodec", "--help")
        seconds.append(spent() - start)
    assert statistics.median(seconds) < 0.3


def test_module_and_command_are_one_program():
    version = importlib.metadata.version("vqcodec")
    assert python("-m", "vqcodec", "--version").stdout == f"vqcodec {version}\n"


def test_closed_standard_output_is_reported():
    told = subprocess.run(["sh", "-c", '"$0" -m vqcodec models >&-', sys.executable], capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (1, "vqcodec: standard output is closed\n")
