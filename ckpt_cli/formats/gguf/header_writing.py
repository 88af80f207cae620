"""Encodes the header of a GGUF file (see header for the format). `order` is the byte order as `struct` has it, `<` or `>`."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from ...errors import EditError
from .cursor import BOOL, FLOAT32, FLOAT64, NUMBER_LETTERS, STRING, TYPE_NAMES, UINT32
from .header import MAGIC, Header, TensorInfo

# How a text is turned into a value, where `int` does not do it.
_BOOLEANS = {"true": True, "false": False}
_PARSE: dict[int, Callable[[str], Any]] = {FLOAT32: float, BOOL: lambda text: _BOOLEANS[text.lower()], FLOAT64: float}
_RANGES = ((UINT32, 0, 1 << 32), (5, -(1 << 31), 0), (10, 0, 1 << 64), (11, -(1 << 63), 0))  # types of whole numbers, the likeliest first


def encoded_head(order: str, version: int, tensors: int, values: int) -> bytes:
    """Encode what stands before the key/values: magic, version, and the counts of tensors and of key/values."""
    return MAGIC + struct.pack(order + "IQQ", version, tensors, values)


class Typed(str):
    """The text of a value that is to be a number or a boolean; `type` is its type."""

    type: int

    @classmethod
    def of(cls, text: str) -> str:
        """Return a text as the value that it spells: true, false, an integer, a decimal number; any other text as it is."""
        value_type = BOOL if text.lower() in _BOOLEANS else _type_of_number(text)
        if value_type is None:
            return text
        typed = cls(text)
        typed.type = value_type
        return typed


def _type_of_number(text: str) -> int | None:
    """The type of a number: uint32 as llama.cpp has them, int32 for a negative one, 64 bits where it takes them; a float32."""
    if re.fullmatch(r"-?[0-9]{1,20}", text):
        fitting = (kind for kind, low, high in _RANGES if low <= int(text) < high)
        return next(fitting, None)
    return FLOAT32 if re.fullmatch(r"-?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=e))(e[-+]?[0-9]{1,3})?", text, re.IGNORECASE) else None


def encoded_pair(key: str, value: int | str, order: str) -> bytes:
    """Encode a key with a string, a number of its type, or with another number as a uint32."""
    if isinstance(value, Typed):
        number = _PARSE.get(value.type, int)(value)
        try:
            return encoded_number(key, value.type, number, order)
        except (struct.error, OverflowError):
            raise EditError(f"{key} is {TYPE_NAMES[value.type]} and cannot hold {value[:60]!r}") from None
    if isinstance(value, str):
        return _string(key, order) + struct.pack(order + "I", STRING) + _string(value, order)
    return _string(key, order) + struct.pack(order + "II", UINT32, value)


def encoded_number(key: str, value_type: int, value: int, order: str) -> bytes:
    """Encode a key with a number of a type."""
    return _string(key, order) + struct.pack(order + "I" + NUMBER_LETTERS[value_type], value_type, value)


def with_text(header: Header, key: str, text: str) -> bytes:
    """Encode a key of `header` with another value, which `text` stands for, of the type that it has.

    Raises:
        EditError: The type has no such value.
    """
    value = header.values[key]
    begin = header.file.read(value.begin, value.at - value.begin)
    if value.type == STRING:
        return begin + _string(text, header.order)
    try:
        return begin + struct.pack(header.order + NUMBER_LETTERS[value.type], _PARSE.get(value.type, int)(text))
    except (ValueError, KeyError, struct.error, OverflowError):
        raise EditError(f"{key} is {TYPE_NAMES[value.type]} and cannot hold {text[:60]!r}") from None


def encoded_info(info: TensorInfo, order: str) -> bytes:
    """Encode what the header says of a tensor."""
    numbers = (len(info.shape), *reversed(info.shape), info.type, info.offset)
    return _string(info.name, order) + struct.pack(f"{order}I{len(info.shape)}QIQ", *numbers)


def _string(text: str, order: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return struct.pack(order + "Q", len(raw)) + raw
