"""Whatever surrounds the codec: the same indices always, the same pixels within a level, streams that decode.

Indices are compared by the SHA-256 of their grids.  What belongs to the calling thread or only to torch's defaults must
not change a byte of what is encoded; what changes the kernels that run may change the encoder's choice, and no more.
"""

import contextlib
import copy
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
import torch

from tests.golden.make import indices_sha256
from tests.support.internals import decode_grids, decode_streams, every_index
from vqcodec import Codec
from vqcodec.codec.decoder import Decoder
from vqcodec.codec.encoder import Encoder
from vqcodec.images.reading import Picture
from vqcodec.stream.container import Layout, read_stream
from vqcodec.weights import registry

PIXELS = np.ascontiguousarray(skimage.data.chelsea()[100:148, 130:200])
QUALITY_STEP = 150


@pytest.fixture(scope="module", params=["tiny", "shipped"])
def case(request, tiny_codec):
    """A codec and its results in torch's default state: a stream, the hash of its indices, its pixels."""
    codec = tiny_codec if request.param == "tiny" else Codec(device="cpu")
    data = encode(codec)
    return codec, data, *decode(codec, data)


def encode(codec, effort=1):
    return codec._encode_pictures([Picture(PIXELS, Layout.RGB)], [QUALITY_STEP], effort)[0]


def decode(codec, data):
    stream = read_stream(data)
    return indices_sha256(decode_grids(codec, [stream])[0]), np.int16(decode_streams(codec, [stream])[0])


@contextlib.contextmanager
def setting(get, set_, value):
    before = get()
    set_(value)
    try:
        yield
    finally:
        set_(before)


def default_dtype(dtype):
    return setting(torch.get_default_dtype, torch.set_default_dtype, dtype)


def matmul_precision(name):
    return setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, name)


TORCH_STATES = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast-float16": lambda: torch.autocast("cpu", torch.float16),
    "inference-mode": torch.inference_mode,
    "no-grad": torch.no_grad,
    "enable-grad": torch.enable_grad,
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "device-meta": lambda: torch.device("meta"),
    "deterministic": lambda: setting(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "numpy-raises": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("name", TORCH_STATES)
def test_the_callers_torch_state_changes_nothing(case, name):
    codec, data, indices, pixels = case
    with TORCH_STATES[name]():
        found, image = decode(codec, data)
        again = encode(codec)
    assert found == indices and again == data
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("name", TORCH_STATES)
def test_a_codec_may_be_made_in_any_torch_state(tiny_weights, tmp_path, name):
    """Read weights in that state, from a new file to bypass the cache, and use them in the default state."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(tiny_weights.read_bytes())
    with TORCH_STATES[name]():
        codec = Codec(model_path=path, device="cpu")
    reference = Codec(model_path=tiny_weights, device="cpu")
    assert encode(codec, effort=2) == encode(reference, effort=2)


KERNELS = {
    "one-thread": lambda: setting(torch.get_num_threads, torch.set_num_threads, 1),
    "two-threads": lambda: setting(torch.get_num_threads, torch.set_num_threads, 2),
    "mkldnn-off": lambda: setting(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled, False),
    "mkldnn-deterministic": lambda: setting(
        torch._C._get_mkldnn_deterministic, torch._C._set_mkldnn_deterministic, True
    ),
    "precision-high": lambda: matmul_precision("high"),
    "precision-medium": lambda: matmul_precision("medium"),  # bfloat16, on CPUs that have it
    "flush-denormals": lambda: setting(lambda: False, torch.set_flush_denormal, True),
}


@pytest.mark.parametrize("name", KERNELS)
def test_other_kernels_give_the_same_indices_and_near_pixels(case, name):
    codec, data, indices, pixels = case
    with KERNELS[name]():
        found, image = decode(codec, data)
        chosen = coded(codec._encoder)
    assert found == indices
    assert np.abs(image - pixels).max() <= 1
    assert decode(codec, chosen.data)[0] == indices_sha256(every_index(chosen.grids))


def test_other_layouts_of_memory_give_the_same_indices_and_near_pixels(case):
    codec, data, indices, pixels = case
    vqvae = copy.deepcopy(codec.model.vqvae).to(memory_format=torch.channels_last)
    cpu = torch.device("cpu")
    decoder = Decoder(codec.model, vqvae, cpu)
    stream = read_stream(data)
    assert indices_sha256(every_index(decoder.grids([stream])[0])) == indices
    assert np.abs(np.int16(decoder.decode([stream])[0]) - pixels).max() <= 1
    chosen = coded(Encoder(codec.model, vqvae, cpu))
    assert decode(codec, chosen.data)[0] == indices_sha256(every_index(chosen.grids))


def coded(encoder):
    return encoder.encode([Picture(PIXELS, Layout.RGB)], [QUALITY_STEP], [[]], 1)[0]


@pytest.mark.parametrize("mkldnn", [True, False])
@pytest.mark.parametrize("count", [1, 15, 16, 17])
def test_batch_size_changes_nothing(case, count, mkldnn):
    """NNPACK, where it is built in, is used from 16 pictures on if oneDNN is off."""
    codec = case[0]
    pictures = [Picture(np.roll(PIXELS[:17, :23], i, 0), Layout.RGB) for i in range(count)]
    steps = [15 * i for i in range(count)]
    with setting(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled, mkldnn):
        together = codec._encode_pictures(pictures, steps)
        assert together[-1] == codec._encode_pictures(pictures[-1:], steps[-1:])[0]
        streams = [read_stream(data) for data in together]
        every = [indices_sha256(grids) for grids in decode_grids(codec, streams)]
        images = decode_streams(codec, streams)
    for i in {0, count - 1}:
        indices, image = decode(codec, together[i])
        assert indices == every[i]
        assert np.abs(image - np.int16(images[i])).max() <= 1


SCRIPT = """
import json, locale, sys
import numpy as np
locale.setlocale(locale.LC_ALL, "")
from tests.test_exactness import decode
from vqcodec import Codec
found = {}
for weights, stream, pixels in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
    indices, image = decode(Codec(model_path=weights, device="cpu"), open(stream, "rb").read())
    found[weights] = indices, int(np.abs(image - np.load(pixels)).max())
print(json.dumps(found))
"""
"""Arguments: weights, stream and pixels, repeated; prints the hash of the indices and the largest pixel difference."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Prescott", "ATEN_CPU_CAPABILITY": "default", "LC_ALL": "C"},
        {"OMP_NUM_THREADS": "3", "OPENBLAS_CORETYPE": "Haswell", "ONEDNN_MAX_CPU_ISA": "SSE41", "LC_ALL": "C.UTF-8"},
    ],
    ids=["old-processor", "three-threads"],
)
def test_another_process_on_another_machine(tiny_codec, tiny_weights, tmp_path, environment):
    """Run with kernels for older processors, other thread counts, another locale."""
    arguments, expected = [], {}
    shipped = Codec(device="cpu")
    for codec, weights in ((tiny_codec, tiny_weights), (shipped, registry.weights_file(shipped.model.id))):
        data = encode(codec)
        indices, pixels = decode(codec, data)
        stem = tmp_path / codec.model.id
        stem.with_suffix(".vqc").write_bytes(data)
        np.save(stem.with_suffix(".npy"), pixels)
        arguments += [str(weights), str(stem.with_suffix(".vqc")), str(stem.with_suffix(".npy"))]
        expected[str(weights)] = indices
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {weights: indices for weights, (indices, _) in found.items()} == expected
    assert max(difference for _, difference in found.values()) <= 1
