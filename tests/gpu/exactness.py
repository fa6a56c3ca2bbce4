"""Transforms on a GPU against those on the CPU: the same indices from the same stream, pixels within one level.

    python -m tests.gpu.exactness [DEVICE]

Exit code 0: all agree; 1: something does not; 2: there is no GPU here, so nothing was checked.
"""

import sys
from collections.abc import Iterator

import numpy as np
import skimage.data
import torch

from tests.golden.make import indices_sha256
from tests.support.internals import decode_grids
from vqcodec import Codec
from vqcodec.stream.container import read_stream

QUALITIES = (0, 25, 50, 75, 100)


def pictures() -> Iterator[tuple[str, np.ndarray]]:
    """Yield photographs (H, W, 3) and crops of them, also of odd sizes."""
    photo = skimage.data.astronaut()
    yield "astronaut", photo
    yield "chelsea", skimage.data.chelsea()
    yield "narrow", np.ascontiguousarray(photo[:33, :500])
    yield "pixel", np.ascontiguousarray(photo[:1, :1])


def compare(data: bytes, one: Codec, other: Codec) -> tuple[bool, np.ndarray]:
    """Decode a stream on both devices: whether the indices are equal, and the difference of each pixel."""
    stream = read_stream(data)
    indices = [indices_sha256(decode_grids(codec, [stream])[0]) for codec in (one, other)]
    first, second = (np.int16(codec.decode(data)) for codec in (one, other))
    return indices[0] == indices[1], np.abs(first - second)


def main(device: str = "cuda") -> int:
    """Print a line for each picture, quality and encoding device; return the exit code."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing was checked")
        return 2
    cpu, gpu = Codec(device="cpu"), Codec(device=device)
    print(f"{torch.cuda.get_device_name(gpu.device)}, torch {torch.__version__}, model {cpu.model.id}")
    failures = 0
    for tf32 in (torch.backends.cudnn.allow_tf32, False):
        torch.backends.cudnn.allow_tf32 = tf32
        for name, pixels in pictures():
            for quality in QUALITIES:
                for side, codec in (("cpu", cpu), ("gpu", gpu)):
                    data = codec.encode(pixels, quality)
                    same, apart = compare(data, cpu, gpu)
                    good = same and apart.max() <= 1
                    failures += not good
                    print(
                        f"{'ok' if good else 'FAILED'}: TF32 {'on' if tf32 else 'off'}, {name}, quality {quality}, "
                        f"encoded on {side}: {len(data)} bytes, indices {'equal' if same else 'DIFFER'}, "
                        f"{np.mean(apart > 0):.4%} of the samples differ, by {apart.max()} at most"
                    )
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
