"""Escaping of text that comes from files, before it reaches a terminal or a pipe. One record stays one line."""

from __future__ import annotations

import re

# Control characters, DEL and C1, line and paragraph separators, bidi marks and overrides, lone surrogates.
# The pattern is compiled when it is first needed: most output never needs it.
_LEFT_BY_JSON = (
    "\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"  # what neither JSON nor TOML needs to have escaped
)
_UNSAFE = f"[\x00-\x1f{_LEFT_BY_JSON}\ud800-\udfff]"
_HALF = 1400  # characters of a long line that are kept at each end
_SHORT_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def escape(text: str) -> str:
    """Return `text` with every character that could move the cursor or fake a line written as an escape."""
    return text if is_safe(text) else re.sub(_UNSAFE, _escaped, text)


def escaped(texts: list[str]) -> list[str]:
    """Return texts with such characters escaped in each: fast where there is none."""
    return texts if is_safe("".join(texts)) else [escape(text) for text in texts]


def escape_encoded(text: str) -> str:
    """Return JSON or TOML, in whose texts JSON has escaped what it must, with the other unsafe characters escaped: it means the same."""
    return text if text.isascii() and "\x7f" not in text else re.sub(f"[{_LEFT_BY_JSON}]", lambda found: f"\\u{ord(found[0]):04x}", text)


def line(text: str) -> str:
    """Return `text` escaped and, where it is very long, shortened in its middle."""
    shown = escape(text[:_HALF] + "…" + text[-_HALF:] if len(text) > 2 * _HALF else text)
    return f"{shown[:_HALF]}…{shown[-_HALF:]}" if len(shown) > 2 * _HALF else shown


def is_safe(text: str) -> bool:
    """Return True if nothing in `text` needs escaping. False means that it has to be looked at."""
    return text.isascii() and text.isprintable()


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"
