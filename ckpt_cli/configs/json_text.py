"""The text of a JSON document with some entries changed; every other byte stays: order, spaces, numbers as they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

REMOVED = object()  # the value of an entry that is taken out

Path = tuple[str | int, ...]  # keys of objects, and indices of lists
_SPACE = re.compile(r"[ \t\r\n]*")
_LINE_START = re.compile(r"(?:^|\r?\n)([ \t]*)[^\r\n]*\Z")


class Member(NamedTuple):
    """An entry of an object, or an item of a list: its key or index, where it begins, and where its value begins and ends."""

    key: str | int
    start: int
    value: int
    end: int


def changed(text: str, changes: Sequence[tuple[Path, object]]) -> str:
    """Return the document with entries changed, one after another.

    Args:
        text: the document, which is known to be valid JSON, with each key once.
        changes: the path of each entry, and its new value or REMOVED. An entry that is not there is added as the last one of its object.

    Raises:
        KeyError: the object or list that an entry is to be in is not there.
    """
    for path, value in changes:
        start, end, new = _change(text, path, value)
        text = text[:start] + new + text[end:]
    return text


def _change(text: str, path: Path, value: object) -> tuple[int, int, str]:
    """Where the text is replaced, and by what."""
    at = _SPACE.match(text).end()  # type: ignore[union-attr]
    for key in path[:-1]:
        at = next((member.value for member in _members(text, at) if member.key == key), -1)
        if at < 0 or text[at] not in "{[":
            raise KeyError(key)
    members = list(_members(text, at))
    place = next((index for index, member in enumerate(members) if member.key == path[-1]), None)
    if place is None:
        return _added(text, at, members, path[-1], value)
    member = members[place]
    if value is not REMOVED:
        return member.value, member.end, _dumped(text, value, member.value, "\n" in text[member.value : member.end])
    if place:
        return members[place - 1].end, member.end, ""
    return member.start, members[1].start if len(members) > 1 else member.end, ""


def _added(text: str, at: int, members: list[Member], key: str | int, value: object) -> tuple[int, int, str]:
    """An entry behind the last one of the object at `at`, with the same space before it."""
    if value is REMOVED:
        return at, at, ""
    if text[at] != "{":
        raise KeyError(key)
    end = members[-1].end if members else at + 1
    before = text[members[-2].end if len(members) > 1 else at + 1 : members[-1].start].strip(",") if members else ""
    gap = f",{before or ' '}" if members else ""
    new = f"{json.dumps(key, ensure_ascii=text.isascii())}: {_dumped(text, value, members[-1].start if members else at, chr(10) in before)}"
    return end, end, gap + new


def _members(text: str, at: int) -> Iterator[Member]:
    """The members of the object or list that begins at `at`."""
    decoder, is_object = json.JSONDecoder(), text[at] == "{"
    at, index = _after_space(text, at + 1), 0
    while text[at] not in "}]":
        start: int = at
        key: Any = index
        if is_object:
            key, at = decoder.raw_decode(text, at)
            at = _after_space(text, _after_space(text, at) + 1)
        _, end = decoder.raw_decode(text, at)
        yield Member(key, start, at, end)
        at, index = _after_space(text, end), index + 1
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


def _dumped(text: str, value: object, at: int, is_divided: bool) -> str:
    """A value as it is written at `at`: over several lines where its neighbours are, indented as the document is."""
    if not isinstance(value, dict | list) or not is_divided:
        return json.dumps(value, ensure_ascii=text.isascii())
    first = re.search(r"\n([ \t]+)\S", text)
    step, line = first[1] if first else "  ", _LINE_START.search(text[:at])
    dumped = json.dumps(value, indent=step, ensure_ascii=text.isascii())
    return dumped.replace("\n", ("\r\n" if "\r\n" in text else "\n") + (line[1] if line else ""))
