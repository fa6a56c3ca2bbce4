"""ICC profile, EXIF and XMP are kept byte for byte, from and to every format that can hold them."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.support import builders
from vqcodec.codec.tiles import Box
from vqcodec.errors import MalformedStream, VqcWarning
from vqcodec.images import formats
from vqcodec.images.metadata import attach, from_image
from vqcodec.images.reading import ReadOptions, read_picture
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


STRUCTURAL = {
    256: (builders.LONG, [40]),
    257: (builders.LONG, [30]),
    258: (builders.SHORT, [16]),
    259: (builders.SHORT, [7]),
    262: (builders.SHORT, [6]),
    266: (builders.SHORT, [2]),
    273: (builders.LONG, [8]),
    277: (builders.SHORT, [1]),
    278: (builders.LONG, [3]),
    279: (builders.LONG, [5]),
    284: (builders.SHORT, [2]),
    317: (builders.SHORT, [2]),
    320: (builders.SHORT, [1] * 6),
    322: (builders.SHORT, [16]),
    323: (builders.SHORT, [16]),
    324: (builders.LONG, [8]),
    330: (builders.LONG, [8]),
    338: (builders.SHORT, [2]),
    339: (builders.SHORT, [3]),
    530: (builders.SHORT, [2, 2]),
    33421: (builders.SHORT, [2, 2]),
    34675: (builders.UNDEFINED, b"another profile"),
    50706: (builders.BYTE, [1, 4, 0, 0]),
}
"""Tags that describe the pixels of another file."""


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", [None, 6])
def test_nothing_in_exif_data_describes_the_pixels_of_a_tiff(order, orientation):
    tags = {**STRUCTURAL, 271: (builders.ASCII, b"camera\0"), 33432: (builders.ASCII, b"me\0")}
    if orientation:
        tags[274] = (builders.SHORT, [orientation])
    for image in (Image.fromarray(builders.quarters(32)), Image.new("L", (30, 20), 9), Image.new("RGBA", (5, 4), 3)):
        attach(image, Metadata(exif=builders.exif(tags, order), xmp=b"<x/>"))
        data = formats.image_bytes(image, "TIFF")
        with Image.open(io.BytesIO(data)) as back:
            back.load()
            assert back.size == (image.size[::-1] if orientation else image.size) and back.mode == image.mode
            plain = back.transpose(Image.Transpose.ROTATE_90) if orientation else back
            np.testing.assert_array_equal(np.asarray(plain), np.asarray(image))
            assert (back.getexif()[271], back.getexif()[33432]) == ("camera", "me")
            assert not {34675, 33421, 50706, 339} & set(back.tag_v2)
        picture = read_picture(io.BytesIO(data), options=ReadOptions(strict=True))
        assert picture.metadata.xmp == b"<x/>"


@pytest.mark.parametrize("format", ["TIFF", "AVIF", "PNG", "WEBP", "JPEG"])
def test_odd_tags_are_written_and_read_again(format):
    """Tag 296 holds 70000, which Pillow cannot write; its own reader still opens the file."""
    odd = builders.exif(
        {271: (builders.ASCII, b"camera\0"), 274: (builders.SHORT, [6]), 296: (builders.LONG, [70_000])}
    )
    image = Image.fromarray(builders.quarters(32))
    attach(image, Metadata(exif=odd))
    data = formats.image_bytes(image, format)
    with Image.open(io.BytesIO(data)) as back:
        assert back.getexif()[271] == "camera"
    tags = Image.Exif()
    tags.load(read_picture(io.BytesIO(data), options=ReadOptions(strict=True)).metadata.exif)
    assert (tags[271], tags[296]) == ("camera", 70_000)


def test_damaged_tags_cost_only_themselves():
    exif = bytearray(builders.exif({271: (builders.ASCII, b"camera\0"), 305: (builders.ASCII, b"a program\0")}))
    at = exif.index(struct.pack("<HHI", 305, 2, 10)) + 8
    exif[at : at + 4] = struct.pack("<I", 1 << 30)
    image = Image.fromarray(builders.quarters(16))
    attach(image, Metadata(exif=bytes(exif)))
    with pytest.warns(VqcWarning, match="^EXIF tag 305 is damaged and is left out: TIFF cannot hold it$"):
        data = formats.image_bytes(image, "TIFF")
    with Image.open(io.BytesIO(data)) as back:
        assert dict(back.getexif())[271] == "camera"


def test_a_profile_too_long_for_a_jpeg_costs_only_itself():
    image = Image.fromarray(builders.quarters(16))
    attach(image, Metadata(icc=bytes(17_000_000), exif=b"x", xmp=b"<x/>"))
    with pytest.warns(VqcWarning, match="the ICC profile is too long for JPEG"):
        data = formats.image_bytes(image, "JPEG")
    assert read_picture(io.BytesIO(data)).metadata == Metadata(exif=b"x", xmp=b"<x/>")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_large_profile_there_and_back(format):
    large = builders.profile("Large", 2.2, pad=1_100_000)
    image = Image.fromarray(builders.quarters(16))
    attach(image, Metadata(icc=large))
    assert read_picture(io.BytesIO(formats.image_bytes(image, format))).metadata.icc == large


def test_what_a_writer_refuses_costs_only_itself(monkeypatch):
    from PIL import PngImagePlugin

    monkeypatch.setattr(PngImagePlugin.PngInfo, "add_itxt", lambda self, *_: setattr(self, "chunks", None))
    image = Image.fromarray(builders.quarters(16))
    attach(image, Metadata(icc=builders.profile("p"), xmp=b"<x/>"))
    with pytest.warns(VqcWarning, match="metadata is left out .pnginfo."):
        data = formats.image_bytes(image, "PNG")
    assert read_picture(io.BytesIO(data)).metadata == Metadata(icc=builders.profile("p"))


def test_xmp_that_is_no_text_is_told():
    image = Image.fromarray(builders.quarters(16))
    attach(image, Metadata(xmp=b"<x>\xff</x>"))
    with pytest.warns(VqcWarning, match="no text in UTF-8"):
        formats.image_bytes(image, "PNG")


def test_a_region_has_its_own_size(tiny_codec):
    """The same holds for the sizes in the directory of EXIF below."""
    sub = struct.pack("<HHHIIHHII", 2, 40962, 4, 1, 96, 40963, 4, 1, 64) + bytes(4)
    exif = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 34665, 4, 1, 26) + bytes(4) + sub
    image = Image.new("RGB", (32, 24))
    attach(image, Metadata(exif=exif))
    with Image.open(io.BytesIO(formats.image_bytes(image, "TIFF"))) as back:
        below = back.getexif().get_ifd(ExifTags.IFD.Exif)
        assert (below[40962], below[40963]) == (32, 24)
    tags = {256: (builders.SHORT, [96]), 257: (builders.SHORT, [64]), 274: (builders.SHORT, [6])}
    data = tiny_codec.encode(io.BytesIO(builders.jpeg(builders.quarters(96)[:64], builders.exif_segment(tags))))
    part = formats.image_bytes(tiny_codec.decode_region(data, Box(16, 8, 32, 24)), "TIFF")
    with Image.open(io.BytesIO(part)) as image:
        image.load()
        assert image.size == (24, 32)  # Pillow turns it
