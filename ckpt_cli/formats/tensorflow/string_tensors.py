"""String tensors in a tensor bundle: the lengths of the strings as varints, a checksum of the lengths, and the bytes of the strings.

The checksum of the lengths (4 bytes, a masked CRC-32C) and that of the entry are over the lengths as numbers of 4 bytes each, or of 8
where they need it, little-endian. As WriteStringTensor and ReadStringTensor in tensorflow/core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import Malformed
from ...storage.crc32c import CRC32C
from ...storage.storage import Extent, Memory, Storage
from ..encodings.protobuf import number, varint
from .sstable import ChecksummedExtent, masked

_MOST_VERIFIED = 64 << 20  # bytes of strings that are held to verify them


def texts_of(extent: ChecksummedExtent, count: int) -> list[str] | None:
    """Return the `count` strings of an entry; None where they are broken or no text. Reads all of them."""
    raw = extent.read()
    try:
        lengths, at = _lengths(raw, count)
        at += 4
        texts = []
        for length in lengths:
            texts.append(raw[at : at + length].decode())
            at += length
    except (Malformed, UnicodeDecodeError):
        return None
    return texts


def text_of(extent: ChecksummedExtent) -> bytes:
    """Return the only string of an entry. Raises Malformed where it is broken."""
    raw = extent.read()
    _, at = _lengths(raw, 1)
    return raw[at + 4 :]


def encoded_text(text: bytes) -> tuple[bytes, int]:
    """Return the bytes of an entry with one string, and the checksum of the entry."""
    width = _widened([len(text)])
    checksum = masked(CRC32C.of(width)).to_bytes(4, "little")
    return number(len(text)) + checksum + text, CRC32C.of(width + checksum + text)


class _ChecksummedMemory(Memory):
    """Bytes that a checksum was computed of, though the file does not hold them as such."""

    __slots__ = ("crc",)
    sums = CRC32C

    def __init__(self, data: bytes, crc: int | None) -> None:
        super().__init__(data)
        self.crc = crc


def checksummed(extent: ChecksummedExtent, count: int) -> Storage:
    """Return what the checksum of an entry with `count` strings covers.

    Where the strings are broken that is their bytes as they stand, whose checksum does not match. Very many bytes are not verified.
    """
    if extent.nbytes > _MOST_VERIFIED:
        return Extent(extent.file, extent.offset, extent.nbytes)
    raw = extent.read()
    try:
        lengths, at = _lengths(raw, count)
    except Malformed:
        return extent
    return _ChecksummedMemory(_widened(lengths) + raw[at:], extent.crc)


def _lengths(raw: bytes, count: int) -> tuple[list[int], int]:
    """Return the lengths of `count` strings, and where their checksum begins. Raises Malformed where the strings do not fill `raw`."""
    if count > len(raw):
        raise Malformed("the strings are cut off")
    lengths, at = [], 0
    for _ in range(count):
        length, at = varint(raw, at, len(raw))
        lengths.append(length)
    if at + 4 + sum(lengths) != len(raw):
        raise Malformed("the strings do not fill their place")
    return lengths, at


def _widened(lengths: Sequence[int]) -> bytes:
    return b"".join(length.to_bytes(4 if length < 1 << 32 else 8, "little") for length in lengths)
