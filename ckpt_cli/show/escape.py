"""Foreign text: what a file says passes through here before it reaches a terminal or a pipe. One record stays one line."""

from __future__ import annotations

import re

# Compiled when it is needed. Control characters, DEL and C1, line and paragraph separators, bidi marks and overrides, half surrogates.
_UNSAFE = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
_HALF = 1400  # characters
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def escape(text: str) -> str:
    """`text` with everything that could move a cursor or forge a line written as an escape."""
    return text if is_safe(text) else re.sub(_UNSAFE, _escaped, text)


def line(text: str) -> str:
    """A line for the reader: escaped, and its middle left out where a file would make a book of it."""
    shown = escape(text[:_HALF] + "…" + text[-_HALF:] if len(text) > 2 * _HALF else text)
    return f"{shown[:_HALF]}…{shown[-_HALF:]}" if len(shown) > 2 * _HALF else shown


def is_safe(text: str) -> bool:
    """True where nothing need be escaped, for sure."""
    return text.isascii() and text.isprintable()


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if char in _SHORT:
        return _SHORT[char]
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"
