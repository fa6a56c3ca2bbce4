"""Payloads of lossless planes and metadata: planes of the right shape, or metadata, or a refusal."""

import zlib
from collections.abc import Iterator

import numpy as np

from vqcodec.errors import MalformedStream
from vqcodec.stream.container import Section, SectionKind
from vqcodec.stream.metadata import MAX_BYTES, METADATA_KINDS, Metadata, read_metadata, write_metadata
from vqcodec.stream.planes import read_planes, write_planes

ALLOWED = (MalformedStream,)
KINDS = (SectionKind.ICC, SectionKind.EXIF, SectionKind.XMP)


def check(data: bytes) -> None:
    """Decode one section: the first byte selects its kind, two more the size of the planes."""
    if len(data) < 3:
        return
    which, width, height = data[0], 1 + data[1] % 32, 1 + data[2] % 32
    payload = data[3:]
    if which % 4 == 3:
        _check_planes(
            payload, (height, width, 3)[: 3 if which & 4 else 2], least=payload[0] if which & 8 and payload else 0
        )
    else:
        _check_metadata(payload, which % 4)


def _check_planes(payload: bytes, shape: tuple[int, ...], least: int) -> None:
    planes = np.resize(np.frombuffer(payload + b"\0", np.uint8), shape)
    _check_round_trip(planes, least)
    try:
        planes = read_planes(payload, shape, "alpha", least)
    except ALLOWED:
        return
    assert planes.shape == shape and planes.dtype == np.uint8 and len(payload) >= least
    _check_round_trip(planes, least)


def _check_round_trip(planes: np.ndarray, least: int) -> None:
    payload = write_planes(planes, least=least)
    assert len(payload) >= least
    np.testing.assert_array_equal(read_planes(payload, planes.shape, "alpha", least), planes)


def _check_metadata(payload: bytes, kind: int) -> None:
    written = Metadata(**{METADATA_KINDS[kind]: payload})
    assert read_metadata(write_metadata(written)) == written
    try:
        found = read_metadata([Section(KINDS[kind], 0, payload)])
    except ALLOWED:
        return
    content = getattr(found, METADATA_KINDS[kind])
    assert len(content) <= MAX_BYTES and zlib.decompress(payload, -zlib.MAX_WBITS) == content
    assert found == Metadata(**{METADATA_KINDS[kind]: content})


def seeds() -> Iterator[bytes]:
    """Yield planes of every coder and metadata of every kind."""
    rng = np.random.default_rng(0)
    flat, noise = np.full((5, 7), 9, np.uint8), rng.integers(0, 256, (5, 7), np.uint8)
    for plane in (flat, noise, np.repeat(noise, 3, 1)):
        yield bytes([3, plane.shape[1] - 1, plane.shape[0] - 1]) + write_planes(plane)
        yield bytes([7, plane.shape[1] - 1, plane.shape[0] - 1]) + write_planes(np.dstack([plane, plane // 2, plane]))
    yield bytes([11, 6, 4]) + write_planes(flat, least=9)
    yield bytes([3, 6, 4]) + b"\1" + _file(noise, "PNG")
    yield bytes([3, 6, 4]) + b"\2" + _file(np.dstack([noise] * 3), "WEBP", lossless=True)
    for kind, name in enumerate(METADATA_KINDS):
        for content in (b"x", b"<x:xmpmeta>" * 30, bytes(100_000)):
            yield bytes([kind, 0, 0]) + write_metadata(Metadata(**{name: content}))[0].payload


def _file(plane, format, **options) -> bytes:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.fromarray(plane).save(file, format, **options)
    return file.getvalue()
