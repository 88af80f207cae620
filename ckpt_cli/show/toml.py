"""An edit as TOML: a step of a recipe, which `ckpt apply` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from .escape import escape_encoded

_WIDEST = 120  # characters of a list in one line; a longer one has a line for each item


def step_text(table: Mapping[str, Any]) -> str:
    """Return the TOML of one step. Raises UsageError for text that is not UTF-8, which TOML cannot hold."""
    return "[[step]]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        items = list(map(_value, value))
        line = f"[{', '.join(items)}]"
        return line if len(line) <= _WIDEST else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    return str(value)


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} is no UTF-8, which a recipe must be", "name it by a pattern: '?' is any character") from None
    return escape_encoded(json.dumps(text, ensure_ascii=False))
