"""Encodes MessagePack in the fewest bytes, as msgpack for Python does."""

from __future__ import annotations

from struct import pack
from typing import Any

from .msgpack import FIXED_EXTENSIONS, NUMBERS, SIZED, WIDTHS, ValueKind

_CODES = {(kind, width): code for code, (kind, width) in SIZED.items()}
_EXTENSION_CODES = {length: code for code, length in FIXED_EXTENSIONS.items()}
_SHORT = {
    ValueKind.MAP: (0x80, 16),
    ValueKind.ARRAY: (0x90, 16),
    ValueKind.TEXT: (0xA0, 32),
}  # kind → first byte with the length in it, for lengths below


def head(kind: ValueKind, count: int, code: int = 0) -> bytes:
    """Encode what stands before the contents of a map, an array, a text, bytes or an extension.

    Args:
        kind: The kind of the value.
        count: The items of a map or an array, the bytes of others.
        code: The type of an extension.

    Raises:
        ValueError: The count is too large.
    """
    base, below = _SHORT.get(kind, (0, 0))
    if count < below:
        return bytes([base | count])
    if kind == ValueKind.EXTENSION and count in _EXTENSION_CODES:
        return bytes([_EXTENSION_CODES[count]]) + code.to_bytes(1, "big", signed=True)
    widths = [width for width in (1, 2, 4) if (kind, width) in _CODES and count < 1 << 8 * width]
    if not widths:
        raise ValueError(f"msgpack has no {kind} of {count} bytes")
    length = count.to_bytes(widths[0], "big")
    return bytes([_CODES[kind, widths[0]]]) + length + (code.to_bytes(1, "big", signed=True) if kind == ValueKind.EXTENSION else b"")


def packed(value: Any) -> bytes:
    """Encode None, a boolean, a number, a text or bytes. Raises TypeError for all else, and for integers of over 64 bits."""
    if value is None or type(value) is bool:
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if type(value) is int:
        return _integer(value)
    if type(value) is float:
        return b"\xcb" + pack(">d", value)
    if type(value) is str:
        raw = value.encode()
        return head(ValueKind.TEXT, len(raw)) + raw
    if type(value) is bytes:
        return head(ValueKind.BYTES, len(value)) + value
    raise TypeError(f"msgpack has no place for {type(value).__name__}")


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return bytes([value & 0xFF])
    for code in range(0xCC, 0xD0) if value >= 0 else range(0xD0, 0xD4):
        bits = 8 * WIDTHS[NUMBERS[code]]
        if (value >> bits == 0) if value >= 0 else (value >> (bits - 1) == -1):
            return bytes([code]) + pack(NUMBERS[code], value)
    raise TypeError("msgpack has no integer of over 64 bits")
