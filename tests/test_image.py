"""Pictures of every kind that Pillow can hold, in and out."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from vqcodec.bitstream import Layout
from vqcodec.errors import ImageTooLarge, InvalidImage, MissingFile, UnreadableFile
from vqcodec.image import Picture, read_picture, to_pil

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
GREY = RGB[:, :, 0]


def as_file(image: Image.Image, format: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


def check(picture: Picture, expected: np.ndarray) -> None:
    """``picture`` has these pixels, in the promised form, and gives them back."""
    grey = expected.ndim == 2
    assert picture.layout is (Layout.GREY if grey else Layout.RGB)
    assert picture.pixels.shape == (*expected.shape[:2], 3) and picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous and picture.pixels.flags.writeable
    back = to_pil(picture.pixels, picture.layout)
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


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "La", "RGBa"])
def test_opaque_alpha_is_dropped(mode):
    image = Image.fromarray(RGB).convert("RGBA").convert("LA" if mode == "La" else "RGBA").convert(mode)
    expected = image.convert("LA").convert("L") if mode in ("LA", "La") else image.convert("RGBA").convert("RGB")
    check(read_picture(image), np.asarray(expected))


def test_opaque_array_of_four_channels():
    check(read_picture(np.dstack([RGB, np.full_like(GREY, 255)])), RGB)


def test_transparency_is_refused():
    palette = Image.fromarray(RGB).quantize(4)
    deep = Image.fromarray(np.array([[7, 8]], np.uint16))
    for source in (
        np.dstack([RGB, np.full_like(GREY, 254)]),
        Image.new("LA", (2, 2), (5, 0)),
        as_file(palette, transparency=0),
        as_file(Image.fromarray(GREY), transparency=int(GREY[0, 0])),
        as_file(Image.fromarray(RGB), transparency=tuple(int(c) for c in RGB[0, 0])),
        as_file(deep, transparency=7),
    ):
        with pytest.raises(InvalidImage, match="transparency is not supported yet"):
            read_picture(source)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    file = as_file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    check(read_picture(file), np.asarray(frames[0]))


def test_orientation_is_left_alone():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(as_file(Image.fromarray(RGB), exif=exif)).pixels.shape == (5, 7, 3)


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
def test_arrays_that_are_no_pictures(array):
    with pytest.raises(InvalidImage, match="^array of "):
        read_picture(array)


def test_pixels_without_an_agreed_range():
    with pytest.raises(InvalidImage, match="floating-point"):
        read_picture(Image.new("F", (2, 2)))
    with pytest.raises(InvalidImage, match="outside of 0 to 65535"):
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
        with pytest.raises(ImageTooLarge, match="7x5 are 35 pixels, 34 are allowed"):
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
