"""For every layout that Pillow opens, the pixels are right or the file is refused."""

import io
import itertools
import struct
import sys
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.support import builders
from tests.support.odd_files import DEEP, GREY, RGB
from vqcodec.errors import ImageTooLarge, InvalidImage
from vqcodec.images.reading import Picture, read_picture, to_pil

HEIGHT, WIDTH = 20, 26
SAMPLES = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 5))
TYPES = {8: np.uint8, 16: np.uint16, 32: np.uint32}


def read(data: bytes) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_picture(io.BytesIO(data))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(to_pil(read(data))).astype(int)


def variants(bits: int) -> list[tuple]:
    """Return photometric interpretation, planes, byte order, compression, predictor, tiles, extra sample, BigTIFF."""
    found = []
    for choice in itertools.product(
        ("minisblack", "miniswhite", "rgb"),
        ("contig", "separate"),
        "<>",
        ((None, None), ("deflate", None), ("deflate", 2), ("packbits", None)),
        (None, (16, 16)),
        (None, "unassalpha", "assocalpha", "unspecified"),
        (False, True),
    ):
        photometric, planes, _, (compression, _), tile, extra, big = choice
        one = photometric != "rgb" and extra is None
        if (
            not (one and planes == "separate")
            and not (big and (compression or tile))
            and (bits < 32 or photometric == "rgb")
        ):
            found.append(choice)
    return found


