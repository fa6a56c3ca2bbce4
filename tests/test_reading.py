"""Pictures of every mode of Pillow, read and converted back."""

import io
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import ExifTags, Image, ImageCms

from tests.support import builders
from tests.support.odd_files import cmyk, raw
from vqcodec.errors import ImageTooLarge, InvalidImage, LossRefused, MissingFile, UnreadableFile
from vqcodec.images.modes import SIXTEEN_BITS, Remark
from vqcodec.images.reading import Picture, ReadOptions, read_picture, to_pil
from vqcodec.stream.container import Layout
from vqcodec.stream.metadata import Metadata

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
GREY = RGB[:, :, 0]


def as_file(image: Image.Image, format: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


def check(picture: Picture, expected: np.ndarray) -> None:
    """Check the pixels of ``picture``, their type and layout, and their conversion back."""
    grey = expected.ndim == 2
    assert picture.layout is (Layout.GREY if grey else Layout.RGB)
    assert picture.pixels.shape == (*expected.shape[:2], 3) and picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous and picture.pixels.flags.writeable
    back = to_pil(picture)
    assert back.mode == ("L" if grey else "RGB")
    np.testing.assert_array_equal(np.asarray(back), expected)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))))
def test_arrays_round_trip(array):
    check(read_picture(array), array[:, :, 0] if array.shape[2] == 1 else array)


def test_array_of_two_dimensions_is_grey():
    check(read_picture(GREY), GREY)


def test_picture_is_a_copy():
    array = RGB.copy()
    picture = read_picture(array)
    array[:] = 0
    check(picture, RGB)


def test_views_are_accepted():
    check(read_picture(RGB[::-1, ::2]), RGB[::-1, ::2])


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "BMP", "WEBP"])
def test_files(tmp_path, format):
    path = tmp_path / "picture"
    path.write_bytes(as_file(Image.fromarray(RGB), format, **({"lossless": True} if format == "WEBP" else {})).read())
    check(read_picture(path), RGB)
    check(read_picture(str(path)), RGB)
    with path.open("rb") as file:
        check(read_picture(file), RGB)


def test_grey_files():
    check(read_picture(as_file(Image.fromarray(GREY))), GREY)
    bits = GREY > 128
    check(read_picture(as_file(Image.fromarray(bits))), bits * np.uint8(255))


def test_palette_and_other_colour_spaces_become_rgb():
    image = Image.fromarray(RGB)
    palette = image.quantize(16)
    check(read_picture(as_file(palette)), np.asarray(palette.convert("RGB")))
    for mode in ("CMYK", "YCbCr", "HSV", "RGBX"):
        check(read_picture(image.convert(mode)), np.asarray(image.convert(mode).convert("RGB")))


def test_sixteen_bits_are_scaled_not_clipped():
    deep = np.array([[0, 128, 129, 32768, 65535]], np.uint16)
    shallow = np.array([[0, 0, 1, 128, 255]], np.uint8)
    check(read_picture(as_file(Image.fromarray(deep))), shallow)
    check(read_picture(as_file(Image.fromarray(deep), "TIFF")), shallow)
    check(read_picture(Image.fromarray(deep.astype(np.int32))), shallow)
    check(read_picture(Image.fromarray(shallow.astype(np.int32))), shallow)
    check(read_picture(as_file(Image.fromarray(shallow.astype(np.int32)), "TIFF")), shallow)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "La", "RGBa"])
def test_alpha_is_kept_even_if_opaque(mode):
    image = Image.fromarray(RGB).convert("RGBA").convert("LA" if mode == "La" else "RGBA").convert(mode)
    expected = image.convert("LA" if mode in ("LA", "La") else "RGBA")
    picture = read_picture(image)
    assert to_pil(picture).mode == expected.mode and (picture.alpha == 255).all()
    np.testing.assert_array_equal(np.asarray(to_pil(picture)), np.asarray(expected))


def test_array_of_four_channels():
    array = np.dstack([RGB, GREY])
    picture = read_picture(array)
    assert picture.layout is Layout.RGBA
    np.testing.assert_array_equal(picture.alpha, GREY)
    np.testing.assert_array_equal(np.asarray(to_pil(picture)), array)


