"""Coverage-guided fuzzing: ``bin/fuzz TARGET [SECONDS]``; docs/FUZZING.md tells what was run.

A target is a module of this package.  None needs the fuzzer itself, so ``tests/test_fuzz.py`` runs each a little:

* ``ALLOWED``: the exceptions that may answer an input; everything else that is raised is a find;
* ``check(data)``: feeds bytes to the code and asserts what must hold then;
* ``seeds()``: inputs to start from;
* ``mutate(data, change, rng)``, where there is one: a changed input, its checksums right; ``change`` is the fuzzer's
  own mutation of bytes.
"""

import importlib
from types import ModuleType

TARGETS: dict[str, tuple[str, ...]] = {
    "container": ("vqcodec.bitstream",),
    "coder": ("vqcodec.coding.ports", "vqcodec.coding.rans", "tests.independent_decoder"),
    "frequencies": ("vqcodec.coding.frequencies", f"{__name__}.frequencies"),
    "sections": ("vqcodec.alpha", "vqcodec.metadata", "PIL.ImageFile", "PIL.PngImagePlugin", "PIL.WebPImagePlugin"),
    "decode": (
        "vqcodec.bitstream",
        "vqcodec.codec",
        "vqcodec.decoder",
        "vqcodec.coding",
        "vqcodec.metadata",
        "vqcodec.alpha",
        "vqcodec.tiles",
        "vqcodec.pillow_plugin",
    ),
    "picture": ("vqcodec.image", "vqcodec.modes", "vqcodec.metadata", "vqcodec.alpha", "PIL"),
    "commandline": (
        "vqcodec.cli",
        "vqcodec.options",
        "vqcodec.plan",
        "vqcodec.console",
        "vqcodec.files",
        "vqcodec.batch",
        "click",
    ),
}
"""Name of each target, and the modules whose branches guide the fuzzer."""


def load(name: str) -> ModuleType:
    """The module of a target."""
    return importlib.import_module(f"{__name__}.{name}")
