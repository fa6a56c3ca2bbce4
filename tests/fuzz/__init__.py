"""Coverage-guided fuzzing: ``bin/fuzz TARGET [SECONDS]``; docs/FUZZING.md lists the runs.

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
    "container": ("vqcodec.stream.container",),
    "coder": (
        "vqcodec.coding.symbols",
        "vqcodec.coding.slice_symbols",
        "vqcodec.coding.rans",
        "vqcodec.outer_points",
        "tests.support.independent_decoder",
    ),
    "frequencies": ("vqcodec.coding.frequencies", f"{__name__}.frequencies"),
    "sections": (
        "vqcodec.stream.planes",
        "vqcodec.stream.metadata",
        "PIL.ImageFile",
        "PIL.PngImagePlugin",
        "PIL.WebPImagePlugin",
    ),
    "decode": (
        "vqcodec.stream.container",
        "vqcodec.codec.codec",
        "vqcodec.codec.decoder",
        "vqcodec.codec.exact",
        "vqcodec.coding",
        "vqcodec.outer_points",
        "vqcodec.stream.metadata",
        "vqcodec.stream.planes",
        "vqcodec.codec.tiles",
        "vqcodec.pillow_plugin",
    ),
    "picture": (
        "vqcodec.images.reading",
        "vqcodec.images.modes",
        "vqcodec.images.metadata",
        "PIL",
    ),
    "carry": ("vqcodec.images", "PIL"),
    "variants": ("vqcodec.images", "PIL"),
    "commandline": (
        "vqcodec.cli.main",
        "vqcodec.cli.options",
        "vqcodec.batch.jobs",
        "vqcodec.cli.console",
        "vqcodec.files",
        "vqcodec.batch.tasks",
        "click",
    ),
}
"""Target name -> modules whose branches guide the fuzzer."""


def load(name: str) -> ModuleType:
    """Import the module of a target."""
    return importlib.import_module(f"{__name__}.{name}")