def test_one_transparent_colour_becomes_alpha():
    palette = Image.fromarray(RGB).quantize(4)
    deep = Image.fromarray(np.array([[7, 8]], np.uint16))
    for source, expected in (
        (as_file(palette, transparency=0), np.asarray(palette) != 0),
        (as_file(Image.fromarray(GREY), transparency=int(GREY[0, 0])), GREY[0, 0] != GREY),
        (as_file(Image.fromarray(RGB), transparency=tuple(int(c) for c in RGB[0, 0])), (RGB[0, 0] != RGB).any(2)),
        (as_file(deep, transparency=7), np.array([[False, True]])),
    ):
        np.testing.assert_array_equal(read_picture(source).alpha, expected * np.uint8(255))


def test_alpha_dropped_or_blended():
    image = Image.new("RGBA", (2, 1), (200, 100, 0, 0))
    image.putpixel((1, 0), (200, 100, 0, 255))
    check(read_picture(image, options=ReadOptions(alpha="drop")), np.array([[[200, 100, 0]] * 2], np.uint8))
    blended = read_picture(image, options=ReadOptions(alpha="blend", background="#010203"))
    check(blended, np.array([[[1, 2, 3], [200, 100, 0]]], np.uint8))
    grey = Image.new("LA", (1, 1), (50, 0))
    check(read_picture(grey, options=ReadOptions(alpha="blend")), np.array([[255]], np.uint8))
    coloured = read_picture(grey, options=ReadOptions(alpha="blend", background="red"))
    check(coloured, np.array([[[255, 0, 0]]], np.uint8))


def test_a_grey_profile_does_not_outlive_a_coloured_background():
    grey = Image.new("LA", (1, 1), (50, 128))
    grey.info["icc_profile"] = b"a profile of greys"
    assert read_picture(grey, options=ReadOptions(alpha="blend", background="red")).metadata.icc == b""
    assert read_picture(grey, options=ReadOptions(alpha="blend", background="white")).metadata.icc


@pytest.mark.parametrize("wrong", [{"alpha": "some"}, {"background": "nocolour"}, {"metadata": frozenset({"iptc"})}])
def test_invalid_options(wrong):
    with pytest.raises(InvalidImage):
        ReadOptions(**wrong)


def animation() -> io.BytesIO:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    return as_file(frames[0], "GIF", save_all=True, append_images=frames[1:])


def test_first_frame_of_an_animation():
    picture = read_picture(animation())
    check(picture, np.asarray(Image.new("RGB", (4, 4), "red")))
    assert Remark("only frame 1 of 2 is kept") in picture.remarks


