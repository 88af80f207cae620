"""The header of a GGUF file: key/values, whose values are decoded when they are asked for, and what is said of each tensor.

    magic `GGUF`, u32 version, u64 count of tensors, u64 count of key/values
    key/value   string key, u32 type, the value; an array is u32 type, u64 count, the elements
    tensor      string name, u32 axes, u64 for each axis (the one that runs fastest first), u32 type, u64 offset
    string      u64 length, UTF-8

As in docs/gguf.md of ggml-org/ggml. The data begin at the next multiple of `general.alignment`; offsets count from there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from ...errors import Malformed
from ...storage.file import File
from ...tensors.checkpoint import Foreign
from .cursor import ARRAY, BOOL, FLOAT32, NUMBER_LETTERS, STRING, TYPE_NAMES, UINT32, Cursor

MAGIC = b"GGUF"
_MOST_ENTRIES = 1 << 20
_SHOWN = 64  # elements of an array that are listed; of a longer one the first few

T = TypeVar("T")


class Value(NamedTuple):
    """A key/value: its type, and the bytes of the file at which the pair begins, the value begins, and the value ends."""

    type: int
    begin: int
    at: int
    end: int


class TensorInfo(NamedTuple):
    """What the header says of a tensor. `shape` is in C order; `offset` counts bytes from the beginning of the data."""

    name: str
    type: int
    shape: tuple[int, ...]
    offset: int


class Header:
    """All that stands before the data.

    Attributes:
        order: The byte order as `struct` has it, `<` or `>`.
        version: The version of the format.
        values: The key/values.
        tensors: What is said of each tensor.
        alignment: Bytes; the data of each tensor begin at a multiple of it.
        base: The byte of the file at which the data begin.
        end: The byte at which the data, with the padding behind them, end.
    """

    def __init__(self, file: File) -> None:
        """Read the header. Raises Malformed. The format sets `end` once it has placed the tensors."""
        cursor = Cursor(file)
        self.file, self.order, self.version = file, cursor.order, cursor.version
        count = cursor.count(24, "tensors", _MOST_ENTRIES)
        keys = cursor.count(13, "key/values", _MOST_ENTRIES)
        self.values: dict[str, Value] = dict(_values(cursor, keys))
        self.tensors = [_tensor_info(cursor) for _ in range(count)]
        self.alignment = self._alignment()
        self.base = self.end = -(-cursor.at // self.alignment) * self.alignment

    def _alignment(self) -> int:
        value = self.values.get("general.alignment")
        if value is None:
            return 32
        found = self.value("general.alignment")
        if value.type != UINT32 or found < 1 or found & (found - 1):
            raise Malformed(f"general.alignment is {TYPE_NAMES[value.type]} {found!r:.40}, not a power of two in uint32")
        return int(found)

    def value(self, key: str) -> Any:
        """Decode the value of a key: a number, a text, a short array as a list; a long one as its type and first elements."""
        value = self.values[key]
        raw = memoryview(self.file.read(value.at, value.end - value.at))
        if value.type != ARRAY:
            return _scalar(raw, value.type, self.order)[0]
        item_type, count = struct.unpack_from(self.order + "IQ", raw)
        items, _ = _items(raw, self.order, min(count, _SHOWN + 1))
        if count <= _SHOWN:
            return items
        name = TYPE_NAMES[item_type]
        return Foreign(f"{name}[{count}]", f"{count:,} of {name}: {', '.join(map(str, items[:3]))}, …")

    def raw(self, key: str) -> bytes:
        """Return a key and its value as they stand in the file."""
        value = self.values[key]
        return self.file.read(value.begin, value.end - value.begin)


def _values(cursor: Cursor, count: int) -> Iterator[tuple[str, Value]]:
    seen: set[str] = set()
    for _ in range(count):
        begin, key = cursor.at, cursor.string("a key")
        if key in seen:
            raise Malformed(f"the key {key!r} is there twice")
        seen.add(key)
        value_type, at = cursor.number("I"), cursor.at
        cursor.skip(value_type, key)
        yield key, Value(value_type, begin, at, cursor.at)


def _tensor_info(cursor: Cursor) -> TensorInfo:
    name = cursor.string("a tensor's name")
    axes = cursor.number("I")
    if axes > 4:
        raise Malformed(f"tensor {name!r}: {axes:,} dimensions; GGUF has 4 at most")
    sizes = [cursor.number("Q") for _ in range(axes)]
    tensor_type, offset = cursor.number("I"), cursor.number("Q")
    return TensorInfo(name, tensor_type, tuple(reversed(sizes)), offset)


class LazyValues(Mapping[str, T], Generic[T]):
    """A mapping whose values are made when they are asked for."""

    def __init__(self, keys: list[str], make: Callable[[str], T]) -> None:
        """Map each of `keys` to what `make` returns for it."""
        self._keys, self._make = dict.fromkeys(keys), make

    def __getitem__(self, key: str) -> T:
        if key not in self._keys:
            raise KeyError(key)
        return self._make(key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def metadata(header: Header) -> LazyValues[str]:
    """Return the numbers and strings of the header, as texts."""
    keys = [key for key, value in header.values.items() if value.type != ARRAY]
    return LazyValues(keys, lambda key: _text(header.value(key), header.values[key].type))


def arrays(header: Header) -> LazyValues[Any]:
    """Return the arrays of the header."""
    return LazyValues([key for key, value in header.values.items() if value.type == ARRAY], header.value)


def _text(value: Any, value_type: int) -> str:
    """Return a number or a string as a text: of a float the fewest digits that give the same number back."""
    if value_type == FLOAT32:
        from ...numbers.dtypes import DTYPES
        from ...numbers.text import text

        return text(DTYPES["float32"], value)
    return str(value).lower() if value_type == BOOL else str(value)


def _scalar(raw: memoryview, value_type: int, order: str, at: int = 0) -> tuple[Any, int]:
    """Decode the number or the string at `at`; return it and where it ends."""
    if value_type == STRING:
        end = at + 8 + struct.unpack_from(order + "Q", raw, at)[0]
        return bytes(raw[at + 8 : end]).decode(errors="backslashreplace"), end
    layout = struct.Struct(order + NUMBER_LETTERS[value_type])
    return layout.unpack_from(raw, at)[0], at + layout.size


def _items(raw: memoryview, order: str, most: int, at: int = 0) -> tuple[list[Any], int]:
    """Decode at most `most` elements of the array at `at`; return them and where the last one ends."""
    item_type, count = struct.unpack_from(order + "IQ", raw, at)
    at, items = at + 12, []
    for _ in range(min(count, most)):
        item, at = _items(raw, order, count, at) if item_type == ARRAY else _scalar(raw, item_type, order, at)
        items.append(item)
    return items, at
