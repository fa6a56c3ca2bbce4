"""Blocks of resources as Photoshop writes them: in PSD files, in JPEG segments and in TIFF tags."""

from collections.abc import Iterator

from vqcodec.images.containers.contents import Notes

IPTC, ICC, EXIF, XMP, VERSION = 1028, 1039, 1058, 1060, 1057


def resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each block, up to the first that is damaged."""
    at = 0
    while data[at : at + 4] in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR") and at + 12 <= len(data):
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        at += 6 + (data[at + 6] + 2) // 2 * 2  # a name with its length, padded
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 4 + size > len(data):
            return
        yield number, data[at + 4 : at + 4 + size]
        at += 4 + size + size % 2


def note_iptc(data: bytes, notes: Notes) -> None:
    """Note that IPTC data beside EXIF and XMP are lost."""
    if any(number == IPTC and content for number, content in resources(data)):
        notes.lose("the IPTC data is not kept", "exif")