@pytest.mark.parametrize("bits", TYPES)
def test_tiff_agrees_with_what_tifffile_wrote(bits):
    """The list of layouts that Pillow decodes rightly rests on this comparison."""
    for photometric, planes, order, (compression, predictor), tile, extra, big in variants(bits):
        colours = 3 if photometric == "rgb" else 1
        samples = SAMPLES[..., : colours + (extra is not None)]
        if extra == "assocalpha":
            samples = np.minimum(samples, samples[..., -1:])
        written = (samples.astype(np.uint64) * ((1 << bits) - 1) // 255).astype(TYPES[bits])
        written = np.moveaxis(written, -1, 0) if planes == "separate" else written
        file = io.BytesIO()
        tifffile.imwrite(
            file,
            written[..., 0] if samples.shape[-1] == 1 else written,
            photometric=photometric,
            planarconfig=planes if samples.shape[-1] > 1 else None,
            byteorder=order,
            compression=compression,
            predictor=predictor,
            tile=tile,
            extrasamples=[extra] if extra else None,
            metadata=None,
            bigtiff=big,
        )
        picture = read(file.getvalue())
        found = np.asarray(to_pil(picture)).reshape(HEIGHT, WIDTH, -1).astype(int)
        expected = samples[..., :colours].astype(float)
        if photometric == "miniswhite":
            expected = 255 - expected
        alpha = samples[..., colours] if extra in ("unassalpha", "assocalpha") else np.full((HEIGHT, WIDTH), 255)
        if extra == "assocalpha":
            expected = np.minimum(expected * 255 / np.maximum(alpha, 1)[..., None], 255)
        layout = (bits, photometric, planes, order, compression, predictor, tile, extra, big)
        assert np.abs(found[..., :colours] - expected)[alpha > 8].max() <= 3, layout
        assert found.shape[-1] == colours + (extra in ("unassalpha", "assocalpha")), layout
        assert any(f"{bits} bits" in remark.text for remark in picture.remarks) == (bits > 8), layout


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("order", "<>")
def test_grey_tiff_of_other_depths(bits, photometric, order):
    samples = SAMPLES[..., 0] * ((1 << bits) - 1) // 255
    shown = samples * 255 / ((1 << bits) - 1)
    data = builders.tiff(builders.page(samples, bits, photometric), order=order)
    assert np.abs(pixels(data) - (shown if photometric else 255 - shown)).max() <= 1


def test_bits_in_the_other_order_and_planes_of_one_sample():
    samples = SAMPLES[..., 0] >> 7
    reverse = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    page = builders.page(samples, 1, 1, t266=2)
    page = builders.Page(page.tags, [page.strips[0].translate(reverse)])
    np.testing.assert_array_equal(pixels(builders.tiff(page)), samples * 255)
    grey = SAMPLES[..., 0]
    page = builders.page(grey, 8, 1, t266=2)
    page = builders.Page(page.tags, [page.strips[0].translate(reverse)])
    np.testing.assert_array_equal(pixels(builders.tiff(page)), grey)
    np.testing.assert_array_equal(pixels(builders.tiff(builders.page(grey, 8, 0, t284=2))), 255 - grey)


def test_palettes_of_tiff():
    indices = SAMPLES[..., 0] % 16
    palette = np.random.default_rng(1).integers(0, 256, (3, 16))
    for scale in (257, 1):  # some programs write 8 bits into these 16
        page = builders.page(indices, 4, 3, t320=(builders.SHORT, [int(v) * scale for v in palette.ravel()]))
        np.testing.assert_array_equal(pixels(builders.tiff(page)), palette.T[indices])


@pytest.mark.parametrize(
    "page",
    [
        builders.page(RGB, 8, 6),  # YCbCr, subsampled by default, not compressed
        builders.page(GREY, 8, 1, t339=2),  # signed
        builders.page(DEEP[..., 0], 16, 1, t339=2),
        builders.page(np.dstack([RGB, GREY]), 8, 5, t332=2),  # inks that are not CMYK
        builders.page(np.dstack([DEEP, DEEP[..., 0]]), 16, 5, t284=2),
        builders.page(RGB, 8, 9),  # ICC Lab
        builders.page(RGB, 8, 32845),  # LogLuv
        builders.page(GREY, 8, 1, t259=50_002),  # an unknown compression
    ],
)
def test_layouts_that_are_refused(page):
    with pytest.raises(InvalidImage) as refusal:
        read(builders.tiff(page))
    assert "\n" not in str(refusal.value)


def test_the_limit_holds_before_tifffile_decodes():
    page = builders.page(DEEP[..., 0], 16, 0)
    huge = builders.Page({**page.tags, 256: (builders.LONG, [100_000]), 257: (builders.LONG, [100_000])}, page.strips)
    with pytest.raises(ImageTooLarge):
        read(builders.tiff(huge))


def test_a_pil_image_of_a_wrong_layout_is_refused():
    page = builders.page(65535 - DEEP[..., 0], 16, 0)
    with Image.open(io.BytesIO(builders.tiff(page))) as image:
        with pytest.raises(InvalidImage, match="encode its file"):
            read_picture(image)
        image.load()
        with pytest.raises(InvalidImage, match="encode its file"):
            read_picture(image)


def test_without_imagecodecs_the_extra_is_named(monkeypatch):
    data = deep_jp2(12)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(InvalidImage, match=r"needs imagecodecs: pip install 'vqcodec\[formats\]'"):
        read(data)


# JPEG 2000


def deep_jp2(bits: int, samples: np.ndarray = RGB, container: str = "jp2") -> bytes:
    """Return a lossless JPEG 2000 file of other depths."""
    codecs = pytest.importorskip("imagecodecs")
    deep = (samples.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16 if bits > 8 else np.uint8)
    return codecs.jpeg2k_encode(deep, level=0, codecformat=container, bitspersample=bits)


@pytest.mark.parametrize("container", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [4, 8, 10, 12, 16])
def test_depths_of_jpeg_2000(bits, container):
    for samples in (RGB, GREY, np.dstack([RGB, np.maximum(255 - GREY, 40)])):
        data = deep_jp2(bits, samples, container)
        assert np.abs(pixels(data).astype(int) - samples)[..., :3].max() <= 255 / ((1 << bits) - 1)
        assert any("bits per sample" in r.text for r in read(data).remarks) == (bits > 8)
        with Image.open(io.BytesIO(data)) as image:  # as long as its file is open
            assert np.abs(np.asarray(to_pil(read_picture(image))).astype(int) - samples).max() <= 17


def test_colour_spaces_of_jpeg_2000():
    for number in (14, 24):  # CIELab, e-sYCC
        data = builders.jp2(RGB, colour=b"\1\0\0" + struct.pack(">I", number))
        with pytest.raises(InvalidImage, match=f"colour space {number}"):
            read(data)
    assert read(builders.jp2(RGB, colour=b"\2\0\0")).pixels.shape == (64, 64, 3)


# PNG


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_png(depth):
    samples = SAMPLES[..., 0] * ((1 << depth) - 1) // 255
    key = int(samples[3, 3])
    data = builders.png(samples, (b"tRNS", struct.pack(">H", key)), depth=depth)
    np.testing.assert_array_equal(pixels(data)[..., 1], np.where(samples == key, 0, 255))
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(read_picture(image).alpha, np.where(samples == key, 0, 255))


def test_the_transparent_colour_of_png_in_16_bits(monkeypatch):
    samples = np.array([[[1, 2, 3], [1, 2, 4], [256, 2, 3]]])
    data = builders.png(samples, (b"tRNS", struct.pack(">HHH", 1, 2, 3)), depth=16)
    pytest.importorskip("imagecodecs")
    assert read(data).alpha.tolist() == [[0, 255, 255]]
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    picture = read(data)
    assert picture.alpha.tolist() == [[0, 0, 255]]
    assert any("compared in 8 of 16 bits" in remark.text for remark in picture.remarks)


# Others


def test_the_attribute_bit_of_tga():
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 2, 1, 16, 0x20)
    picture = read(header + struct.pack("<2H", 0x7C00, 0xFC00))
    assert picture.pixels.tolist() == [[[255, 0, 0], [255, 0, 0]]] and picture.alpha is None
    assert "attribute bit" in picture.remarks[0].text


