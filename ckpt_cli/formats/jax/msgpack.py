"""MessagePack from a file nobody vouches for: one value, read iteratively. Long texts, bytes and extensions are spans, read when asked for.

As in the specification of msgpack/msgpack. Every length is held against the bytes that are left, maps have no key twice, keys are texts or
integers, and values, depth and texts are bounded. Maps and arrays are `nodes.Dict` and `nodes.List`.
"""

from __future__ import annotations

from struct import pack, unpack
from typing import Any, NamedTuple

from ...errors import Malformed
from ...storage.file import File
from ..encodings.object_nodes import Dict, List

DEEPEST = 500  # msgpack for Python takes no more than 511
_MOST_VALUES = 3_000_000
LONGEST_TEXT = 1 << 16  # bytes; what is longer is a span
_WINDOW = 8192

_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_WIDTHS = {">f": 4, ">d": 8, ">B": 1, ">H": 2, ">I": 4, ">Q": 8, ">b": 1, ">h": 2, ">i": 4, ">q": 8}
_SIZED = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4), 0xC7: ("ext", 1), 0xC8: ("ext", 2), 0xC9: ("ext", 4),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4), 0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip
_CODES = {(kind, width): code for code, (kind, width) in _SIZED.items()}
_FIXEXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_FIXED_LENGTHS = {"map": (0x80, 16), "array": (0x90, 16), "str": (0xA0, 32)}
_FIXEXT_CODES = {length: code for code, length in _FIXEXT.items()}


class Span(NamedTuple):
    """`nbytes` bytes of `kind` (bin, str, ext of type `code`) from `start` on; the value itself begins at `head`."""

    kind: str
    code: int
    head: int
    start: int
    nbytes: int


class _Open:
    """A map or an array that waits for more: `left` values, keys included."""

    __slots__ = ("key", "known", "left", "node")

    def __init__(self, kind: str, count: int) -> None:
        self.node: Dict | List = Dict([]) if kind == "map" else List([])
        self.left = count * 2 if kind == "map" else count
        self.known: set[Any] = set()
        self.key: Any = None

    def take(self, value: Any) -> None:
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


