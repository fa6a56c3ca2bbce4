"""Every odd file keeps its size, mode and metadata, or is refused with one clear line."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.odd_files import ODD_FILES, Odd, make_folder
from vqcodec.batch.folders import FolderOptions, encode_folder
from vqcodec.batch.tasks import Weights
from vqcodec.errors import OutputExists, VqcError, VqcWarning
from vqcodec.images import metadata
from vqcodec.images.reading import read_picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    make_folder(folder)
    return folder


@pytest.mark.parametrize("odd", ODD_FILES, ids=lambda odd: odd.name)
def test_odd_file(odd: Odd, folder, tiny_codec):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if odd.refused:
            with pytest.raises(VqcError, match=odd.refused) as refusal:
                tiny_codec.encode(folder / odd.name)
            assert "\n" not in str(refusal.value)
            return
        data = tiny_codec.encode(folder / odd.name)
    if odd.pixels is not None:
        pixels = read_picture(folder / odd.name).pixels
        assert np.abs(pixels - np.atleast_3d(odd.pixels).astype(int)).max() <= 8
    back = tiny_codec.decode(data)
    assert (back.mode, back.size) == (odd.mode, odd.size)
    lost = [str(w.message) for w in caught if w.category is VqcWarning]
    assert len(lost) == bool(odd.loses) and all(odd.loses in text for text in lost)
    for kind in odd.keeps:
        with Image.open(folder / odd.name) as original:
            kept = getattr(metadata.from_image(original), kind)
        assert kept and kept == getattr(metadata.from_image(back), kind)


def test_alpha_of_odd_files_is_lossless(folder, tiny_codec):
    for name in ("alpha.png", "grey-alpha.png", "alpha.webp", "palette-clear.png"):
        with Image.open(folder / name) as original:
            expected = original.convert("RGBA").getchannel("A")
        assert tiny_codec.decode(tiny_codec.encode(folder / name)).getchannel("A").tobytes() == expected.tobytes()


def test_the_whole_folder_at_once(folder, tiny_weights, tmp_path):
    folder_options = FolderOptions(weights=Weights(model_path=str(tiny_weights), device="cpu"))
    results = {Path(r.source).name: r for r in encode_folder(folder, tmp_path / "out", folder_options=folder_options)}
    assert results.keys() == {odd.name for odd in ODD_FILES}
    for odd in ODD_FILES:
        error = results[odd.name].error
        if not isinstance(error, OutputExists):  # palette.gif and palette.png would both be palette.vqc
            assert bool(error) == bool(odd.refused), odd.name
