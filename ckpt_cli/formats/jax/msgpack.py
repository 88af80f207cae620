"""Reads MessagePack from an untrusted file: one value, without recursion. Long texts, bytes and extensions are spans of the file.

As in the specification of msgpack/msgpack; numbers are big-endian. Every length is checked against the bytes that are left, a map has no
key twice, keys are texts or integers, and values, depth and texts are bounded. Maps and arrays are object_nodes.Dict and .List.
"""

from __future__ import annotations

from enum import StrEnum
from struct import unpack
from typing import Any, NamedTuple

from ...errors import Malformed
from ...storage.file import File
from ..encodings.object_nodes import Dict, List

DEEPEST = 500  # msgpack for Python takes no more than 511
LONGEST_TEXT = 1 << 16  # bytes; a longer text is a span
_MOST_VALUES = 3_000_000
_READ_AHEAD = 8192  # bytes
_CURE = "download or copy it again"


class ValueKind(StrEnum):
    """The kinds of values that have a length, by their names in the specification."""

    MAP = "map"
    ARRAY = "array"
    TEXT = "str"
    BYTES = "bin"
    EXTENSION = "ext"


# The first byte of a value → what it is.
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
WIDTHS = {">f": 4, ">d": 8, ">B": 1, ">H": 2, ">I": 4, ">Q": 8, ">b": 1, ">h": 2, ">i": 4, ">q": 8}  # in bytes
SIZED = {  # kind, and how many bytes its length has
    0xC4: (ValueKind.BYTES, 1), 0xC5: (ValueKind.BYTES, 2), 0xC6: (ValueKind.BYTES, 4),
    0xC7: (ValueKind.EXTENSION, 1), 0xC8: (ValueKind.EXTENSION, 2), 0xC9: (ValueKind.EXTENSION, 4),
    0xD9: (ValueKind.TEXT, 1), 0xDA: (ValueKind.TEXT, 2), 0xDB: (ValueKind.TEXT, 4),
    0xDC: (ValueKind.ARRAY, 2), 0xDD: (ValueKind.ARRAY, 4), 0xDE: (ValueKind.MAP, 2), 0xDF: (ValueKind.MAP, 4),
}  # fmt: skip
FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}  # length in bytes


class Span(NamedTuple):
    """A value that was not decoded.

    Attributes:
        kind: TEXT, BYTES or EXTENSION.
        code: The type of an extension; 0 of others.
        head: The byte of the file at which the value begins.
        start: The byte at which its contents begin.
        nbytes: How many bytes these are.
    """

    kind: ValueKind
    code: int
    head: int
    start: int
    nbytes: int


class _Container:
    """A map or an array that is being read: `left` values are to come, keys included."""

    __slots__ = ("key", "known", "left", "node")

    def __init__(self, kind: ValueKind, count: int) -> None:
        self.node: Dict | List = Dict([]) if kind == ValueKind.MAP else List([])
        self.left = count * 2 if kind == ValueKind.MAP else count
        self.known: set[Any] = set()
        self.key: Any = None

    def add(self, value: Any) -> None:
        self.left -= 1
        if type(self.node) is List:
            self.node.items.append(value)
        elif self.left % 2:
            self.key = self._checked(value)
        elif type(self.node) is Dict:
            self.node.pairs.append((self.key, value))

    def _checked(self, key: Any) -> Any:
        if type(key) is not str and type(key) is not int:
            raise Malformed("a key of a map is neither a short text nor an integer")
        if key in self.known:
            raise Malformed(f"a map has the key {key!r} twice")
        self.known.add(key)
        return key