class Reader:
    """Reads values of `file`, of which a window is held."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.at = self.stop = self.values = 0
        self._window, self._begin = b"", 0

    def read(self, start: int, stop: int) -> Any:
        """The one value that is all of the bytes [start, stop). Raises Malformed."""
        self.at, self.stop = start, stop
        root = self._value()
        if self.at != stop:
            raise Malformed(f"{stop - self.at:,} bytes stand after the msgpack value at byte {start:,}")
        return root

    def _value(self) -> Any:
        above: list[_Open] = []
        while True:
            kind, value = self._head()
            if kind in ("map", "array"):
                above.append(self._opened(kind, value, len(above)))
                value = above[-1].node
                kind = "" if above[-1].left else "closed"
            while kind:  # a value is complete; it may complete those that hold it
                if kind == "closed":
                    value = above.pop().node
                if not above:
                    return value
                above[-1].take(value)
                kind = "" if above[-1].left else "closed"

    def _opened(self, kind: str, count: int, depth: int) -> _Open:
        found = _Open(kind, count)
        self.values += found.left
        if found.left > self.stop - self.at:
            raise Malformed(f"truncated: of {count:,} items at byte {self.at:,}, {self.stop - self.at:,} bytes are left", _AGAIN)
        if self.values > _MOST_VALUES:
            raise Malformed(f"the msgpack tree has over {_MOST_VALUES:,} values")
        if depth >= DEEPEST:
            raise Malformed(f"the msgpack tree nests deeper than {DEEPEST}")
        return found

    def _head(self) -> tuple[str, Any]:
        """Kind and value of what begins here; of maps and arrays the number of items."""
        head, code = self.at, self._take(1)[0]
        if code < 0x80 or code >= 0xE0:
            return "value", code if code < 0x80 else code - 256
        if code < 0x90:
            return "map", code & 15
        if code < 0xA0:
            return "array", code & 15
        if code < 0xC0:
            return "value", self._text(head, code & 31)
        if code in _FIXED:
            return "value", _FIXED[code]
        if code in _NUMBERS:
            return "value", unpack(_NUMBERS[code], self._take(_WIDTHS[_NUMBERS[code]]))[0]
        if code in _FIXEXT:
            return "value", self._span("ext", head, _FIXEXT[code])
        if code not in _SIZED:
            raise Malformed(f"byte {head:,} is {code:#x}, which begins no msgpack value")
        kind, width = _SIZED[code]
        count = int.from_bytes(self._take(width), "big")
        if kind in ("map", "array"):
            return kind, count
        return "value", self._text(head, count) if kind == "str" else self._span(kind, head, count)

    def _text(self, head: int, count: int) -> str | Span:
        if count > LONGEST_TEXT:
            return self._span("str", head, count)
        try:
            return self._take(count).decode()
        except UnicodeDecodeError:
            raise Malformed(f"the text at byte {head:,} is not UTF-8") from None

    def _span(self, kind: str, head: int, count: int) -> Span:
        code = int.from_bytes(self._take(1), "big", signed=True) if kind == "ext" else 0
        self._check(count)
        self.at += count
        return Span(kind, code, head, self.at - count, count)

    def _check(self, count: int) -> None:
        if count > self.stop - self.at:
            missing = count - (self.stop - self.at)
            raise Malformed(f"truncated: {missing:,} of {count:,} bytes at {self.at:,} are missing", _AGAIN)

    def _take(self, count: int) -> bytes:
        self._check(count)
        begin = self.at - self._begin
        if begin < 0 or begin + count > len(self._window):
            self._begin, begin = self.at, 0
            self._window = self.file.read(self.at, max(count, min(_WINDOW, self.file.size - self.at)))
        self.at += count
        return self._window[begin : begin + count]


_AGAIN = "download or copy it again"


def head(kind: str, count: int, code: int = 0) -> bytes:
    """How a map, an array, a text, bytes or an extension of type `code` begins: in the fewest bytes, as msgpack for Python packs it."""
    base, below = _FIXED_LENGTHS.get(kind, (0, 0))
    if count < below:
        return bytes([base | count])
    if kind == "ext" and count in _FIXEXT_CODES:
        return bytes([_FIXEXT_CODES[count]]) + code.to_bytes(1, "big", signed=True)
    widths = [width for width in (1, 2, 4) if (kind, width) in _CODES and count < 1 << 8 * width]
    if not widths:
        raise ValueError(f"msgpack has no {kind} of {count} bytes")
    length = count.to_bytes(widths[0], "big")
    return bytes([_CODES[kind, widths[0]]]) + length + (code.to_bytes(1, "big", signed=True) if kind == "ext" else b"")


def packed(value: Any) -> bytes:
    """None, a boolean, a number, a text or bytes, in the fewest bytes. Raises TypeError for all else, and for integers of over 64 bits."""
    if value is None or type(value) is bool:
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if type(value) is int:
        return _integer(value)
    if type(value) is float:
        return b"\xcb" + pack(">d", value)
    if type(value) is str:
        raw = value.encode()
        return head("str", len(raw)) + raw
    if type(value) is bytes:
        return head("bin", len(value)) + value
    raise TypeError(f"msgpack has no place for {type(value).__name__}")


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return bytes([value & 0xFF])
    for code in range(0xCC, 0xD0) if value >= 0 else range(0xD0, 0xD4):
        bits = 8 * _WIDTHS[_NUMBERS[code]]
        if (value >> bits == 0) if value >= 0 else (value >> (bits - 1) == -1):
            return bytes([code]) + pack(_NUMBERS[code], value)
    raise TypeError("msgpack has no integer of over 64 bits")
