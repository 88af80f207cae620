"""The header of a GGUF file: key/values, of which each is skipped until it is asked for, and what is said of each tensor.

Every count and length is held against the bytes that are left before it is believed. A vocabulary of 150,000 strings is walked over, not
made: a length, and on to the next.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from ...errors import EditError, Malformed
from ...storage.file import File
from ...tensors.checkpoint import Foreign

MAGIC = b"GGUF"
_MOST_HEADER = 256 << 20  # bytes; those of the largest vocabularies have about 10 MB
_MOST_ENTRIES = 1 << 20
_DEEPEST = 8  # arrays in arrays
_SHOWN = 64  # elements of an array that are shown; of a longer one the first few

T = TypeVar("T")
_READ: dict[int, Callable[[str], Any]] = {6: float, 7: lambda told: {"true": True, "false": False}[told.lower()], 12: float}

# Value types: what `struct` calls them, and what they are called here. 8 is a string, 9 an array.
_LETTERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_NAMES = {
    0: "uint8", 1: "int8", 2: "uint16", 3: "int16", 4: "uint32", 5: "int32", 6: "float32", 7: "bool", 8: "string", 9: "array",
    10: "uint64", 11: "int64", 12: "float64",
}  # fmt: skip
UINT32, STRING, _ARRAY = 4, 8, 9


class Value(NamedTuple):
    """A key/value: its type, and where in the file the pair begins, the value behind its type begins, and it ends."""

    type: int
    begin: int
    at: int
    end: int


class Info(NamedTuple):
    """What is said of a tensor. `shape` is in C order, `offset` counts from the beginning of the data."""

    name: str
    type: int
    shape: tuple[int, ...]
    offset: int


class Header:
    """All that stands before the data. `order` is `<` or `>`; `base` and `end` the bytes at which the data begin and, padded, end."""

    def __init__(self, file: File) -> None:
        cursor = Cursor(file)
        self.file, self.order, self.version = file, cursor.order, cursor.version
        count = cursor.count(24, "tensors", _MOST_ENTRIES)
        keys = cursor.count(13, "key/values", _MOST_ENTRIES)
        self.values: dict[str, Value] = dict(self._pairs(cursor, keys))
        self.tensors = [cursor.info() for _ in range(count)]
        self.alignment = self._alignment()
        self.base = self.end = -(-cursor.at // self.alignment) * self.alignment

    def _pairs(self, cursor: Cursor, count: int) -> Iterator[tuple[str, Value]]:
        seen: set[str] = set()
        for _ in range(count):
            begin, key = cursor.at, cursor.string("a key")
            if key in seen:
                raise Malformed(f"the key {key!r} is there twice")
            seen.add(key)
            kind, at = cursor.number("I"), cursor.at
            cursor.skip(kind, key)
            yield key, Value(kind, begin, at, cursor.at)

    def _alignment(self) -> int:
        value = self.values.get("general.alignment")
        if value is None:
            return 32
        found = self.value("general.alignment")
        if value.type != UINT32 or found < 1 or found & (found - 1):
            raise Malformed(f"general.alignment is {_NAMES[value.type]} {found!r:.40}, not a power of two in uint32")
        return int(found)

    def value(self, key: str) -> Any:
        """What a key stands for: a number, a text, a short array as a list; a long one by its type and its first elements."""
        value = self.values[key]
        raw = memoryview(self.file.read(value.at, value.end - value.at))
        if value.type != _ARRAY:
            return _scalar(raw, value.type, self.order)[0]
        kind, count = struct.unpack_from(self.order + "IQ", raw)
        items, _ = _items(raw, self.order, min(count, _SHOWN + 1))
        if count <= _SHOWN:
            return items
        return Foreign(f"{_NAMES[kind]}[{count}]", f"{count:,} of {_NAMES[kind]}: {', '.join(map(str, items[:3]))}, …")

    def raw(self, key: str) -> bytes:
        """A key and its value as they stand in the file."""
        value = self.values[key]
        return self.file.read(value.begin, value.end - value.begin)

    def with_text(self, key: str, told: str) -> bytes:
        """A key and what `told` means as its value, in the type that it has. Raises EditError where it means none."""
        value = self.values[key]
        begin = self.file.read(value.begin, value.at - value.begin)
        if value.type == STRING:
            return begin + _packed(told, self.order)
        try:
            return begin + struct.pack(self.order + _LETTERS[value.type], _READ.get(value.type, int)(told))
        except (ValueError, KeyError, struct.error, OverflowError):
            raise EditError(f"{key} is {_NAMES[value.type]} and cannot hold {told[:60]!r}") from None


class Values(Mapping[str, T], Generic[T]):
    """Keys and what they stand for, made when it is asked for."""

    def __init__(self, keys: list[str], make: Callable[[str], T]) -> None:
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


def metadata(header: Header) -> Values[str]:
    """The scalars and strings, as text."""
    keys = [key for key, value in header.values.items() if value.type != _ARRAY]
    return Values(keys, lambda key: text(header.value(key), header.values[key].type))


def arrays(header: Header) -> Values[Any]:
    return Values([key for key, value in header.values.items() if value.type == _ARRAY], header.value)


def text(value: Any, kind: int) -> str:
    """A scalar as it is shown: the fewest digits that give the same number back."""
    if kind == 6:
        from ...numbers.dtypes import DTYPES
        from ...numbers.text import text as spelled

        return spelled(DTYPES["float32"], value)
    return str(value).lower() if kind == 7 else str(value)


class Cursor:
    """A place in the header, of which so much is read as was needed until now."""

    def __init__(self, file: File) -> None:
        self.file, self.data, self.at = file, b"", 4
        self._reach(24)
        little, big = (int.from_bytes(self.data[4:8], order) for order in ("little", "big"))
        self.order, self.version = ("<", little) if little & 0xFFFF else (">", big)
        if self.version == 1:
            raise Malformed("GGUF version 1 is not read", "convert it with llama.cpp's gguf-py, or take a newer file")
        if self.version not in (2, 3):
            raise Malformed(f"GGUF version {self.version:,} is not known; 2 and 3 are")
        self.at = 8
        self._length = struct.Struct(self.order + "Q")

    def _reach(self, end: int) -> None:
        """Read on, so that `end` lies within what is read. Raises Malformed."""
        if end <= len(self.data):
            return
        if end > self.file.size:
            raise Malformed(f"truncated: {end - self.file.size:,} bytes of the header are missing", "download or copy it again")
        if end > _MOST_HEADER:
            raise Malformed(f"the header is said to have over {_MOST_HEADER:,} bytes: no vocabulary has")
        stop = min(self.file.size, max(end, 4 * len(self.data), 1 << 16), _MOST_HEADER)
        self.data += self.file.read(len(self.data), stop - len(self.data))

    def number(self, letter: str) -> Any:
        one = struct.Struct(self.order + letter)
        self._reach(self.at + one.size)
        (found,) = one.unpack_from(self.data, self.at)
        self.at += one.size
        return found

    def count(self, least: int, what: str, most: int = _MOST_HEADER) -> int:
        """A number of things that take at least so many bytes each."""
        found: int = self.number("Q")
        if found * least > self.file.size - self.at or found > most:
            raise Malformed(f"{found:,} {what} do not fit into what is left of the file", "download or copy it again")
        return found

    def string(self, what: str) -> str:
        length = self.number("Q")
        self._reach(self.at + length)
        raw = self.data[self.at : self.at + length]
        self.at += length
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise Malformed(f"{what} is no UTF-8: {raw[:60]!r}") from None

    def skip(self, kind: int, key: str, depth: int = 0) -> None:
        """Pass over a value."""
        if kind in _LETTERS:
            self.number(_LETTERS[kind])
        elif kind == STRING:
            self._skip_strings(1)
        elif kind == _ARRAY and depth < _DEEPEST:
            self._skip_array(key, depth)
        else:
            raise Malformed(f"{key}: value type {kind:,} is not known" if kind != _ARRAY else f"{key}: arrays nest too deep")

    def _skip_array(self, key: str, depth: int) -> None:
        kind = self.number("I")
        if kind in _LETTERS:
            size = struct.calcsize("<" + _LETTERS[kind])
            nbytes = self.count(size, f"elements of {key}") * size
            self.at += nbytes
            self._reach(self.at)
        elif kind == STRING:
            self._skip_strings(self.count(8, f"strings of {key}"))
        else:
            for _ in range(self.count(12, f"elements of {key}")):
                self.skip(kind, key, depth + 1)

    def _skip_strings(self, count: int) -> None:
        unpack, at = self._length.unpack_from, self.at
        while count:
            data = self.data
            try:
                while count:
                    at += 8 + unpack(data, at)[0]
                    count -= 1
            except struct.error:
                self._reach(at + 8)
        self.at = at
        self._reach(at)

    def info(self) -> Info:
        name = self.string("a tensor's name")
        axes = self.number("I")
        if axes > 4:
            raise Malformed(f"tensor {name!r}: {axes:,} dimensions; GGUF has 4 at most")
        sizes = [self.number("Q") for _ in range(axes)]
        kind, offset = self.number("I"), self.number("Q")
        return Info(name, kind, tuple(reversed(sizes)), offset)


def _scalar(raw: memoryview, kind: int, order: str, at: int = 0) -> tuple[Any, int]:
    """A number or a text, and where it ends."""
    if kind == STRING:
        end = at + 8 + struct.unpack_from(order + "Q", raw, at)[0]
        return bytes(raw[at + 8 : end]).decode(errors="backslashreplace"), end
    one = struct.Struct(order + _LETTERS[kind])
    return one.unpack_from(raw, at)[0], at + one.size


def _items(raw: memoryview, order: str, most: int, at: int = 0) -> tuple[list[Any], int]:
    """The first elements of an array, and where they end."""
    kind, count = struct.unpack_from(order + "IQ", raw, at)
    at, found = at + 12, []
    for _ in range(min(count, most)):
        item, at = _items(raw, order, count, at) if kind == _ARRAY else _scalar(raw, kind, order, at)
        found.append(item)
    return found, at


def pair(key: str, value: int | str, order: str) -> bytes:
    """A key with a string or a uint32, as a file has it."""
    if isinstance(value, str):
        return _packed(key, order) + struct.pack(order + "I", STRING) + _packed(value, order)
    return _packed(key, order) + struct.pack(order + "II", UINT32, value)


def _packed(text: str, order: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return struct.pack(order + "Q", len(raw)) + raw


def info(found: Info, order: str) -> bytes:
    """What a file says of a tensor."""
    numbers = (len(found.shape), *reversed(found.shape), found.type, found.offset)
    return _packed(found.name, order) + struct.pack(f"{order}I{len(found.shape)}QIQ", *numbers)


def head(order: str, version: int, tensors: int, values: int) -> bytes:
    return MAGIC + struct.pack(order + "IQQ", version, tensors, values)
