"""What picture files say beside their pixels: metadata kept or told, colours, depths, frames."""

import io
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.support import builders
from tests.support.odd_files import CAMERA, RAMP, RGB, XMP, XMP_UUID, cut_in_the_second_frame, long_xmp
from vqcodec.errors import LossRefused
from vqcodec.images import exif as exif_data
from vqcodec.images import ifd
from vqcodec.images.modes import Remark, is_srgb
from vqcodec.images.reading import Picture, ReadOptions, read_picture, to_pil

STRIP = ReadOptions(metadata=frozenset())
STRICT = ReadOptions(strict=True)
EXIF = builders.exif(CAMERA)


def read(data: bytes, options: ReadOptions | None = None) -> Picture:
    """Read a file; no library may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_picture(io.BytesIO(data), options=options or ReadOptions())


def told(picture: Picture) -> list[str]:
    return [remark.text for remark in picture.remarks if remark.loses]


def colour(data: bytes, options: ReadOptions = STRIP) -> tuple[int, ...]:
    return tuple(int(value) for value in read(data, options).pixels[0, 0])


def flat(*values: int) -> np.ndarray:
    return np.full((16, 16, 3), values, np.uint8)


# Metadata


def jp2_of(*boxes: tuple[bytes, bytes]) -> bytes:
    return builders.jp2(RAMP, *(builders.box(b"uuid", mark + content) for mark, content in boxes))


RESOURCES = builders.resource(1058, EXIF) + builders.resource(1060, XMP)


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (builders.jpeg(RAMP, (0xE1, b"Exif\0\0" + EXIF)), (EXIF, b"")),
        (builders.png(RAMP, (b"eXIf", EXIF), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)), (EXIF, XMP)),
        (builders.png(RAMP, builders.raw_profile(b"exif", b"Exif\0\0" + EXIF)), (EXIF, b"")),
        (builders.png(RAMP, builders.raw_profile(b"APP1", b"Exif\0\0" + EXIF)), (EXIF, b"")),
        (builders.png(RAMP, builders.raw_profile(b"xmp", XMP)), (b"", XMP)),
        (jp2_of((b"JpgTiffExif->JP2", EXIF), (XMP_UUID, XMP)), (EXIF, XMP)),
        (builders.gif(RAMP, b"XMP DataXMP", builders.gif_xmp(XMP)), (b"", XMP)),
        (builders.psd((0, 200, 0), resources=RESOURCES), (EXIF, XMP)),
        (builders.saved(RAMP, "WEBP", exif=EXIF, xmp=XMP), (EXIF, XMP)),
        (builders.avif(RAMP, exif=EXIF, xmp=XMP), (None, XMP)),
    ],
    ids=["jpeg", "png", "png-exif-text", "png-app1-text", "png-xmp-text", "jp2", "gif", "psd", "webp", "avif"],
)
def test_exif_and_xmp_are_found_in_every_container(data, kept):
    picture = read(data, STRICT)
    assert picture.metadata.xmp == kept[1]
    if kept[0] is not None:
        assert picture.metadata.exif == kept[0]
    if kept[0] != b"":
        tags = to_pil(picture).getexif()
        assert (tags[ExifTags.Base.Make], tags[ExifTags.Base.Orientation]) == ("camera", 6)


def test_the_orientation_is_applied_in_every_container():
    for data in (
        builders.png(RAMP, builders.raw_profile(b"exif", EXIF)),
        jp2_of((b"JpgTiffExif->JP2", EXIF)),
        builders.avif(RAMP, exif=EXIF),
        builders.jpeg(RAMP, (0xE1, b"Exif\0\0" + EXIF)),
    ):
        upright = read(data, ReadOptions(auto_orient=True))
        assert upright.pixels.shape == (64, 48, 3)
        assert np.abs(upright.pixels - np.rot90(RAMP, -1).astype(int)).mean() < 5
        tags = to_pil(upright).getexif()
        assert tags[ExifTags.Base.Make] == "camera" and ExifTags.Base.Orientation not in tags


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_as_pillow_does(orientation):
    from PIL import ImageOps

    file = io.BytesIO()
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    Image.fromarray(RAMP).save(file, "PNG", exif=tags)
    upright = read(file.getvalue(), ReadOptions(auto_orient=True))
    with Image.open(file) as image:
        np.testing.assert_array_equal(upright.pixels, np.asarray(ImageOps.exif_transpose(image)))
    turned = read(builders.tiff(builders.page(RAMP, t274=orientation)))
    np.testing.assert_array_equal(turned.pixels, upright.pixels)  # readers of TIFF turn it by themselves


def test_extended_xmp_is_joined():
    main, extension, guid = long_xmp()
    data = builders.jpeg(RGB, *builders.extended_xmp(main, extension, guid))
    found = read(data, STRICT).metadata.xmp
    assert b"END-OF-EXTENSION" in found and b"HasExtendedXMP" not in found
    for segments in (
        builders.extended_xmp(main, extension, guid)[:-1],
        builders.extended_xmp(main, extension, guid)[:1],
        builders.extended_xmp(main, b"no XML", guid),
        builders.extended_xmp(main, extension, b"0" * 32),
        builders.extended_xmp(main, extension.replace(b"<rdf:Description", b"<a>" * 3000 + b"<rdf:Description"), guid),
    ):
        picture = read(builders.jpeg(RGB, *segments))
        assert picture.metadata.xmp == main
        assert told(picture) == ["the second part of the XMP data (extended XMP) cannot be read and is not kept"]


def test_exif_data_go_on_in_the_next_segment():
    long = builders.exif({**CAMERA, 270: (builders.ASCII, b"x" * 80_000 + b"\0")})
    parts = [(0xE1, b"Exif\0\0" + long[at : at + 60_000]) for at in (0, 60_000)]
    assert read(builders.jpeg(RGB, *parts), STRICT).metadata.exif == long
    two = builders.jpeg(RGB, *[(0xE1, b"Exif\0\0" + EXIF)] * 2)
    assert told(read(two)) == ["only the first of several blocks of EXIF data is kept"]


@pytest.mark.parametrize(
    "data",
    [
        builders.jpeg(RGB, (0xED, b"Photoshop 3.0\0" + builders.resource(1028, b"\x1c\2\5\0\1x"))),
        builders.png(RGB, builders.raw_profile(b"iptc", b"\x1c\2\5\0\1x")),
        builders.psd((0, 0, 0), resources=builders.resource(1028, b"\x1c\2\5\0\1x")),
        jp2_of((bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"), b"\x1c\2\5\0\1x")),
    ],
)
def test_iptc_beside_exif_and_xmp_is_told(data):
    assert told(read(data)) == ["the IPTC data is not kept"]
    with pytest.raises(LossRefused):
        read(data, STRICT)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("swapped", [False, True])
def test_iptc_that_is_stored_as_numbers(order, swapped):
    record = (b"\x1c\x02\x78\0\x0ccaption text" + b"\x1c\x02\x19\0\5words").ljust(28, b"\0")
    numbers = struct.unpack(f"{'<' if swapped == (order == '>') else '>'}7I", record)
    data = builders.tiff(builders.page(RGB, t33723=(builders.LONG, numbers)), order=order)
    tags = Image.Exif()
    tags.load(read(data, STRICT).metadata.exif)
    assert tags[33723] == record


def test_profile_and_xmp_of_a_tiff_with_an_odd_type():
    icc = builders.profile("linear")
    page = builders.page(RGB, t34675=(builders.BYTE, icc), t700=(builders.UNDEFINED, XMP))
    assert read(builders.tiff(page), STRICT).metadata.icc == icc
    assert read(builders.tiff(page), STRICT).metadata.xmp == XMP


def test_text_and_comments_are_not_lost_in_silence():
    for data, text in (
        (builders.png(RGB, (b"tEXt", b"Title\0x")), "text 'Title' is not kept"),
        (builders.jpeg(RGB, (0xFE, b"hello")), "the comment is not kept"),
        (builders.jpeg(RGB, (0xEB, b"JP")), "application data (APP11) is not kept"),
    ):
        assert read(data, STRICT).remarks == (Remark(text, loses=False),)


# Optional data that cannot be parsed


def test_odd_exif_data_cost_only_themselves():
    odd = builders.exif({**CAMERA, 296: (builders.LONG, [70_000])})
    data = builders.jpeg(RAMP, (0xE1, b"Exif\0\0" + odd))
    upright = read(data, ReadOptions(auto_orient=True, strict=True))
    assert upright.pixels.shape == (64, 48, 3)
    tags = Image.Exif()
    tags.load(upright.metadata.exif)
    assert dict(tags) == {271: "camera", 296: 70_000}
    assert read(data, STRICT).metadata.exif == odd


@pytest.mark.parametrize("order", "<>")
def test_the_orientation_is_changed_and_nothing_else(order):
    tags = {**CAMERA, 34665: (builders.LONG, [8]), 700: (builders.BYTE, b"abcdefg")}
    data = builders.exif(tags, order)
    without = exif_data.without_orientation(data)
    assert exif_data.orientation(data) == 6 and exif_data.orientation(without) == 1
    assert len(without) == len(data)
    back = exif_data.with_orientation(without, 6)
    assert exif_data.orientation(back) == 6 and exif_data.without_orientation(back)[8:].startswith(without[8:20])
    assert exif_data.orientation(exif_data.with_orientation(b"", 3)) == 3
    assert exif_data.without_orientation(exif_data.with_orientation(b"", 3)) == b""
    for damaged in (b"", b"II*\0", b"nonsense", data[:9], b"II*\0\xff\xff\xff\xff"):
        assert exif_data.without_orientation(damaged) == damaged and exif_data.orientation(damaged) == 1


def test_damaged_tags_of_a_tiff_are_told():
    data = bytearray(builders.tiff(builders.page(RGB, t271=(builders.ASCII, b"camera\0"))))
    at = data.index(struct.pack("<HHI", 271, 2, 7))
    data[at + 8 : at + 12] = struct.pack("<I", 1 << 30)
    picture = read(bytes(data))
    np.testing.assert_array_equal(picture.pixels, RGB)
    assert told(picture) == ["tag 271 is damaged and is ignored"]
    assert read(bytes(data), ReadOptions(strict=True, metadata=frozenset({"icc"}))).remarks == ()
    assert told(read(builders.tiff(builders.page(RGB, t274=9)))) == ["the orientation is damaged and is ignored"]


def test_odd_parts_that_pillow_would_parse_cost_nothing():
    """A short JFIF segment, a resolution in JP2 without content, resources of a PSD that are damaged."""
    short = builders.jpeg(RGB, (0xE0, b"JFIF\0"), (0xEE, b"Adobe"))
    assert np.abs(read(short).pixels - RGB.astype(int)).max() <= 8
    data = builders.jp2(RGB)
    at = data.index(b"jp2h") + 4
    size = int.from_bytes(data[at - 8 : at - 4], "big") + 12
    odd = (
        data[: at - 8]
        + size.to_bytes(4, "big")
        + b"jp2h"
        + data[at : at - 8 + size - 12]
        + builders.box(b"res ", b"????")
    )
    odd += data[at - 8 + size - 12 :]
    assert (read(odd).pixels == RGB).all()
    assert (read(builders.psd((0, 200, 0), resources=b"8BIM\4\4\xff\xff?")).pixels == (0, 200, 0)).all()


def test_damaged_chunks_cost_only_themselves():
    whole = builders.png(RGB, (b"eXIf", EXIF))
    at = whole.index(b"eXIf")
    damaged = whole[: at + 9] + b"!" + whole[at + 10 :]
    assert told(read(damaged)) == ["the chunk eXIf is damaged and is ignored"]
    for chunk in ((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0no"), (b"zTXt", b"Raw profile type exif\0\0no")):
        assert [text for text in told(read(builders.png(RGB, chunk))) if "cannot be read" in text]


def test_data_that_repeat_are_read_once():
    """Values that overlap, and directories in a circle, do not make the result larger than the file."""
    entries = [struct.pack("<HHII", tag, 7, 90_000, 8) for tag in range(50_000, 50_500)]
    circle = struct.pack("<HHII", 34665, 4, 1, 100_000)
    at = struct.pack("<H", len(entries) + 1)
    data = (b"II*\0" + struct.pack("<I", 100_000)).ljust(100_000, b"\0") + at + circle + b"".join(entries) + bytes(4)
    tags, lost = ifd.read_tree(data)
    assert len(tags) == 1 and len(lost) == 500
    assert len(ifd.write_tree(tags, ifd.read_header(data), 8)) < len(data)


def test_directories_that_overlap_are_read_in_a_short_time():
    """A thousand tables of 60000 tags each, and links to them from each other."""
    count = 60_000
    data = bytearray(builders.tiff(builders.page(RGB), after=100_000)).ljust(900_000, b"\0")
    for at in range(100_000, 102_000, 2):
        data[at : at + 2] = struct.pack("<H", count)
    start = time.process_time()
    picture = read(bytes(data))
    assert (picture.pixels == RGB).all()
    sub = builders.page(RGB, t330=(builders.LONG, range(100_000, 102_000, 2)))
    head = builders.tiff(sub)
    data[: len(head)] = head
    assert (read(bytes(data)).pixels == RGB).all()
    assert time.process_time() - start < 10  # more than a minute without the limit


def test_texts_that_unpack_to_much_are_not_all_unpacked():
    bomb = (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(70 << 20)))
    start = time.process_time()
    assert told(read(builders.png(RGB, *[bomb] * 200))) == ["the EXIF data cannot be read and is not kept"]
    assert time.process_time() - start < 5


# Colours


LINEAR = builders.profile("Linear light")
P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
BT709 = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def gama(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


def linear_bmp() -> bytes:
    rows = flat(55, 55, 55).tobytes()
    header = builders.bmp_header(124, 16, 16, 24) + bytes(16) + b"DEBM" + bytes(48)
    return builders.bmp(rows, header + struct.pack("<IIII", 4, 124 + len(rows), len(LINEAR), 0), LINEAR)


def calibrated_bmp(gamma: float) -> bytes:
    rows = flat(55, 55, 55).tobytes()
    points = (0.4124, 0.2126, 0.0193, 0.3576, 0.7152, 0.1192, 0.1805, 0.0722, 0.9505)
    numbers = struct.pack("<9i", *(round(p * (1 << 30)) for p in points)) + struct.pack(
        "<3I", *[round(gamma * 65536)] * 3
    )
    return builders.bmp(rows, builders.bmp_header(108, 16, 16, 24) + bytes(16) + bytes(4) + numbers)


def qoi(linear: bool) -> bytes:
    pixels = b"\xfe\x37\x37\x37" + b"\xc0" * 15
    return b"qoif" + struct.pack(">IIBB", 4, 4, 3, linear) + pixels + bytes(7) + b"\1"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (builders.png(flat(55, 55, 55), gama(100_000)), (128, 128, 128)),
        (builders.png(flat(55, 55, 55)[..., 0], gama(100_000)), (128, 128, 128)),
        (builders.png(flat(200, 40, 40), gama(45_455), (b"cHRM", P3)), (220, 0, 17)),
        (builders.png(flat(200, 40, 40), (b"cHRM", P3)), (218, 0, 26)),
        (builders.png(flat(200, 40, 40), (b"cICP", bytes([12, 13, 0, 1]))), (218, 0, 26)),
        (builders.avif(flat(200, 40, 40), 12, 13), (218, 0, 26)),
        (builders.avif(flat(55, 55, 55), 1, 8), (128, 128, 128)),
        (builders.jp2(flat(55, 55, 55), colour=b"\2\0\0" + LINEAR), (128, 128, 128)),
        (builders.jp2(flat(55, 55, 55), colour=b"\5\0\0" + struct.pack(">HHHB", 1, 8, 0, 128)), (128, 128, 128)),
        (linear_bmp(), (128, 128, 128)),
        (calibrated_bmp(1.0), (128, 128, 128)),
        (qoi(linear=True), (128, 128, 128)),
        (
            builders.png(flat(55, 55, 55), (b"iCCP", b"p\0\0" + zlib.compress(builders.profile("linear sRGB")))),
            (128,) * 3,
        ),
        (builders.png(flat(55, 55, 55), builders.raw_profile(b"icc", LINEAR)), (128, 128, 128)),
        (
            builders.gif(
                flat(55, 55, 55),
                b"ICCRGBG1012",
                b"".join(bytes([len(LINEAR[at : at + 200])]) + LINEAR[at : at + 200] for at in range(0, 600, 200))
                + b"\0",
            ),
            (128,) * 3,
        ),
        (
            builders.tiff(builders.page(flat(55, 55, 55), t301=(builders.SHORT, [round(i * 257) for i in range(256)]))),
            (128,) * 3,
        ),
        (
            builders.tiff(
                builders.page(
                    flat(200, 40, 40),
                    t319=(builders.RATIONAL, [680, 1000, 320, 1000, 265, 1000, 690, 1000, 150, 1000, 60, 1000]),
                )
            ),
            (218, 0, 26),
        ),
    ],
)
def test_colours_have_an_effect(data, expected):
    assert np.abs(np.subtract(colour(data), expected)).max() <= 3
    kept = read(data, STRICT)
    assert kept.metadata.icc and not is_srgb(kept.metadata.icc, to_pil(kept).mode)
    again = read_picture(to_pil(kept), options=STRIP)
    assert np.abs(again.pixels[0, 0] - np.array(expected)).max() <= 3


@pytest.mark.parametrize(
    "data",
    [
        builders.png(RGB, (b"sRGB", b"\0")),
        builders.png(RGB, (b"sRGB", b"\0"), gama(100_000), (b"cHRM", P3)),
        builders.png(RGB, gama(45_455)),
        builders.png(RGB, gama(45_455), (b"cHRM", BT709)),
        builders.png(RGB, (b"cICP", bytes([1, 13, 0, 1]))),
        builders.avif(RGB, 1, 13),
        builders.avif(RGB, 2, 2),
        builders.jp2(RGB),
        qoi(linear=False),
        builders.jpeg(RGB),
    ],
)
def test_what_says_srgb_is_silent(data):
    for options in (STRICT, STRIP):
        picture = read(data, options)
        assert picture.remarks == () and picture.metadata.icc == b""


@pytest.mark.parametrize("data", [builders.png(RGB, (b"cICP", bytes([9, 18, 0, 1]))), builders.avif(RGB, 9, 16)])
def test_light_beyond_srgb_is_told(data):
    assert "are not supported and are ignored" in told(read(data))[0]
    with pytest.raises(LossRefused):
        read(data, STRICT)


@pytest.mark.parametrize(
    "chunk",
    [gama(1), gama(0xFFFFFFFF), (b"cHRM", bytes(32)), (b"cHRM", bytes([255] * 32)), (b"cHRM", P3[:24] + P3[16:24])],
)
def test_impossible_colours_are_told(chunk):
    assert told(read(builders.png(RGB, chunk))) == ["what the file says of its colours is impossible and is ignored"]


def test_cameras_say_adobe_rgb_in_exif_data():
    inner = {1: (builders.ASCII, b"R03\0")}

    def data(space: int) -> bytes:
        whole = bytearray(builders.exif({34665: (builders.LONG, [0])}))
        sub = len(whole)
        whole += struct.pack("<H", 2) + struct.pack("<HHII", 40961, 3, 1, space)
        whole += struct.pack("<HHII", 40965, 4, 1, sub + 30) + bytes(4)
        whole += struct.pack("<HHHI", len(inner), 1, 2, 4) + b"R03\0" + bytes(4)
        at = whole.index(struct.pack("<HHI", 34665, 4, 1)) + 8
        whole[at : at + 4] = struct.pack("<I", sub)
        return bytes(whole)

    pixels = flat(200, 40, 40)
    assert np.abs(np.subtract(colour(builders.png(pixels, (b"eXIf", data(0xFFFF)))), (233, 35, 35))).max() <= 3
    assert colour(builders.png(pixels, (b"eXIf", data(1)))) == (200, 40, 40)


def test_a_profile_of_rgb_fits_grey():
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = flat(55, 55, 55)[..., 0]
    for icc, expected in ((srgb, 55), (LINEAR, 128)):
        picture = read(builders.png(grey, (b"iCCP", b"p\0\0" + zlib.compress(icc))), STRIP)
        assert not told(picture) and picture.layout.is_grey
        assert abs(int(picture.pixels[0, 0, 0]) - expected) <= 2


def test_a_profile_is_judged_by_what_it_does():
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert is_srgb(srgb, "RGB") and is_srgb(srgb.replace("sRGB".encode("utf-16-be"), b"any name"), "RGB")
    assert not is_srgb(builders.profile("sRGB IEC61966-2.1"), "RGB")
    assert not is_srgb(b"nonsense", "RGB")


# Frames


def test_damage_behind_the_first_frame_costs_the_later_ones_only():
    picture = read(cut_in_the_second_frame())
    assert picture.pixels.shape == (48, 64, 3)
    assert told(picture) == ["only frame 1 of 2 is kept", "the file is damaged after frame 1"]


def test_layers_and_reduced_copies_are_no_frames():
    assert read(builders.psd((0, 200, 0), layers=2), STRICT).remarks == (
        Remark("layers are not kept, only the merged picture", loses=False),
    )
    small = builders.page(RGB[::4, ::4], t254=1)
    assert read(builders.tiff(builders.page(RGB), small), STRICT).remarks == ()
    assert told(read(builders.tiff(small, builders.page(RGB), builders.page(RGB)))) == ["only frame 1 of 2 is kept"]
    mask = builders.page(RGB[..., 0], t254=4)
    assert told(read(builders.tiff(builders.page(RGB), mask))) == ["a page with a transparency mask is not kept"]


def test_a_psd_without_a_merged_picture_is_told():
    version = builders.resource(1057, struct.pack(">IB", 1, 0))
    assert "no merged picture" in told(read(builders.psd((255, 255, 255), resources=version)))[0]


# Depths


def test_more_than_eight_bits_are_told_and_fewer_are_not():
    deep = RGB.astype(np.uint16) * 257
    for data, bits in (
        (b"P6 64 64 65535\n" + deep.astype(">u2").tobytes(), 16),
        (b"P5 64 64 # x\n 1000\n" + np.full((64, 64), 500, ">u2").tobytes(), 10),
        (builders.png(deep, depth=16), 16),
        (builders.png(deep[..., 0], depth=16), 16),
        (builders.tiff(builders.page(deep, 16)), 16),
        (builders.tiff(builders.page(deep[..., 0], 16)), 16),
    ):
        assert told(read(data)) == [f"{bits} bits per sample are reduced to 8"]
    for data in (builders.png(RGB[..., 0] >> 7, depth=1), b"P5 2 1 15\n\x0f\x07", b"P6 1 1 255\nabc"):
        assert read(data, STRICT).remarks in ((), (Remark("one bit per pixel is converted to L", loses=False),))