def deep_rgb(transparent: bytes = b"") -> io.BytesIO:
    """Return a PNG of 16 bits per sample, (0xffff, 0x8000, 0), which Pillow reads but does not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    whole = as_file(Image.new("RGB", (1, 1))).getvalue()
    parts = [whole[:8], chunk(b"IHDR", whole[16:24] + bytes([16]) + whole[25:29])]
    if transparent:
        parts.append(chunk(b"tRNS", transparent))
    parts += [chunk(b"IDAT", zlib.compress(bytes([0, 255, 255, 128, 0, 0, 0]))), whole[-12:]]
    return io.BytesIO(b"".join(parts))


def test_the_transparent_colour_of_sixteen_bits_is_found():
    assert read_picture(deep_rgb(bytes([255, 255, 128, 0, 0, 0]))).alpha == 0
    assert read_picture(deep_rgb(bytes([255, 255, 0, 128, 0, 0]))).alpha == 255


@pytest.mark.parametrize("source", [deep_rgb, lambda: as_file(Image.new("I;16", (2, 2)))])
def test_sixteen_bits_are_remarked_on(source):
    assert SIXTEEN_BITS in read_picture(source()).remarks


def test_strict_refuses_what_loses():
    for source in (deep_rgb(), animation()):
        with pytest.raises(LossRefused):
            read_picture(source, options=ReadOptions(strict=True))
    palette = read_picture(as_file(Image.fromarray(RGB).quantize(4)), options=ReadOptions(strict=True))
    assert palette.remarks == (Remark("palette is converted to RGB", loses=False),)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "a camera"
    return exif


def test_orientation_is_left_alone_or_applied():
    file = as_file(Image.fromarray(RGB), exif=turned())
    as_it_is = read_picture(file)
    assert as_it_is.pixels.shape == (5, 7, 3) and not as_it_is.remarks
    assert to_pil(as_it_is).getexif()[ExifTags.Base.Orientation] == 6
    upright = read_picture(file, options=ReadOptions(auto_orient=True))
    check(upright, np.rot90(RGB, -1))
    assert dict(to_pil(upright).getexif()) == {ExifTags.Base.Make: "a camera"}


def test_orientation_that_is_thrown_away_is_remarked_on():
    picture = read_picture(as_file(Image.fromarray(RGB), exif=turned()), options=ReadOptions(metadata=frozenset()))
    assert [remark.loses for remark in picture.remarks] == [True] and picture.metadata == Metadata()


def test_damaged_exif_data_are_kept_as_they_are():
    file = as_file(Image.fromarray(RGB), exif=b"Exif\0\0nonsense")
    assert read_picture(file).metadata.exif == b"nonsense"
    assert read_picture(file, options=ReadOptions(auto_orient=True, metadata=frozenset())).metadata.exif == b""


def profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def wide_gamut() -> bytes:
    """Return an RGB profile with red and green exchanged, so that its use is visible."""
    data = bytearray(profile("sRGB"))
    red, green = data.index(b"rXYZ", 128), data.index(b"gXYZ", 128)
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data).replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))


def test_profile_is_kept_and_pixels_left_alone():
    picture = read_picture(as_file(Image.fromarray(RGB), icc_profile=wide_gamut()))
    check(picture, RGB)
    assert to_pil(picture).info["icc_profile"] == wide_gamut()


def test_colours_are_converted_if_their_profile_is_not_kept():
    bright = Image.new("RGB", (1, 1), (250, 10, 10))
    options = ReadOptions(metadata=frozenset({"exif"}))
    converted = read_picture(as_file(bright, icc_profile=wide_gamut()), options=options)
    red, green, _ = converted.pixels[0, 0]
    assert green > 200 > 100 > red and converted.metadata.icc == b""
    same = read_picture(as_file(bright, icc_profile=profile("sRGB")), options=options)
    check(same, np.asarray(bright))


def test_cmyk_and_lab_lose_their_profile_with_their_colour_space():
    cmyk = Image.new("CMYK", (2, 2), (0, 255, 255, 0))
    picture = read_picture(as_file(cmyk, "TIFF", icc_profile=profile("sRGB")))
    assert picture.metadata.icc == b"" and tuple(picture.pixels[0, 0]) == (255, 0, 0)
    assert Remark("the ICC profile does not fit a picture of mode CMYK and is ignored") in picture.remarks
    lab = Image.new("LAB", (1, 1), (136, 208, 195))  # about (255, 0, 0)
    red, green, blue = read_picture(lab).pixels[0, 0]
    assert red > 200 and max(green, blue) < 60


def test_damaged_profile():
    picture = read_picture(
        as_file(Image.fromarray(RGB), icc_profile=b"none" * 99), options=ReadOptions(metadata=frozenset())
    )
    check(picture, RGB)
    assert picture.remarks == (Remark("the ICC profile is damaged and is ignored"),)


@pytest.mark.parametrize(
    "array",
    [
        RGB.astype(np.float32),
        RGB.astype(np.int64),
        RGB[:, :, :2],
        RGB[:0],
        RGB[0, 0],
        RGB[None],
    ],
)
def test_invalid_arrays(array):
    with pytest.raises(InvalidImage, match="^array must "):
        read_picture(array)


def test_pixels_without_an_agreed_range():
    with pytest.raises(InvalidImage, match="floating-point"):
        read_picture(Image.new("F", (2, 2)))
    with pytest.raises(InvalidImage, match="outside 0 to 65535"):
        read_picture(Image.new("I", (2, 2), 70000))


def test_damaged_and_foreign_files(tmp_path):
    with pytest.raises(InvalidImage, match="not a picture in a format that Pillow can read"):
        read_picture(io.BytesIO(b"hello"))
    whole = as_file(Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))).read()
    for size in (50, 200, len(whole) // 2):
        with pytest.raises(InvalidImage) as caught:
            read_picture(io.BytesIO(whole[:size]))
        assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(MissingFile, match="^No such file or directory$"):
        read_picture(tmp_path / "absent.png")
    with pytest.raises(UnreadableFile, match="^Is a directory$"):
        read_picture(tmp_path)


def test_limit_on_pixels():
    image = Image.fromarray(RGB)
    for source in (image, RGB, as_file(image)):
        with pytest.raises(ImageTooLarge, match="7x5 is 35 pixels, the limit is 34"):
            read_picture(source, max_pixels=34)
    for allowed in (35, 0):
        check(read_picture(image, max_pixels=allowed), RGB)


def test_our_limit_replaces_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for allowed in (35, 0):
            check(read_picture(as_file(Image.fromarray(RGB)), max_pixels=allowed), RGB)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("pillows", [34, 20, 10])
def test_pillows_warning_and_error_become_ours(monkeypatch, pillows):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageTooLarge):
            read_picture(as_file(Image.fromarray(RGB)), max_pixels=pillows)


def test_too_large_is_refused_before_decoding():
    ppm_header_only = io.BytesIO(b"P6 100000 100000 255\n")
    with pytest.raises(ImageTooLarge):
        read_picture(ppm_header_only)


def test_an_image_that_was_closed_is_named():
    with Image.open(as_file(Image.fromarray(RGB))) as image:
        pass
    with pytest.raises(InvalidImage, match="^the image was closed before its pixels were loaded$"):
        read_picture(image)


def test_files_are_read_from_their_position():
    for format in ("PNG", "PPM", "WEBP"):
        data = as_file(Image.fromarray(RGB), format, **({"lossless": True} if format == "WEBP" else {})).getvalue()
        file = io.BytesIO(b"before" + data + b"after" * (format != "WEBP"))
        file.seek(6)
        check(read_picture(file), RGB)
        assert file.read() == b""
        whole = io.BytesIO(data)
        for _ in range(2):
            check(read_picture(whole), RGB)


def test_an_image_that_is_not_loaded_yet_tells_what_its_file_says():
    deep = deep_rgb()
    with Image.open(deep) as image:
        assert SIXTEEN_BITS in read_picture(image).remarks
    main = builders.xmp('xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="X"')
    data = builders.jpeg(RGB, (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + main))
    with Image.open(io.BytesIO(data)) as image:
        assert "not in the PIL image" in read_picture(image).remarks[0].text
    data = builders.jp2(builders.quarters(), builders.box(b"uuid", b"JpgTiffExif->JP2" + builders.exif({})))
    with Image.open(io.BytesIO(data)) as image:
        assert "the EXIF data is not in the PIL image" in read_picture(image).remarks[0].text
        assert read_picture(image, options=ReadOptions(metadata=frozenset())).remarks == ()


def test_raw_sensor_data_are_refused_in_a_pil_image():
    with Image.open(io.BytesIO(raw())) as image, pytest.raises(InvalidImage, match="raw sensor data"):
        read_picture(image)


def test_what_a_caller_removed_from_an_image_stays_away():
    data = builders.jpeg(RGB, builders.exif_segment({271: (builders.ASCII, b"camera\0")}))
    with Image.open(io.BytesIO(data)) as image:
        del image.info["exif"]
        picture = read_picture(image)
        assert picture.metadata == Metadata() and picture.remarks == ()


def test_text_of_exif_data_in_a_pil_image():
    exif = builders.exif({271: (builders.ASCII, b"camera\0")})
    with Image.open(io.BytesIO(builders.png(RGB, builders.raw_profile(b"exif", b"Exif\0\0" + exif)))) as image:
        image.load()
        assert read_picture(image).metadata.exif == exif


def test_the_filling_of_hidden_pixels_is_that_of_every_source():
    clear = np.dstack([RGB, np.where(GREY > 128, 255, 0).astype(np.uint8)])
    from_array, from_file = read_picture(clear), read_picture(as_file(Image.fromarray(clear)))
    np.testing.assert_array_equal(from_array.pixels, from_file.pixels)


def test_cmyk_without_adobes_marker_is_told():
    for adobe, count in ((True, 0), (False, 1)):
        picture = read_picture(io.BytesIO(cmyk(adobe)))
        assert sum("Adobe's marker" in remark.text for remark in picture.remarks) == count
