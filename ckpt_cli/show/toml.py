"""An edit as TOML: a step of a recipe, which `ckpt apply` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError

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


# JSON's escapes are TOML's too. These characters JSON leaves alone, but a terminal would act on them or TOML refuses them.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} is no UTF-8, which a recipe must be", "name it by a pattern: '?' is any character") from None
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
