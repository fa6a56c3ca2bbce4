"""Functions that encode, decode or describe one picture or file with a shipped model, on the CPU."""

from pathlib import Path

from PIL import Image

from vqcodec import defaults, metrics
from vqcodec.codec.codec import Codec, StreamSource, codec_of, read_source
from vqcodec.codec.results import StreamInfo
from vqcodec.config import quality_of
from vqcodec.files import AnyPath, check_apart, write_atomically
from vqcodec.images.formats import picture_format, save_image_atomically
from vqcodec.images.reading import Source
from vqcodec.stream.container import read_stream
from vqcodec.weights import registry


def encode(
    image: Source, quality: float = defaults.QUALITY, *, model: str | None = None, lossless: bool | None = None
) -> bytes:
    """Encode a picture on the CPU and return the bytes of its stream; see :meth:`Codec.encode`.

    Args:
        image: a path, a binary file, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4).
        quality: 0 to 100; higher is better and larger.
        model: id of a shipped model; by default the default one.
        lossless: True stores the colours exactly, False never does; by default the stream holds what costs less.
    """
    return Codec(model, device="cpu").encode(image, quality, lossless=lossless)


def decode(data: StreamSource, *, partial: bool = False, realism: float = defaults.REALISM) -> Image.Image:
    """Decode a stream (bytes, a path or a binary file) on the CPU and return a PIL image; see :meth:`Codec.decode`."""
    content = read_source(data)
    return codec_of(read_stream(content, partial=partial)).decode(content, partial=partial, realism=realism)


def encode_file(
    source: AnyPath,
    target: AnyPath,
    quality: float = defaults.QUALITY,
    *,
    model: str | None = None,
    lossless: bool | None = None,
) -> None:
    """Encode a picture file and write the stream to ``target``, which is replaced completely or not at all.

    ``model`` and ``lossless`` are those of :func:`encode`.

    Raises :class:`UnwritableFile`, :class:`OutputExists` if both are the same file, and what :meth:`Codec.encode`
    raises.
    """
    check_apart(source, target)
    write_atomically(target, encode(source, quality, model=model, lossless=lossless))


def decode_file(source: AnyPath, target: AnyPath, *, realism: float = defaults.REALISM) -> None:
    """Decode a stream and write it to ``target``, in the picture format of its suffix.

    ``realism`` is that of :meth:`Codec.decode`.

    Raises :class:`UnknownFormat`, :class:`UnwritableFile`, :class:`OutputExists` if both are the same file, and what
    :meth:`Codec.decode` raises.
    """
    check_apart(source, target)
    save_image_atomically(decode(source, realism=realism), target, picture_format(Path(target).suffix))


def info(data: StreamSource, *, model_path: AnyPath | None = None) -> StreamInfo:
    """Describe a stream without decoding it.  Its checksums are verified.

    ``model_path`` names a weights file that is to be known beside the shipped ones.  Raises what :meth:`Codec.decode`
    raises for a file that cannot be read or is damaged.
    """
    content = read_source(data)
    stream = read_stream(content)
    header = stream.header
    name, config = registry.find_config(header.model_hash, model_path) or (None, None)
    grids = config.grid_shapes(header.height, header.width) if config else []
    return StreamInfo(
        version=header.version,
        model=name,
        model_hash=header.model_hash.hex(),
        width=header.width,
        height=header.height,
        layout=header.layout.label,
        exact=stream.is_exact,
        quality=quality_of(header.quality),
        tint=header.tint,
        tile=1 << header.tile_log2,
        grids=[list(shape) for shape in grids],
        sections=[
            {"name": s.kind.label, "tile": s.tile, "bytes": len(s.payload), "bits": 8 * len(s.payload)}
            for s in stream.sections
        ],
        bytes=len(content),
        bpp=metrics.bits_per_pixel(len(content), header.width, header.height),
    )
