"""Snappy, unpacked: the stated length, then literals and copies of what was unpacked before.

As in format_description.txt of google/snappy. No more is made than the stated length, which is bounded by what copies can give.
"""

from __future__ import annotations

from ...errors import Malformed
from ..encodings.protobuf import varint

_MOST_RATIO = 32  # a copy of three bytes gives at most 64
_BROKEN = "the snappy-compressed data are broken"


def unpack(data: bytes) -> bytes:
    """Raises Malformed where `data` are cut off, or give other than the stated length."""
    length, at = varint(data, 0, len(data))
    if length > _MOST_RATIO * len(data):
        raise Malformed(f"{len(data):,} bytes of snappy say that they are {length:,} bytes")
    out = bytearray()
    while at < len(data) and len(out) <= length:
        tag = data[at]
        size, back, at = _literal(data, at) if tag & 3 == 0 else _copy(data, at)
        if back == 0:
            out += data[at : at + size]
            at += size
        else:
            _repeat(out, size, back)
        if at > len(data):
            raise Malformed(_BROKEN)
    if len(out) != length:
        raise Malformed(_BROKEN)
    return bytes(out)


def _literal(data: bytes, at: int) -> tuple[int, int, int]:
    """Length, 0, and where it begins."""
    size = data[at] >> 2
    if size < 60:
        return size + 1, 0, at + 1
    more = size - 59
    return int.from_bytes(data[at + 1 : at + 1 + more], "little") + 1, 0, at + 1 + more


def _copy(data: bytes, at: int) -> tuple[int, int, int]:
    """Length, how far back, and where what follows begins."""
    tag, kind = data[at], data[at] & 3
    if kind == 1:
        back = (tag >> 5) << 8 | int.from_bytes(data[at + 1 : at + 2], "little")
        size, at = (tag >> 2 & 7) + 4, at + 2
    else:
        width = 2 if kind == 2 else 4
        back = int.from_bytes(data[at + 1 : at + 1 + width], "little")
        size, at = (tag >> 2) + 1, at + 1 + width
    if back == 0:
        raise Malformed(_BROKEN)
    return size, back, at


def _repeat(out: bytearray, size: int, back: int) -> None:
    if back > len(out):
        raise Malformed(_BROKEN)
    run = bytes(out[len(out) - back :][:size])
    out += (run * (size // len(run) + 1))[:size]
