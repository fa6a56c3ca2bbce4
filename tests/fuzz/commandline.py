"""Arguments -> exit code, in a scratch folder, with a fake codec: one of three codes, never a traceback.

An input is arguments, each ended by a zero byte.  What would leave the folder, train, or start processes is left out.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner
from PIL import Image

import vqcodec
from tests.support.fake_codec import FakeCodec
from vqcodec.cli import main
from vqcodec.stream.container import Header, Layout, Section, SectionKind, write_stream

ALLOWED: tuple[type[Exception], ...] = ()
"""No exception: the program turns every error into one line and an exit code."""
STREAM = write_stream(Header(bytes(8), 3, 1, Layout.RGB, 5, 6), [Section(SectionKind.LEVEL_0, 0, bytes(9))])
ENTRIES = ("photo.png", "photo.vqc", "bad.vqc", "folder")
TOLD = ("Traceback", "internal error")


def check(data: bytes) -> None:
    """Check the exit code and its messages; sources stay unchanged unless -f names them."""
    arguments = [part for part in data.decode("utf-8", "surrogateescape").split("\0") if part][:8]
    if any(map(_leads_away, arguments)):
        return
    with _scratch(), _stand_in():
        result = CliRunner().invoke(main.main, arguments, prog_name="vqcodec", input=STREAM)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code in (0, 1, 2), result.exit_code
        verbose = any(part.startswith("-") and part.count("v") >= 2 for part in arguments) or arguments.count("-v") >= 2
        assert not any(word in result.stderr for word in TOLD[: 1 - verbose] + TOLD[1:]), result.stderr
        assert (result.exit_code == 0) or result.stderr, "failed without a word"
        left = [name for _, _, names in os.walk(".") for name in names if name.startswith(".vqcodec-")]
        assert not left, "a temporary file was left behind"


def _leads_away(argument: str) -> bool:
    forbidden = ("train", "demo", "-j", "--j")
    value = argument.partition("=")[2]
    return (
        ".." in argument
        or argument.startswith(("/", *forbidden))
        or value.startswith("/")
        or (argument.startswith("-") and ("/" in argument or "j" in argument))
    )


@contextlib.contextmanager
def _scratch() -> Iterator[None]:
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Image.new("RGB", (3, 1), "teal").save("photo.png")
            Path("photo.vqc").write_bytes(STREAM)
            Path("bad.vqc").write_bytes(STREAM[:-1])
            Path("folder").mkdir()
            Path("folder/one.vqc").write_bytes(STREAM)
            yield
        finally:
            os.chdir(before)


@contextlib.contextmanager
def _stand_in() -> Iterator[None]:
    before = vars(vqcodec).get("Codec")
    vars(vqcodec)["Codec"] = FakeCodec
    FakeCodec.calls.clear()
    try:
        yield
    finally:
        if before is None:
            del vars(vqcodec)["Codec"]
        else:
            vars(vqcodec)["Codec"] = before


def seeds() -> Iterator[bytes]:
    """Yield calls from the guide, and wrong ones."""
    for line in (
        "encode photo.png out.vqc",
        "encode -q 70 --strip photo.png photo.png folder",
        "encode -r -f folder out --metadata icc,exif --auto-orient --strict",
        "encode --target-size 20k photo.png out.vqc --json",
        "encode --target-psnr 36 --max-pixels 0 photo.png out.vqc",
        "encode --alpha blend --background #123 photo.png - --quiet",
        "decode photo.vqc out.png",
        "decode -r . out --format jpg -v",
        "decode --region 0,0,2,1 photo.vqc out.webp --no-progress",
        "decode --preview - - --format ppm",
        "decode bad.vqc photo.vqc out.tif --skip-existing",
        "info photo.vqc bad.vqc --json",
        "verify photo.vqc bad.vqc folder - --device cpu",
        "completion bash",
        "encode --help",
        "--version",
        "models --model nosuch",
    ):
        yield "".join(f"{word}\0" for word in line.split()).encode()
