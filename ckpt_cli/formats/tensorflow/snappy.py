"""Decompresses snappy: the length of the result, then literals and copies of what was decompressed before.

As in format_description.txt of google/snappy. No more is produced than the stated length, which is bounded by what copies can give.
"""

from __future__ import annotations

from ...errors import Malformed
from ..encodings.protobuf import varint

_MOST_RATIO = 32  # a copy of three bytes gives at most 64
_BROKEN = "the snappy-compressed data are broken"


def unpack(data: bytes) -> bytes:
    """Decompress `data`. Raises Malformed where they are cut off, or give other than the stated length."""
    length, at = varint(data, 0, len(data))
    if length > _MOST_RATIO * len(data):
        raise Malformed(f"{len(data):,} bytes of snappy say that they are {length:,} bytes")
    out = bytearray()
    while at < len(data) and len(out) <= length:
        tag = data[at]
        size, distance, at = _literal(data, at) if tag & 3 == 0 else _copy(data, at)
        if distance == 0:
            out += data[at : at + size]
            at += size
        else:
            _repeat(out, size, distance)
        if at > len(data):
            raise Malformed(_BROKEN)
    if len(out) != length:
        raise Malformed(_BROKEN)
    return bytes(out)


def _literal(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the length of the literal at `at`, 0 for the distance, and where its bytes begin."""
    size = data[at] >> 2
    if size < 60:
        return size + 1, 0, at + 1
    width = size - 59
    return int.from_bytes(data[at + 1 : at + 1 + width], "little") + 1, 0, at + 1 + width


def _copy(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the length of the copy at `at`, its distance in bytes from the end of the output, and where the next tag stands."""
    tag, kind = data[at], data[at] & 3
    if kind == 1:
        distance = (tag >> 5) << 8 | int.from_bytes(data[at + 1 : at + 2], "little")
        size, at = (tag >> 2 & 7) + 4, at + 2
    else:
        width = 2 if kind == 2 else 4
        distance = int.from_bytes(data[at + 1 : at + 1 + width], "little")
        size, at = (tag >> 2) + 1, at + 1 + width
    if distance == 0:
        raise Malformed(_BROKEN)
    return size, distance, at


def _repeat(out: bytearray, size: int, distance: int) -> None:
    if distance > len(out):
        raise Malformed(_BROKEN)
    run = bytes(out[len(out) - distance :][:size])
    out += (run * (size // len(run) + 1))[:size]
