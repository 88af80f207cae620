"""Types as docs/scripts.md writes them, in a small part of TypeScript, and whether a JSON document is of one.

    type NAME = TYPE
    string | number | integer | boolean | null | unknown, "a text", true, false, NAME
    { key: TYPE, other?: TYPE }, Record<TYPE>, [TYPE, TYPE], TYPE[], TYPE | TYPE

Objects have the keys that are written, in that order, and no others. `integer` is a number without a point or an exponent.
"""

from __future__ import annotations

import json
import re
from typing import Any

_TOKEN = re.compile(r'\s*(?:("[^"]*")|([A-Za-z_]\w*)|(\?:|\[\]|[{}\[\](),:|<>=]))|\s*//[^\n]*|\s+')
Type = tuple[Any, ...]


def types_of(page: str) -> dict[str, Type]:
    """Every `type NAME = …` in the page's ```ts blocks."""
    found: dict[str, Type] = {}
    for block in re.findall(r"^```ts\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        tokens = _Tokens(block)
        while tokens.left:
            tokens.take("type")
            name = tokens.take()
            tokens.take("=")
            assert name not in found, name
            found[name] = _union(tokens)
    return found


class _Tokens:
    def __init__(self, text: str) -> None:
        self.left: list[str] = []
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            assert token, text[at : at + 40]
            self.left += [word for word in token.groups() if word]
            at = token.end()

    def take(self, *wanted: str) -> str:
        token = self.left.pop(0)
        assert not wanted or token in wanted, (token, wanted, self.left[:5])
        return token

    def takes(self, token: str) -> bool:
        if self.left[:1] != [token]:
            return False
        self.left.pop(0)
        return True


def _union(tokens: _Tokens) -> Type:
    tokens.takes("|")
    kinds = [_array(tokens)]
    while tokens.takes("|"):
        kinds.append(_array(tokens))
    return ("union", *kinds) if len(kinds) > 1 else kinds[0]


def _array(tokens: _Tokens) -> Type:
    kind = _plain(tokens)
    while tokens.takes("[]"):
        kind = ("array", kind)
    return kind


def _plain(tokens: _Tokens) -> Type:
    token = tokens.take()
    if token == "(":
        kind = _union(tokens)
        tokens.take(")")
        return kind
    if token == "{":
        return ("object", *_keys(tokens))
    if token == "[":
        kinds = [_union(tokens)]
        while tokens.take(",", "]") == ",":
            kinds.append(_union(tokens))
        return ("tuple", *kinds)
    if token == "Record":
        tokens.take("<")
        kind = _union(tokens)
        tokens.take(">")
        return ("record", kind)
    return ("text", token[1:-1]) if token[0] == '"' else ("name", token)


def _keys(tokens: _Tokens) -> list[tuple[str, bool, Type]]:
    keys: list[tuple[str, bool, Type]] = []
    while not tokens.takes("}"):
        key = tokens.take()
        optional = tokens.take(":", "?:") == "?:"
        keys.append((key, optional, _union(tokens)))
        tokens.takes(",")
    return keys


_PLAIN = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "unknown": lambda value: True,
}


class Shapes:
    """The types of a page. `seen` collects what documents have shown: keys that are there and those left out, sides of a union."""

    def __init__(self, page: str) -> None:
        self.types = types_of(page)
        self.seen: set[tuple[Any, ...]] = set()

    def holds(self, value: Any, kind: Type | str) -> str:
        """Why `value` is not of the type; empty where it is."""
        if isinstance(kind, str):
            kind = ("name", kind)
        return str(getattr(self, f"_{kind[0]}")(value, kind))

    def _name(self, value: Any, kind: Type) -> str:
        if kind[1] in self.types:
            return self.holds(value, self.types[kind[1]])
        return "" if _PLAIN[kind[1]](value) else f"{value!r} is no {kind[1]}"

    def _text(self, value: Any, kind: Type) -> str:
        return "" if value == kind[1] else f"{value!r} is not {kind[1]!r}"

    def _array(self, value: Any, kind: Type) -> str:
        if not isinstance(value, list):
            return f"{value!r} is no list"
        return next((f"[{at}]{why}" for at, item in enumerate(value) if (why := self.holds(item, kind[1]))), "")

    def _tuple(self, value: Any, kind: Type) -> str:
        if not isinstance(value, list) or len(value) != len(kind) - 1:
            return f"{value!r} is no list of {len(kind) - 1}"
        return next((why for item, each in zip(value, kind[1:], strict=True) if (why := self.holds(item, each))), "")

    def _record(self, value: Any, kind: Type) -> str:
        if not isinstance(value, dict):
            return f"{value!r} is no object"
        return next((f".{key}: {why}" for key, item in value.items() if (why := self.holds(item, kind[1]))), "")

    def _object(self, value: Any, kind: Type) -> str:
        if not isinstance(value, dict):
            return f"{value!r} is no object"
        known = [key for key, _, _ in kind[1:]]
        if list(value) != [key for key in known if key in value]:
            return f" has the keys {list(value)}, not {known}"
        for key, optional, each in kind[1:]:
            if key not in value and not optional:
                return f" has no {key}"
            why = self.holds(value[key], each) if key in value else ""
            if why:
                return f".{key}: {why}"
        self.seen.update((kind, key, key in value) for key in known)
        return ""

    def _union(self, value: Any, kind: Type) -> str:
        whys = []
        for each in kind[1:]:
            why = self.holds(value, each)
            if not why:
                self.seen.add((kind, each))
                return ""
            whys.append(why)
        return " or ".join(whys)

    def unseen(self, kind: Type | str, been: frozenset[str] = frozenset()) -> list[str]:
        """What the type allows and no document has shown."""
        kind = ("name", kind) if isinstance(kind, str) else kind
        if kind[0] == "name":
            known = kind[1] in self.types and kind[1] not in been
            return [f"{kind[1]}: {one}" for one in self.unseen(self.types[kind[1]], been | {kind[1]})] if known else []
        if kind[0] == "union":
            missing = [f"never {_shown(each)}" for each in kind[1:] if (kind, each) not in self.seen]
            return missing + [one for each in kind[1:] if (kind, each) in self.seen for one in self.unseen(each, been)]
        if kind[0] == "object":
            missing = [f"never {key}" for key, optional, _ in kind[1:] if (kind, key, True) not in self.seen]
            missing += [f"never without {key}" for key, optional, _ in kind[1:] if optional and (kind, key, False) not in self.seen]
            return missing + [one for _, _, each in kind[1:] for one in self.unseen(each, been)]
        return [one for each in kind[1:] if isinstance(each, tuple) for one in self.unseen(each, been)]


def _shown(kind: Type) -> str:
    return str(kind[1]) if kind[0] in ("name", "text") else f"a {kind[0]} of {kind[1:]}"


def strict(text: str) -> Any:
    """JSON as RFC 8259 has it: no bare NaN or Infinity, no key twice."""

    def refused(word: str) -> Any:
        raise ValueError(f"{word} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    return json.loads(text, parse_constant=refused, object_pairs_hook=once)