def test_alpha_that_was_never_set_is_ignored():
    """Many programs write four channels, and 0 into the last."""
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 2, 1, 32, 0x28)
    assert read(header + bytes([3, 2, 1, 0] * 2)).pixels.tolist() == [[[1, 2, 3]] * 2]
    assert read(header + bytes([3, 2, 1, 0, 3, 2, 1, 9])).alpha.tolist() == [[0, 9]]
    assert (read(builders.png(np.zeros((4, 4, 4), int))).alpha == 0).all()


@pytest.mark.parametrize("mode", [0, 7, 9])
def test_modes_of_psd_that_pillow_gets_wrong(mode):
    data = bytearray(builders.psd((1, 2, 3)))
    data[24:26] = struct.pack(">H", mode)
    with pytest.raises(InvalidImage, match=f"colour mode {mode}"):
        read(bytes(data))


def test_formats_of_doubt_are_refused():
    fits = b"".join(
        f"{key:8}= {value:>20}".ljust(80).encode()
        for key, value in (("SIMPLE", "T"), ("BITPIX", 16), ("NAXIS", 2), ("NAXIS1", 2), ("NAXIS2", 2))
    )
    with pytest.raises(InvalidImage, match="format FITS are not supported"):
        read((fits + b"END".ljust(80)).ljust(2880) + bytes(8))


def test_sixteen_bits_of_sgi_are_told():
    data = (
        struct.pack(">hBBHHHH", 474, 0, 2, 3, 2, 1, 3) + bytes(500) + struct.pack(">6H", 65535, 0, 51400, 0, 0, 10280)
    )
    picture = read(data)
    assert picture.pixels.tolist() == [[[255, 200, 0], [0, 0, 40]]]
    assert [remark.text for remark in picture.remarks] == ["16 bits per sample are reduced to 8"]


def test_avif_of_ten_bits_is_told():
    codecs = pytest.importorskip("imagecodecs")
    data = codecs.avif_encode((DEEP >> 6), level=100, bitspersample=10, pixelformat="444")
    picture = read(data)
    assert np.abs(picture.pixels - RGB.astype(int)).max() <= 2
    assert [remark.text for remark in picture.remarks] == ["10 bits per sample are reduced to 8"]


def test_png_with_damaged_pixels_is_refused():
    data = builders.png(RGB)
    for broken in (data[:70], data.replace(b"IDAT", b"IDOT"), data[:45] + bytes(4) + data[49:]):
        with pytest.raises(InvalidImage):
            read(broken)
