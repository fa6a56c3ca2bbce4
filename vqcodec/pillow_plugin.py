"""``Image.open("x.vqc")`` and ``image.save("x.vqc", quality=60)``: the codec as a plugin of Pillow.

Importing this module registers the format.  Opening reads the header and the metadata; torch and the weights are
loaded when pixels are first asked for.  Limits on size are Pillow's own.
"""

import dataclasses
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from vqcodec import defaults
from vqcodec.errors import InvalidImage, NotAVqcFile, TruncatedStream, VqcError
from vqcodec.images import metadata
from vqcodec.images.modes import warn
from vqcodec.stream import container
from vqcodec.stream.container import MAGIC, SectionKind
from vqcodec.stream.metadata import Metadata, read_metadata

if TYPE_CHECKING:
    from vqcodec.codec.codec import Codec

FORMAT = "VQC"
MIME = "image/x-vqc"
_DRAFT_SCALES = (16, 8, 4)
"""Factors that a draft is reduced by.  A preview holds about the detail of a quarter of the size."""

_codec: "Codec | None" = None
"""The codec given to :func:`register_pillow`.  By default the default model encodes, each stream's own decodes."""


def register_pillow(codec: "Codec | None" = None) -> None:
    """Register ``.vqc`` files with Pillow, for reading and writing.  Repeated calls are allowed.

    Args:
        codec: reads and writes all ``.vqc`` files from now on; by default the shipped models do.
    """
    global _codec
    _codec = codec
    Image.register_open(FORMAT, VqcImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, ".vqc")
    Image.register_mime(FORMAT, MIME)


class VqcImageFile(ImageFile.ImageFile):
    """An open ``.vqc`` file; :meth:`load` decodes its pixels."""

    format = FORMAT
    format_description = "vqcodec image"
    realism = defaults.REALISM
    """That of :meth:`vqcodec.Codec.decode`.  Set it before the pixels are loaded; drafts do not change."""
    _pending = False
    """True until the pixels are decoded; False for an unpickled image."""

    def _open(self) -> None:
        fp = self._file()
        try:
            header, _ = container.read_header(fp.read(container.MAX_HEADER_BYTES))
            sections = container.find_sections(fp, frozenset({SectionKind.ICC, SectionKind.EXIF, SectionKind.XMP}))
            found = read_metadata(sections)
        except (NotAVqcFile, TruncatedStream) as error:
            raise SyntaxError(str(error)) from error  # tells Pillow to try another plugin
        except VqcError as error:
            raise OSError(str(error)) from error
        self._size = header.width, header.height
        self._mode = header.layout.mode
        self._scale = 1
        self._pending = True
        metadata.attach(self, found)

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Choose a preview, reduced as far as the wanted ``size`` allows.  ``mode`` is ignored."""
        if size is None or not self._pending or self._scale != 1:
            return None
        width, height = self.size
        room = min(width // max(size[0], 1), height // max(size[1], 1))
        scale = next((scale for scale in _DRAFT_SCALES if scale <= room), None)
        if scale is None:
            return None
        self._scale = scale
        self._size = -(-width // scale), -(-height // scale)
        return self.mode, (0, 0, width / scale, height / scale)

    def load(self) -> Any:
        """Decode; raises :class:`OSError` for a damaged file."""
        if self._pending:
            fp = self._file()
            fp.seek(0)
            try:
                decoded = self._decode(fp.read())
            except VqcError as error:
                raise OSError(str(error)) from error
            self.im, self._mode = decoded.im, decoded.mode  # without alpha if a truncated file lacks it
            self._pending = False
            if self._exclusive_fp:
                fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Verify every checksum without decoding.  Raises :class:`OSError`.  Reopen the image afterwards."""
        fp = self._file()
        fp.seek(0)
        try:
            container.read_stream(fp.read())
        except VqcError as error:
            raise OSError(str(error)) from error
        super().verify()

    def _decode(self, data: bytes) -> Image.Image:
        from vqcodec.codec.codec import codec_of

        partial = ImageFile.LOAD_TRUNCATED_IMAGES
        codec = _codec or codec_of(container.read_stream(data, partial=partial))
        if self._scale == 1:
            return codec.decode(data, max_pixels=0, partial=partial, realism=self.realism)
        return codec.decode_preview(data, max_pixels=0, partial=partial).reduce(self._scale)

    def _file(self) -> IO[bytes]:
        if self.fp is None:
            raise ValueError("the file was closed")
        return self.fp


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Write the image.  ``quality`` and ``lossless`` are those of :meth:`vqcodec.Codec.encode`.

    ``exif``, ``icc_profile`` and ``xmp`` replace those of the image.
    """
    from vqcodec.codec.codec import Codec
    from vqcodec.config import quality_step
    from vqcodec.images.reading import read_picture

    given = image.encoderinfo
    step = quality_step(given.get("quality", defaults.QUALITY))
    try:
        picture = read_picture(image, max_pixels=0)
    except InvalidImage as error:
        raise OSError(f"cannot write mode {image.mode} as {FORMAT}: {error}") from error
    for remark in picture.remarks:
        warn(remark, stacklevel=5)
    picture = dataclasses.replace(picture, metadata=_override(picture.metadata, given))
    codec = _codec or Codec(device="cpu")
    fp.write(codec._encode_pictures([picture], [step], lossless=given.get("lossless"))[0])


def _override(own: Metadata, given: dict[str, Any]) -> Metadata:
    """Return the image's metadata, replaced by those that the call to ``save`` gives."""
    carrier = Image.new("1", (1, 1))
    metadata.attach(carrier, own)
    for name in ("exif", "icc_profile", "xmp"):
        if name in given:
            value = given[name] or b""
            carrier.info[name] = value.tobytes() if isinstance(value, Image.Exif) else value
    return metadata.from_image(carrier)


register_pillow()