class MsgpackReader:
    """Reads values of a file, of which a few bytes are read ahead."""

    def __init__(self, file: File) -> None:
        """Read nothing yet."""
        self.file = file
        self._at = self._stop = self._count = 0
        self._ahead, self._ahead_at = b"", 0

    def value(self, start: int, stop: int) -> Any:
        """Read the one value that is all of the bytes [start, stop).

        Returns:
            None, a boolean, a number, a text, a Dict, a List or a Span.

        Raises:
            Malformed: The bytes are not one value, or more than any tree of a checkpoint holds.
        """
        self._at, self._stop = start, stop
        root = self._value()
        if self._at != stop:
            raise Malformed(f"{stop - self._at:,} bytes stand after the msgpack value at byte {start:,}")
        return root

    def _value(self) -> Any:
        containers: list[_Container] = []
        while True:
            kind, value = self._head()
            if kind is not None:
                containers.append(self._container(kind, value, len(containers)))
                if containers[-1].left:
                    continue
                value = containers.pop().node
            while containers:  # the value is complete, and may complete the containers around it
                containers[-1].add(value)
                if containers[-1].left:
                    break
                value = containers.pop().node
            else:
                return value

    def _container(self, kind: ValueKind, count: int, depth: int) -> _Container:
        container = _Container(kind, count)
        self._count += container.left
        if container.left > self._stop - self._at:
            raise Malformed(f"truncated: of {count:,} items at byte {self._at:,}, {self._stop - self._at:,} bytes are left", _CURE)
        if self._count > _MOST_VALUES:
            raise Malformed(f"the msgpack tree has over {_MOST_VALUES:,} values")
        if depth >= DEEPEST:
            raise Malformed(f"the msgpack tree nests deeper than {DEEPEST}")
        return container

    def _head(self) -> tuple[ValueKind | None, Any]:
        """Return MAP or ARRAY and the count of its items, or None and the value that begins here."""
        head, code = self._at, self._take(1)[0]
        if code < 0x80 or code >= 0xE0:
            return None, code if code < 0x80 else code - 256
        if code < 0x90:
            return ValueKind.MAP, code & 15
        if code < 0xA0:
            return ValueKind.ARRAY, code & 15
        if code < 0xC0:
            return None, self._text(head, code & 31)
        if code in _CONSTANTS:
            return None, _CONSTANTS[code]
        if code in NUMBERS:
            return None, unpack(NUMBERS[code], self._take(WIDTHS[NUMBERS[code]]))[0]
        if code in FIXED_EXTENSIONS:
            return None, self._span(ValueKind.EXTENSION, head, FIXED_EXTENSIONS[code])
        if code not in SIZED:
            raise Malformed(f"byte {head:,} is {code:#x}, which begins no msgpack value")
        kind, width = SIZED[code]
        count = int.from_bytes(self._take(width), "big")
        if kind in (ValueKind.MAP, ValueKind.ARRAY):
            return kind, count
        return None, self._text(head, count) if kind == ValueKind.TEXT else self._span(kind, head, count)

    def _text(self, head: int, count: int) -> str | Span:
        if count > LONGEST_TEXT:
            return self._span(ValueKind.TEXT, head, count)
        try:
            return self._take(count).decode()
        except UnicodeDecodeError:
            raise Malformed(f"the text at byte {head:,} is not UTF-8") from None

    def _span(self, kind: ValueKind, head: int, count: int) -> Span:
        code = int.from_bytes(self._take(1), "big", signed=True) if kind == ValueKind.EXTENSION else 0
        self._check_left(count)
        self._at += count
        return Span(kind, code, head, self._at - count, count)

    def _check_left(self, count: int) -> None:
        if count > self._stop - self._at:
            missing = count - (self._stop - self._at)
            raise Malformed(f"truncated: {missing:,} of {count:,} bytes at {self._at:,} are missing", _CURE)

    def _take(self, count: int) -> bytes:
        self._check_left(count)
        begin = self._at - self._ahead_at
        if begin < 0 or begin + count > len(self._ahead):
            self._ahead_at, begin = self._at, 0
            self._ahead = self.file.read(self._at, max(count, min(_READ_AHEAD, self.file.size - self._at)))
        self._at += count
        return self._ahead[begin : begin + count]
