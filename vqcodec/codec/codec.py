"""The :class:`Codec`: encode and decode pictures with one loaded model.

It reads pictures and streams and finds the model of each; ``encoder.py`` and ``decoder.py`` do the work.
"""

import copy
import math
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image

from vqcodec import defaults
from vqcodec.codec.choice import better_buy, store_exactly
from vqcodec.codec.decoder import Decoder
from vqcodec.codec.encoder import TILE_LOG2, Coded, Encoder, extra_sections
from vqcodec.codec.goal import encode_to_goal
from vqcodec.codec.rate_control import Goal
from vqcodec.codec.results import Decoded, Encoded, Reached
from vqcodec.codec.sampler import Classify, Sampler, class_scores
from vqcodec.codec.tiles import Box
from vqcodec.concurrency import threads
from vqcodec.concurrency.grouping import map_in_groups
from vqcodec.config import quality_step
from vqcodec.errors import (
    InvalidEffort,
    InvalidRealism,
    InvalidSampling,
    NotAVqcFile,
    UnknownModel,
    VqcError,
)
from vqcodec.files import AnyPath, from_position, read_bytes
from vqcodec.images.hidden import fill_hidden
from vqcodec.images.modes import Remark, warn
from vqcodec.images.reading import (
    AS_IS,
    Picture,
    Pixels,
    ReadOptions,
    Source,
    check_size,
    read_picture,
    to_pil,
)
from vqcodec.model.device import find_device
from vqcodec.model.torch_state import isolated_torch_state
from vqcodec.stream.container import BEST_QUALITY, Header, Layout, Stream, read_stream
from vqcodec.weights import registry

StreamSource = bytes | AnyPath | BinaryIO


