"""The public names: their modules, and what a type checker reports in a program that uses them."""

import ast
import importlib
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CORRECT = """
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

import vqcodec
from vqcodec import batch, distributed

array = np.zeros((8, 8, 3), np.uint8)
data: bytes = vqcodec.encode("photo.png")
data = vqcodec.encode(Path("photo.png"), 40, model="vqc-1")
data = vqcodec.encode(array, lossless=True)
image: Image.Image = vqcodec.decode(data, partial=True)
image = vqcodec.decode(BytesIO(data))
vqcodec.encode_file("photo.png", Path("photo.vqc"), quality=40.5, lossless=False)
vqcodec.decode_file("photo.vqc", "back.png")
info: vqcodec.StreamInfo = vqcodec.info("photo.vqc", model_path="weights.safetensors")
bpp: float = info.bpp
exact: bool = info.exact
models: list[vqcodec.ModelInfo] = vqcodec.models()
names: list[str] = [model.id for model in models]

codec = vqcodec.Codec("vqc-1", device="cpu")
options = vqcodec.ReadOptions(alpha="drop", metadata=frozenset({"icc"}))
data = codec.encode(image, 40, effort=2, max_pixels=0, options=options, lossless=None)
image = codec.decode(data)
image = codec.decode_preview(data)
image = codec.decode_region(data, vqcodec.Box(0, 0, 4, 4))
strips: list[Image.Image] = list(codec.decode_strips(data))
reached: vqcodec.Reached = codec.encode_to_goal("photo.png", vqcodec.Goal("psnr", 36.0), lossless=False)
decibels: float = reached.value
vqcodec.register_pillow(codec)


def streams(pictures: list[Path]) -> Iterator[bytes]:
    encoded: vqcodec.Encoded
    for encoded in codec.encode_batch(pictures, 40, lossless=True):
        if encoded.data is not None:
            yield encoded.data


def pictures(streams: list[bytes]) -> list[Image.Image]:
    decoded: list[vqcodec.Decoded] = list(codec.decode_batch(streams))
    return [one.image for one in decoded if one.image is not None]


try:
    codec.decode(b"")
except vqcodec.VqcError as error:
    print(error)
except vqcodec.VqcWarning as warning:
    print(warning)

folders = batch.FolderOptions(existing="skip", weights=batch.Weights(model="vqc-1"), workers=2)
results: list[batch.FileResult] = list(batch.encode_folder("photos", "streams", 40, folder_options=folders))
results += batch.encode_folder("drawings", "streams", lossless=True)
sizes: list[int] = [result.bytes for result in results]
results += batch.decode_folder("streams", "back", "png", folder_options=folders)

cluster = distributed.ClusterOptions(workers=2, as_table=True)
for result in distributed.encode_collection("s3://bucket/photos", "streams", lossless=False, cluster_options=cluster):
    print(result.source, result.error)
"""

WRONG = {
    "import vqcodec": None,
    "from vqcodec import batch, distributed": None,
    "codec = vqcodec.Codec()": None,
    "vqcodec.nonsense()": "attr-defined",
    "batch.nonsense()": "attr-defined",
    "codec.encode_nonsense(1)": "attr-defined",
    "vqcodec.encode(3)": "arg-type",
    'codec.encode("a.png", quality="high")': "arg-type",
    'codec.encode("a.png", speed=1)': "call-arg",
    'codec.encode("a.png", lossless="yes")': "arg-type",
    'codec.encode_to_goal("a.png", vqcodec.Goal("colour", 1.0))': "arg-type",
    'batch.FolderOptions(existing="keep")': "arg-type",
    'distributed.encode_collection("photos", "streams", cluster_options=batch.FolderOptions())': "arg-type",
    'text: str = vqcodec.encode("a.png")': "assignment",
    'size: str = vqcodec.info("a.vqc").bytes': "assignment",
    'for encoded in codec.encode_batch(["a.png"]): print(encoded.picture)': "attr-defined",
    'for result in batch.encode_folder("a", "b"): print(result.picture)': "attr-defined",
}
"""Line of a program -> code of its type error, None for a correct line."""

CONFIG = f"""
[mypy]
mypy_path = {ROOT}
python_version = 3.11
strict = true
follow_imports = silent

[mypy-torch.*,ray.*,pyarrow.*]
follow_imports = skip
"""


@pytest.fixture(scope="module")
def complaints(tmp_path_factory) -> dict[str, dict[int, str]]:
    """Run mypy on both programs: file -> line -> error code."""
    api = pytest.importorskip("mypy.api")
    folder = tmp_path_factory.mktemp("typing")
    programs = {"correct.py": CORRECT, "wrong.py": "\n".join(WRONG)}
    for name, text in {"mypy.ini": CONFIG, **programs}.items():
        (folder / name).write_text(text)
    arguments = [f"--config-file={folder / 'mypy.ini'}", f"--cache-dir={folder / 'cache'}"]
    output, crash, _ = api.run([*arguments, *(str(folder / name) for name in programs)])
    assert not crash, crash
    found: dict[str, dict[int, str]] = {name: {} for name in programs}
    for name, line, code in re.findall(r"(\w+\.py):(\d+): error: .*\[([\w-]+)\]$", output, re.MULTILINE):
        found[name][int(line)] = code
    return found


def test_a_correct_program_has_no_type_errors(complaints):
    assert complaints["correct.py"] == {}


def test_wrong_calls_and_results_are_type_errors(complaints):
    assert complaints["wrong.py"] == {line: code for line, code in enumerate(WRONG.values(), 1) if code}


@pytest.mark.parametrize("package", ["vqcodec", "vqcodec.batch", "vqcodec.distributed"])
def test_the_correct_program_uses_every_public_name(package):
    path = ROOT.joinpath(*package.split("."), "__init__.py")
    used = re.findall(rf"\b{package.split('.')[-1]}\.(\w+)", CORRECT)
    assert public_names(path) <= set(used)


@pytest.mark.parametrize("name", ["vqcodec", "vqcodec.batch"])
def test_lazy_names_agree(name):
    """``_HOME``, ``__all__`` and the imports for type checkers list the same names and modules."""
    package = importlib.import_module(name)
    path = Path(str(package.__file__))
    body = ast.parse(path.read_text(encoding="utf-8")).body
    checkers = [
        n for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" for n in node.body
    ]
    lazy = imported_names(checkers)
    eager = {name for name, home in imported_names(body).items() if home.startswith("vqcodec.")}
    assert lazy == package._HOME
    assert public_names(path) == set(package.__all__) == {*lazy, *eager}
    assert package.__all__ == sorted(package.__all__)
    assert {*package.__all__} <= {*dir(package)}
    for public, home in lazy.items():
        assert getattr(package, public) is getattr(importlib.import_module(home), public)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = package.nonsense


def public_names(path: Path) -> set[str]:
    """Return ``__all__`` of a module without importing it."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    (names,) = (n.value for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__")
    return set(ast.literal_eval(names))


def imported_names(statements: Iterable[ast.stmt]) -> dict[str, str]:
    """Return the names of ``from MODULE import NAME`` statements with their modules."""
    imports = [node for node in statements if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}
