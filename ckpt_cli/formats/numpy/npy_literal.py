"""A reader of the Python literals that numpy writes into headers: strings, integers, True, False, tuples, lists, dictionaries.

As in numpy/lib/_format_impl.py (`_read_array_header`, which uses `ast.literal_eval`). The depth of the literal is bounded.
"""

from __future__ import annotations

import re
from typing import Any

from ...errors import Malformed

_DEEPEST = 16
_TOKEN = re.compile(r"""\s*(?:([(){}\[\],:])|(u?'(?:[^'\\\n]|\\.)*'|u?"(?:[^"\\\n]|\\.)*")|(\d{1,19})L?|(True|False))""")
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)


def literal(text: str) -> Any:
    """The value of the literal that is all of `text`. Raises Malformed for anything else."""
    return _Literal(text).whole()


class _Literal:
    """Reads one text, from `at` on."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def whole(self) -> Any:
        value = self._value(0)
        if self.text[self.at :].strip():
            raise Malformed("something stands after the header's dictionary")
        return value

    def _token(self) -> re.Match[str]:
        token = _TOKEN.match(self.text, self.at)
        if token is None:
            raise Malformed("the header is no literal of Python's that numpy writes")
        self.at = token.end()
        return token

    def _value(self, depth: int) -> Any:
        sign, string, number, truth = self._token().groups()
        if string:
            return _ESCAPE.sub(_unescaped, string.lstrip("u")[1:-1])
        if number:
            return int(number)
        if truth:
            return truth == "True"
        if depth > _DEEPEST or sign not in ("(", "[", "{"):
            raise Malformed("the header is no literal of Python's that numpy writes")
        return self._pairs(depth + 1) if sign == "{" else self._items(sign, depth + 1)

    def _ends(self, close: str) -> bool:
        """Whether the next token is `close`; it is taken if it is."""
        token = _TOKEN.match(self.text, self.at)
        if token is None or token[1] != close:
            return False
        self.at = token.end()
        return True

    def _sign(self, wanted: str) -> None:
        if self._token()[1] != wanted:
            raise Malformed(f"the header lacks {wanted!r}")

    def _items(self, sign: str, depth: int) -> Any:
        """A tuple or a list, or a value in parentheses."""
        items: list[Any] = []
        close = ")" if sign == "(" else "]"
        while not self._ends(close):
            items.append(self._value(depth))
            if self._ends(close):
                if sign == "(" and len(items) == 1:
                    return items[0]
                break
            self._sign(",")
        return tuple(items) if sign == "(" else items

    def _pairs(self, depth: int) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        while not self._ends("}"):
            key = self._value(_DEEPEST + 1)
            self._sign(":")
            if key in pairs:
                raise Malformed(f"the header says {key!r} twice")
            pairs[key] = self._value(depth)
            if self._ends("}"):
                return pairs
            self._sign(",")
        return pairs


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2] or escape[3]
    if code:
        return chr(int(code, 16)) if int(code, 16) < 0x110000 else "\ufffd"
    return {"n": "\n", "t": "\t", "r": "\r"}.get(escape[4], escape[4])
