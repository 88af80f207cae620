"""The header of a safetensors file, scanned in windows: a million names cost a second, and no memory but what is kept of them.

Read here is the form in which nearly every writer writes: no spaces, no escapes, `dtype`, `shape`, `data_offsets` in that order.
Anything else raises Unusual, and the strict JSON reader decides. What is accepted here, that one accepts with the same result.
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

_WINDOW = 1 << 16
_MOST_LEFT = 1 << 20
# Compiled when it is needed. An entry and its comma; what is no entry is the last group, to the end. Numbers of 18 digits are below 2**63.
_ENTRIES = (
    r'"([^"\\\x00-\x1f]*+)":\{"dtype":"([A-Z0-9_]++","shape":\[[0-9,]*+)\],'
    r'"data_offsets":\[([0-9]{1,18}+),([0-9]{1,18}+)\]\},|((?s:.++))'
)
_SIZES = r"(?:(?:0|[1-9][0-9]{0,17}+)(?:,(?=[0-9])|\Z))*+"
_METADATA = '"__metadata__":'
_Entries = list[tuple[str, str, str, str, str]]


class Unusual(Exception):
    """The header is not of the common form; it may be right all the same."""


class _Kinds(dict[str, Kind]):
    """`F32","shape":[8,4` → its kind."""

    def __init__(self, kind_of: Callable[[str, tuple[int, ...]], Kind | None]) -> None:
        self.kind_of = kind_of

    def __missing__(self, text: str) -> Kind:
        code, _, sizes = text.partition('","shape":[')
        kind = self.kind_of(code, tuple(map(int, sizes.split(",") if sizes else ()))) if re.fullmatch(_SIZES, sizes) else None
        if kind is None:
            raise Unusual
        if len(self) > 4096:
            self.clear()
        self[text] = kind
        return kind


class Header:
    """The kinds by name, where the data of each begin, and the metadata. `end`: where they end, if they lie in the order of the names."""

    def __init__(self, kind_of: Callable[[str, tuple[int, ...]], Kind | None]) -> None:
        self.kinds: dict[str, Kind] = {}
        self.begins = array("q")
        self.end: int | None = 0
        self.metadata: Any = None
        self._known = _Kinds(kind_of)
        self._found = re.compile(_ENTRIES).findall

    def take(self, text: str) -> str:
        """Read the entries that `text` begins with; what is left of it."""
        while text:
            if text.startswith(_METADATA):
                left = self._take_metadata(text)
            else:
                found: _Entries = self._found(text)
                left = found[-1][4]
                self._add(found[:-1] if left else found)
            if left == text or not left.startswith(_METADATA):
                return left
            text = left
        return text

    def _take_metadata(self, text: str) -> str:
        try:
            found, end = strict_json.value(text, len(_METADATA))
        except (ValueError, RecursionError):  # there is more to come, or it is broken
            return text
        except Malformed:
            raise Unusual from None
        if self.metadata is not None or "\\u" in text[:end]:
            raise Unusual
        if text[end : end + 1] != ",":
            return text
        self.metadata = found
        return text[end + 1 :]

    def _add(self, found: _Entries) -> None:
        if not found:
            return
        names, texts, begins, ends, _ = zip(*found, strict=True)
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
    """The header of `length` bytes after the first eight. Raises Unusual where it has to be read in another way."""
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
    """The text between the first brace and the end."""
    if not length or file.head[8:9] != b"{":
        raise Unusual
    decoder = getincrementaldecoder("utf-8")()
    try:
        for at in range(1, length, _WINDOW):
            size = min(_WINDOW, length - at)
            yield decoder.decode(file.read(8 + at, size), at + size == length)
    except UnicodeDecodeError:
        raise Unusual from None
