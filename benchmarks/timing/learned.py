"""Other learned codecs, for timing only: CompressAI's models, if that package is installed.

Weights are random: they take as long as trained ones and need no download.  ``bmshj2018_hyperprior`` (Balle et al.
2018) has no autoregressive prior; ``mbt2018`` (Minnen et al. 2018) and ``cheng2020_anchor`` (Cheng et al. 2020) have
one, like vqcodec, but in floating point.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

MODELS = ("bmshj2018_hyperprior", "mbt2018", "cheng2020_anchor")
_QUALITY = 3
"""CompressAI's quality, from 1 to 8 or 6; it sets the width of the networks and thereby the time."""
_MULTIPLE = 64
"""The models need widths and heights that are multiples of this."""


@dataclass(frozen=True)
class Timed:
    """A model and its calls for one picture."""

    name: str
    encode: Callable[[], object]
    decode: Callable[[], object]


def models(picture: Image.Image) -> Iterator[Timed]:
    """Yield each model, on the CPU; none if CompressAI is not installed."""
    try:
        from compressai import zoo
    except ImportError:
        return
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    x = F.pad(x, (0, -x.shape[3] % _MULTIPLE, 0, -x.shape[2] % _MULTIPLE))
    for name in MODELS:
        torch.manual_seed(0)
        network = getattr(zoo, name)(_QUALITY, pretrained=False).eval()
        network.update(force=True)
        coded = _run(network.compress, x)
        decode = partial(_run, network.decompress, coded["strings"], coded["shape"])
        yield Timed(name, partial(_run, network.compress, x), decode)


@torch.no_grad()
def _run(function: Callable[..., dict[str, object]], *arguments: object) -> dict[str, object]:
    return function(*arguments)
