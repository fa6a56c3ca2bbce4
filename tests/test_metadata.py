"""ICC profile, EXIF and XMP are kept byte for byte, from and to every format that can hold them."""

import io
import warnings
import zlib

import pytest
from PIL import ExifTags, Image

from vqcodec.errors import MalformedStream, VqcWarning
from vqcodec.images import formats
from vqcodec.images.metadata import attach, from_image
from vqcodec.stream import metadata as stream_metadata
from vqcodec.stream.container import Section, SectionKind
from vqcodec.stream.metadata import Metadata, read_metadata, write_metadata


def exif() -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = "a camera"
    tags[ExifTags.Base.Orientation] = 6
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return tags.tobytes().removeprefix(b"Exif\0\0")


EVERYTHING = Metadata(icc=b"profile" * 50, exif=exif(), xmp=b"<x:xmpmeta>\xc3\xa4</x:xmpmeta>")


@pytest.mark.parametrize("content", [Metadata(), EVERYTHING, Metadata(xmp=b"x"), Metadata(icc=bytes(100_000))])
def test_sections_round_trip(content):
    sections = write_metadata(content)
    assert read_metadata(sections) == content
    assert [s.kind for s in sections] == sorted((s.kind for s in sections), key=lambda kind: kind.value)


def test_sections_are_compressed():
    (section,) = write_metadata(Metadata(icc=bytes(100_000)))
    assert len(section.payload) < 200


@pytest.mark.parametrize("payload", [b"", b"nonsense", zlib.compress(b"with a header")])
def test_damaged_sections(payload):
    with pytest.raises(MalformedStream, match="section 'xmp'"):
        read_metadata([Section(SectionKind.XMP, 0, payload)])


def test_bytes_after_the_end():
    (section,) = write_metadata(Metadata(exif=b"data"))
    with pytest.raises(MalformedStream, match="does not end"):
        read_metadata([Section(SectionKind.EXIF, 0, section.payload + b"!")])


def test_sections_that_unpack_to_too_much(monkeypatch):
    sections = write_metadata(Metadata(xmp=bytes(1001)))
    monkeypatch.setattr(stream_metadata, "MAX_BYTES", 1000)
    with pytest.raises(MalformedStream, match="more than 1000 bytes"):
        read_metadata(sections)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_files_give_and_take_all(format):
    image = Image.new("RGB", (8, 6), "teal")
    attach(image, EVERYTHING)
    with Image.open(io.BytesIO(formats.image_bytes(image, format))) as back:
        found = from_image(back)
    assert (found.icc, found.xmp) == (EVERYTHING.icc, EVERYTHING.xmp)
    if format == "AVIF":  # its writer keeps the orientation elsewhere, so the directory is written anew
        assert meaning(found.exif) == meaning(EVERYTHING.exif)
    else:
        assert found.exif == EVERYTHING.exif


def meaning(data: bytes) -> tuple:
    tags = Image.Exif()
    tags.load(data)
    sub = [tags.get_ifd(kind) for kind in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)]
    return {k: v for k, v in tags.items() if k not in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)}, *sub


def test_tiff_keeps_what_is_not_about_its_pixels():
    image = Image.new("RGB", (8, 6), "teal")
    attach(image, EVERYTHING)
    with Image.open(io.BytesIO(formats.image_bytes(image, "TIFF"))) as back:
        back.load()
        assert back.size == (6, 8)  # Pillow turns a TIFF by itself
        found = from_image(back)
    tags, *sub = meaning(EVERYTHING.exif)
    del tags[ExifTags.Base.Orientation]
    assert meaning(found.exif) == (tags, *sub)
    assert (found.icc, found.xmp) == (EVERYTHING.icc, EVERYTHING.xmp)


def test_plain_tiff_has_no_exif():
    with Image.open(io.BytesIO(formats.image_bytes(Image.new("L", (2, 2)), "TIFF"))) as back:
        back.load()
        assert from_image(back) == Metadata()


@pytest.mark.parametrize("format", ["PPM", "BMP", "TGA"])
def test_formats_that_hold_none(format):
    image = Image.new("RGB", (8, 6))
    attach(image, EVERYTHING)
    with pytest.warns(VqcWarning, match=f"^{format} cannot hold the ICC profile, EXIF data, XMP data$"):
        data = formats.image_bytes(image, format)
    with Image.open(io.BytesIO(data)) as back:
        assert from_image(back) == Metadata()


@pytest.mark.parametrize("format", ["TIFF", "AVIF"])
def test_damaged_exif_is_left_out_where_it_would_be_read(format):
    image = Image.new("RGB", (8, 6))
    attach(image, Metadata(exif=b"junk", xmp=b"<x/>"))
    with pytest.warns(VqcWarning, match=f"^damaged EXIF data is left out: {format} cannot hold it$"):
        data = formats.image_bytes(image, format)
    with Image.open(io.BytesIO(data)) as back:
        assert from_image(back).xmp == b"<x/>"


def test_metadata_too_long_for_a_jpeg():
    image = Image.new("RGB", (8, 6))
    attach(image, Metadata(exif=bytes(70_000), xmp=b"short"))
    with pytest.warns(VqcWarning, match="the EXIF data is too long for JPEG"):
        data = formats.image_bytes(image, "JPEG")
    with Image.open(io.BytesIO(data)) as back:
        assert from_image(back) == Metadata(xmp=b"short")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_formats_without_alpha_get_a_white_ground(mode):
    clear = Image.new(mode, (4, 4), (9, 0) if mode == "LA" else (9, 9, 9, 0))
    with pytest.warns(VqcWarning, match="JPEG cannot hold alpha"):
        data = formats.image_bytes(clear, "JPEG")
    with Image.open(io.BytesIO(data)) as back:
        assert back.mode == mode[:-1] and back.convert("L").getextrema()[0] > 250
    opaque = Image.new(mode, (4, 4), (9, 255) if mode == "LA" else (9, 9, 9, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("error", VqcWarning)
        formats.image_bytes(opaque, "JPEG")
    for format in ("PNG", "TIFF", "WEBP", "JPEG2000"):
        with Image.open(io.BytesIO(formats.image_bytes(clear, format))) as back:
            assert "A" in back.getbands()