class Codec:
    """Encode and decode pictures with one model, whose weights are loaded once.  Safe to share between threads.

    Decoding gives the same indices on every machine, and pixels that differ by at most one level.  Encoding gives the
    same bytes again on the same machine; another number of threads, library or device may change the encoder's choice
    of indices, and with it the bytes, which decode everywhere all the same.  The caller's torch settings (autocast,
    inference mode, gradients, default dtype) change neither.

    A process that was forked from one with a codec has none of torch's threads, and would wait for them for ever; its
    calls raise :class:`VqcError`.  Use ``multiprocessing.get_context("spawn")``, or ``torch.set_num_threads(1)`` first.
    """

    def __init__(
        self, model: str | None = None, *, model_path: str | os.PathLike[str] | None = None, device: str = "auto"
    ):
        """Load the weights.

        Args:
            model: id of a shipped model, see :func:`vqcodec.models`; by default the default model.
            model_path: a weights file to use instead.
            device: ``auto``, ``cpu`` or ``cuda[:N]``, for the transforms; the prior always runs on the CPU.

        A model that is given here decodes every stream.  Without one, each stream is decoded with the shipped model
        that its header names.

        Raises:
            UnknownModel, InvalidWeights, MissingFile, UnreadableFile, DeviceUnavailable.
        """
        self.device = find_device(device)
        self._process = os.getpid()
        self._chosen = model is not None or model_path is not None
        self.model = registry.load_model(model) if model_path is None else registry.load_weights(model_path)
        vqvae = self.model.vqvae
        if self.device.type != "cpu":
            with isolated_torch_state():
                vqvae = copy.deepcopy(vqvae).to(self.device)
        self._encoder = Encoder(self.model, vqvae, self.device)
        self._decoder = Decoder(self.model, vqvae, self.device)
        self._other_decoders: dict[bytes, Decoder] = {}
        """Decoders of other shipped models, by the hash that headers name them by."""

    def encode(
        self,
        image: Source,
        quality: float = defaults.QUALITY,
        *,
        effort: int = defaults.EFFORT,
        max_pixels: int = defaults.MAX_PIXELS,
        options: ReadOptions = AS_IS,
        lossless: bool | None = None,
    ) -> bytes:
        """Encode a picture and return the bytes of its stream.

        Args:
            image: a path, a binary file, a PIL image, or a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).  A
                file is read as in :meth:`decode`.  Of a PIL image ``info`` holds the metadata; what Pillow's readers
                leave out, or get wrong, is known only of an image whose pixels are not loaded yet: pass its file.
            quality: 0 to 100, continuous; higher is better and larger.
            effort: 0 to 6; higher is slower to encode and smaller.  Decoding takes the same time.
            max_pixels: refuse pictures with more pixels; 0 lifts the limit.
            options: what to keep of alpha and metadata.
            lossless: True stores the colours exactly, whatever the quality; False stores indices.  By default the
                stream holds what costs less at this quality, which for drawings and text is often the exact picture.

        Raises:
            MissingFile, UnreadableFile, InvalidImage, ImageTooLarge, InvalidQuality, InvalidEffort.

        Warns:
            VqcWarning: for each thing that cannot be kept, such as 16 bits per sample.
        """
        step = quality_step(quality)
        check_effort(effort)
        picture = read_picture(image, max_pixels, options)
        _warn(picture.remarks)
        return self._encode_pictures([picture], [step], effort, lossless)[0]

    def decode(
        self,
        data: StreamSource,
        *,
        max_pixels: int = defaults.MAX_PIXELS,
        partial: bool = False,
        realism: float = defaults.REALISM,
    ) -> Image.Image:
        """Decode a stream and return a PIL image of mode L, LA, RGB or RGBA.

        ``image.info`` holds the stream's ``icc_profile``, ``exif`` and ``xmp``, as far as it has them.

        Args:
            data: the bytes of a stream, or a path or binary file that holds them, from its position to its end; a file
                at its end is read from its beginning.
            max_pixels: refuse pictures with more pixels; 0 lifts the limit.
            partial: decode what is intact of a damaged stream, with a :class:`VqcWarning` for each defect.  Without its
                bottom level a part of the picture is coarse, without its top level, too, it is grey.
            realism: 0 for the picture with the least error, 1 for one with lifelike texture, between them for a mixture
                of their pixels.  From quality 50 on the lifelike picture approaches the other; from 60 on, and where
                the stream holds exact pixels, there is no difference.

        Raises:
            MissingFile, UnreadableFile, NotAVqcFile, UnsupportedVersion, UnsupportedFeature, TruncatedStream,
            CorruptStream, MalformedStream, UnknownModel, ModelMismatch, ImageTooLarge, InvalidRealism,
            RealismUnavailable.
        """
        stream, decoder = self._open(data, max_pixels, partial, realism)
        _warn(defects(stream))
        return decoder.decode([stream], realism)[0]

    def encode_batch(
        self,
        images: Iterable[Source],
        quality: float = defaults.QUALITY,
        *,
        effort: int = defaults.EFFORT,
        max_pixels: int = defaults.MAX_PIXELS,
        options: ReadOptions = AS_IS,
        lossless: bool | None = None,
    ) -> Iterator[Encoded]:
        """Encode many pictures like :meth:`encode`, and yield one result for each, in their order.

        A picture that fails gives a result with its ``error``; the others are not affected.  Pictures of similar size
        are coded together, and several groups at once in threads, which is faster and gives the same bytes.  Only a few
        pictures are held at a time, so ``images`` may be a generator of any length.  Until the iterator is exhausted
        or closed, BLAS uses one thread in this process.

        Raises:
            InvalidQuality, InvalidEffort: at once.
        """
        step = quality_step(quality)
        check_effort(effort)

        def read(image: Source) -> Picture:
            return read_picture(image, max_pixels, options)

        def size(picture: Picture) -> tuple[int, int]:
            return picture.pixels.shape[:2]

        def work(pictures: Sequence[Picture]) -> list[bytes]:
            return self._encode_pictures(pictures, [step] * len(pictures), effort, lossless)

        return (
            Encoded(o.index, o.result, o.error, o.prepared.remarks if o.prepared else (), o.seconds)
            for o in map_in_groups(images, read, size, work, threads.default_threads())
        )

    def decode_batch(
        self,
        streams: Iterable[StreamSource],
        *,
        max_pixels: int = defaults.MAX_PIXELS,
        partial: bool = False,
        realism: float = defaults.REALISM,
    ) -> Iterator[Decoded]:
        """Decode many streams like :meth:`decode`, and yield one result for each, in their order.

        A stream that fails gives a result with its ``error``; the others are not affected.

        Raises:
            InvalidRealism: at once.
        """
        check_realism(realism)

        def read(data: StreamSource) -> tuple[Stream, Decoder]:
            return self._open(data, max_pixels, partial, realism)

        def size(opened: tuple[Stream, Decoder]) -> tuple[int, int]:
            header = opened[0].header
            return header.height, header.width

        def work(opened: Sequence[tuple[Stream, Decoder]]) -> list[Image.Image]:
            first = opened[0][1]
            if all(decoder is first for _, decoder in opened):
                return first.decode([stream for stream, _ in opened], realism)
            return [decoder.decode([stream], realism)[0] for stream, decoder in opened]

        return (
            Decoded(o.index, o.result, o.error, defects(o.prepared[0]) if o.prepared else (), o.seconds)
            for o in map_in_groups(streams, read, size, work, threads.default_threads())
        )

    def decode_strips(
        self, data: StreamSource, *, max_pixels: int = defaults.MAX_PIXELS, realism: float = defaults.REALISM
    ) -> Iterator[Image.Image]:
        """Decode some rows at a time: yield images of full width, from the top.

        For pictures that are too large to hold in memory; set ``max_pixels=0`` for those beyond its default.  All
        indices are decoded first and take 2.3 bytes per pixel, more at high quality.  Every strip carries the metadata.

        Raises:
            what :meth:`decode` raises: at once where header and checksums show it, else with the first strip.
        """
        stream, decoder = self._open(data, max_pixels, partial=False, realism=realism)
        return decoder.strips(stream, realism)

    def encode_to_goal(
        self,
        image: Source,
        goal: Goal,
        *,
        effort: int = defaults.EFFORT,
        max_pixels: int = defaults.MAX_PIXELS,
        options: ReadOptions = AS_IS,
        lossless: bool | None = None,
    ) -> Reached:
        """Search the quality that comes nearest to a size, a rate or a PSNR, within 2 % or 0.1 dB.

        At most 8 qualities are tried; with a high effort, at most 8 with a low one first, so that few remain.  The
        picture is read once, and its alpha plane and metadata are coded once.  PSNR is that of the colours, without
        alpha.

        By default the stream holds the exact picture instead, if that takes no more bytes than the goal allows, or than
        the stream of the wanted PSNR.  ``lossless=True`` allows nothing else, ``lossless=False`` does not allow it.

        Raises:
            GoalOutOfReach, and what :meth:`encode` raises except InvalidQuality.
        """
        check_effort(effort)
        picture = read_picture(image, max_pixels, options)
        extras = extra_sections(picture)
        if picture.alpha is not None and not lossless:
            fill_hidden(picture.pixels, picture.alpha)
        self._check_process()

        def encode(step: int, effort: int) -> Coded:
            return self._encoder.encode([picture], [step], [extras], effort)[0]

        return encode_to_goal(picture, extras, goal, effort, lossless, encode, self._decoded_colours)

    def decode_preview(
        self, data: StreamSource, *, max_pixels: int = defaults.MAX_PIXELS, partial: bool = False
    ) -> Image.Image:
        """Decode a coarse picture at full size from the top grid alone; alpha and metadata as in :meth:`decode`.

        The preview of an exact picture is the picture itself, which takes less time.

        Raises what :meth:`decode` raises.
        """
        stream, decoder = self._open(data, max_pixels, partial)
        _warn(defects(stream))
        return decoder.preview(stream)

    def decode_region(
        self,
        data: StreamSource,
        box: Box,
        *,
        max_pixels: int = defaults.MAX_PIXELS,
        partial: bool = False,
        realism: float = defaults.REALISM,
    ) -> Image.Image:
        """Decode a rectangle: the crop of what :meth:`decode` gives, up to one level of rounding.

        Only the tiles that the rectangle depends on are decoded.  ``max_pixels`` limits the rectangle.

        Raises:
            InvalidRegion, and what :meth:`decode` raises.
        """
        stream, decoder = self._open(data, 0, partial, realism)
        header = stream.header
        box.check_inside(header.width, header.height)
        check_size(box.width, box.height, max_pixels)
        if header.layout.has_alpha:  # the alpha plane is not tiled
            check_size(header.width, header.height, max_pixels)
        _warn(defects(stream))
        return decoder.region(stream, box, realism)

    def sample(
        self,
        count: int = 1,
        *,
        size: tuple[int, int] | None = None,
        quality: float = defaults.QUALITY,
        temperature: float = 1.0,
        seed: int = 0,
        label: str | None = None,
        start: StreamSource | None = None,
        keep: float = 1.0,
        classifier: Classify | None = None,
        max_pixels: int = defaults.MAX_PIXELS,
    ) -> list[Image.Image]:
        """Draw pictures from the prior (Razavi et al. 2019, arXiv:1906.00446, sections 3.2 and 3.3).

        The same arguments draw the same indices on every machine, and picture ``i`` does not depend on ``count``.
        Tiles of 1024 pixels are drawn independently of each other, as they are coded.

        Args:
            count: number of pictures.
            size: ``(width, height)`` in pixels; by default that of the crops that the model was trained on.
            quality: 0 to 100: draw what the prior expects at this quality.
            temperature: 1 draws by the coder's frequencies, less makes likely indices likelier, 0 takes the likeliest
                index each time.
            seed: 0 to 2^64 - 1.
            label: a class of the model (``codec.model.config.classes``); by default any picture.
            start: a stream whose top indices, size and quality are kept; the rest is drawn.
            keep: the share of the drawn pictures that is returned, above 0 up to 1: those that the classifier finds
                likeliest of ``label``, or of any class without one.
            classifier: maps pictures (B, 3, H, W) in [0, 1] to logits (B, classes), in the order of its ``classes``, or
                of the model's without that attribute.
            max_pixels: refuse pictures with more pixels; 0 lifts the limit.

        Raises:
            InvalidSampling, InvalidQuality, ImageTooLarge, and for ``start`` what :meth:`decode` raises.
        """
        if count < 1 or not 0 < keep <= 1:
            raise InvalidSampling(f"count must be at least 1 and keep in (0, 1], not {count} and {keep}")
        if keep < 1 and classifier is None:
            raise InvalidSampling("keep below 1 needs a classifier")
        self._check_process()
        sampler, top = Sampler(self.model), None
        if start is None:
            width, height = size or sampler.default_size()
            check_size(width, height, max_pixels)
            if min(width, height) < 1:
                raise InvalidSampling(f"the size must be at least 1x1, not {width}x{height}")
            header = Header(self.model.hash, width, height, Layout.RGB, quality_step(quality), TILE_LOG2)
        else:
            stream = read_stream(read_source(start))
            if stream.is_exact:
                raise InvalidSampling("the stream to start from holds exact pixels: encode the picture as indices")
            self._decoder.check(stream, max_pixels)
            header = stream.header
            ((top,),) = self._decoder.grids([stream], levels=1)
        every = sampler.grids(header, math.ceil(count / keep), seed, temperature, label, top)
        layout = header.layout.opaque
        images = [to_pil(Picture(self._decoder.synthesis.pixels(header, grids), layout)) for grids in every]
        if classifier is None or keep == 1:
            return images
        number = None if label is None else sampler.number_in(classifier, label)
        scores = class_scores(images, classifier, number)
        best = sorted(sorted(range(len(images)), key=lambda i: -scores[i])[:count])
        return [images[i] for i in best]

    def index_bits(self, data: StreamSource, *, max_pixels: int = defaults.MAX_PIXELS) -> float:
        """Return ``-log2 p(z)`` in bits of a stream's indices z: what the prior says that they cost, without overhead.

        Raises :class:`InvalidSampling` for a stream of exact pixels, which has no indices, and what :meth:`decode`
        raises.
        """
        stream, decoder = self._open(data, max_pixels, partial=False)
        if stream.is_exact:
            raise InvalidSampling("the stream holds exact pixels and no indices")
        return decoder.index_bits(stream)

    def _decoded_colours(self, coded: Coded) -> Pixels:
        """Return the colours (H, W, 3) that decoding will give."""
        pixels = self._decoder.synthesis.pixels(coded.header, coded.grids)
        return np.asarray(to_pil(Picture(pixels, coded.header.layout.opaque)).convert("RGB"))

    def _open(self, data: StreamSource, max_pixels: int, partial: bool, realism: float = 0.0) -> tuple[Stream, Decoder]:
        """Read and check a stream, and find its decoder."""
        self._check_process()
        check_realism(realism)
        stream = read_stream(read_source(data), partial=partial)
        decoder = self._decoder_of(stream)
        decoder.check(stream, max_pixels, realism)
        return stream, decoder

    def _check_process(self) -> None:
        """Raise :class:`VqcError` in a forked process, whose copy of torch waits for threads that it does not have."""
        if os.getpid() != self._process and torch.get_num_threads() > 1:
            raise VqcError(
                "a Codec cannot be used in a forked process with several threads: "
                "start processes by 'spawn', or call torch.set_num_threads(1) in them"
            )

    def _decoder_of(self, stream: Stream) -> Decoder:
        """Return the decoder of this codec's model, or of the shipped model that a stream of indices needs."""
        header = stream.header
        if self._chosen or stream.is_exact or header.model_hash == self.model.hash:
            return self._decoder
        if header.model_hash not in self._other_decoders:
            self._other_decoders[header.model_hash] = Codec(_model_of(header), device=str(self.device))._decoder
        return self._other_decoders[header.model_hash]

    def _lambda(self, coded: Coded) -> float:
        """Return the price of squared error, in bits, at the quality of a stream."""
        return self.model.config.lambda_at(coded.header.quality / BEST_QUALITY)

    def _encode_pictures(
        self,
        pictures: Sequence[Picture],
        steps: Sequence[int],
        effort: int = defaults.EFFORT,
        lossless: bool | None = None,
    ) -> list[bytes]:
        """Encode pictures that are read already, at their quality steps."""
        self._check_process()
        extras = [extra_sections(picture) for picture in pictures]
        for picture in pictures:
            if picture.alpha is not None and not lossless:
                fill_hidden(picture.pixels, picture.alpha)
        if lossless:
            return [store_exactly(picture, others, effort) for picture, others in zip(pictures, extras, strict=True)]
        every = self._encoder.encode(pictures, steps, extras, effort)
        if lossless is not None:
            return [coded.data for coded in every]
        return [
            better_buy(picture, others, effort, coded, self._lambda(coded), self._decoded_colours)
            for picture, others, coded in zip(pictures, extras, every, strict=True)
        ]


