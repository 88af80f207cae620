"""A fast reader of safetensors headers: a million names take a second, and no more memory than what is kept of them.

It reads the form that nearly every writer writes: no escapes, `dtype`, `shape`, `data_offsets` in that order, as in
safetensors/src/tensor.rs; no spaces, or one behind a colon or a comma, as Python's json.dumps has it. For anything else it raises Unusual,
and the strict JSON reader decides. Whatever this reader accepts, the strict one accepts with the same result.
"""

from __future__ import annotations

import re
from array import array
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from itertools import accumulate
from operator import add, attrgetter
from typing import Any

from ...errors import Malformed
from ...storage.file import File
from ...tensors.checkpoint import Kind
from ..encodings import strict_json

_WINDOW = 1 << 16  # bytes that are decoded at once
_MOST_LEFT = 1 << 20  # characters that may be left over from one window to the next
# An entry and its comma; the last group takes everything from where no entry begins. Numbers of 18 digits are below 2**63.
_ENTRIES = (
    r' ?+"([^"\\\x00-\x1f]*+)": ?+\{"dtype": ?+"([A-Z0-9_]++", ?+"shape": ?+\[(?:[0-9]++(?:, ?+)?+)*+)\], ?+'
    r'"data_offsets": ?+\[([0-9]{1,18}+), ?+([0-9]{1,18}+)\]\}, ?+|((?s:.++))'
)
_SIZES = r"(?:(?:0|[1-9][0-9]{0,17}+)(?:,(?=[0-9])|\Z))*+"
_KEY = '"__metadata__":'
_METADATA = (_KEY, " " + _KEY)
_Entries = list[tuple[str, str, str, str, str]]


class Unusual(Exception):
    """The header is not of the common form. It may still be valid."""


class _Kinds(dict[str, Kind]):
    """The kinds by the text of an entry between dtype and shape: `F32","shape":[8,4`, or with spaces."""

    def __init__(self, kind_of: Callable[[str, tuple[int, ...]], Kind | None]) -> None:
        self.kind_of = kind_of

    def __missing__(self, text: str) -> Kind:
        code, _, sizes = text.replace(" ", "").partition('","shape":[')
        kind = self.kind_of(code, tuple(map(int, sizes.split(",") if sizes else ()))) if re.fullmatch(_SIZES, sizes) else None
        if kind is None:
            raise Unusual
        if len(self) > 4096:
            self.clear()
        self[text] = kind
        return kind


class Header:
    """What a header says.

    Attributes:
        kinds: The dtype and shape of each tensor, by name.
        begins: The offset of each tensor's data, in bytes from where all data begin.
        end: Where the data end, if they lie in the order of the names without a gap; else None.
        metadata: The contents of `__metadata__`; None where there is none.
    """

    def __init__(self, kind_of: Callable[[str, tuple[int, ...]], Kind | None]) -> None:
        self.kinds: dict[str, Kind] = {}
        self.begins = array("q")
        self.end: int | None = 0
        self.metadata: Any = None
        self._known = _Kinds(kind_of)
        self._entries = re.compile(_ENTRIES).findall

    def take(self, text: str) -> str:
        """Read the entries that `text` begins with.

        Returns:
            What is left of the text.

        Raises:
            Unusual: An entry is not of the common form.
        """
        while text:
            if text.startswith(_METADATA):
                left = self._take_metadata(text[text[0] == " " :])
            else:
                entries: _Entries = self._entries(text)
                left = entries[-1][4]
                self._add(entries[:-1] if left else entries)
            if left == text or not left.startswith(_METADATA):
                return left
            text = left
        return text

    def _take_metadata(self, text: str) -> str:
        try:
            metadata, end = strict_json.value(text, len(_KEY) + text.startswith(" ", len(_KEY)))
        except (ValueError, RecursionError):  # the rest is in the next window, or it is broken
            return text
        except Malformed:
            raise Unusual from None
        if self.metadata is not None or "\\u" in text[:end]:
            raise Unusual
        if text[end : end + 1] != ",":
            return text
        self.metadata = {} if metadata is None else metadata  # MLX writes null where it has none
        return text[end + 1 :]

    def _add(self, entries: _Entries) -> None:
        """Add entries. Raises Unusual where an offset is not what dtype and shape say, or is no plain number."""
        if not entries:
            return
        names, texts, begins, ends, _ = zip(*entries, strict=True)
        kinds = list(map(self._known.__getitem__, texts))
        self.kinds |= {name: kind for name, kind in zip(names, kinds, strict=True)}  # noqa: C416 (dict() takes longer)
        sizes = map(_nbytes, kinds)
        if self.end is not None:
            stops = list(accumulate(sizes, initial=self.end))
            if begins[1:] == ends[:-1] and list(map(str, stops)) == [begins[0], *ends]:
                self.end = stops.pop()
                self.begins.extend(stops)
                return
            self.end, sizes = None, map(_nbytes, kinds)
        starts = list(map(int, begins))
        if [*map(str, starts), *map(str, map(add, starts, sizes))] != [*begins, *ends]:
            raise Unusual
        self.begins.extend(starts)


_nbytes = attrgetter("nbytes")


def scan(file: File, length: int, kind_of: Callable[[str, tuple[int, ...]], Kind | None]) -> Header:
    """Read a header.

    Args:
        file: The safetensors file, whose first 8 bytes are the length of the header.
        length: That length, in bytes.
        kind_of: Gives the kind for a code of a dtype and a shape; None where there is none.

    Raises:
        Unusual: The header is not of the common form.
    """
    header, left = Header(kind_of), ""
    for text in _windows(file, length):
        left = header.take(left + text)
        if len(left) > _MOST_LEFT:
            raise Unusual
    left = left.rstrip(" \t\n\r")
    if not left.endswith("}") or header.take(left[:-1] + ","):
        raise Unusual
    if len(header.kinds) != len(header.begins) or "__metadata__" in header.kinds:
        raise Unusual
    return header


def _windows(file: File, length: int) -> Iterator[str]:
    """The text after the first brace, window by window. Raises Unusual where it is not UTF-8."""
    if not length or file.head[8:9] != b"{":
        raise Unusual
    decoder = getincrementaldecoder("utf-8")()
    try:
        for at in range(1, length, _WINDOW):
            size = min(_WINDOW, length - at)
            yield decoder.decode(file.read(8 + at, size), at + size == length)
    except UnicodeDecodeError:
        raise Unusual from None