def defects(stream: Stream) -> tuple[Remark, ...]:
    """Return what is missing of a damaged stream, as remarks for the user."""
    return tuple(Remark(f"incomplete: {error}") for error in stream.damage)


def _warn(remarks: Sequence[Remark]) -> None:
    """Warn the caller of a public method of what is lost."""
    for remark in remarks:
        warn(remark, stacklevel=4)


def check_effort(effort: int) -> None:
    """Raise :class:`InvalidEffort` unless ``effort`` is one of :data:`vqcodec.defaults.EFFORTS`."""
    try:
        known = operator.index(effort) in defaults.EFFORTS
    except TypeError:
        known = False
    if not known:
        raise InvalidEffort(f"effort must be an integer from 0 to {max(defaults.EFFORTS)}, not {effort!s}")


def check_realism(realism: float) -> None:
    """Raise :class:`InvalidRealism` unless ``realism`` is a number from 0 to 1."""
    try:
        known = 0 <= realism <= 1
    except TypeError:
        known = False
    if not known:
        raise InvalidRealism(f"realism must be a number from 0 to 1, not {realism!s}")


def codec_of(stream: Stream) -> Codec:
    """Return a codec on the CPU that decodes a stream of a shipped model.  Raises :class:`UnknownModel`."""
    return Codec(None if stream.is_exact else _model_of(stream.header), device="cpu")


def _model_of(header: Header) -> str:
    """Return the id of the shipped model that a header names.  Raises :class:`UnknownModel`."""
    name = registry.find_model(header.model_hash)
    if name is None:
        raise UnknownModel(f"made with model {header.model_hash.hex()}, whose weights are not installed")
    return name


def read_source(data: StreamSource) -> bytes:
    """Read the bytes of a stream from bytes, a path or a binary file; see :func:`vqcodec.files.from_position`."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if isinstance(data, str | os.PathLike):
        return read_bytes(data)
    content = from_position(data).read() if hasattr(data, "read") else None
    if not isinstance(content, bytes):
        raise NotAVqcFile(f"{type(data).__name__} is neither bytes nor a path nor a binary file")
    return content
