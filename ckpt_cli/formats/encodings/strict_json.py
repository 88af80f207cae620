"""A strict reader of JSON (RFC 8259) for files that may be hostile.

It refuses what other readers take in different ways or not at all: other encodings than UTF-8, a key that is there twice, NaN and
infinities, lone surrogates, numbers and nests without a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import Malformed


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twin = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Malformed(f"the JSON header has the key {twin!r} twice")
    return document


def _constant(name: str) -> Any:
    raise Malformed(f"the JSON header holds {name}, which is no JSON")


def loads(raw: bytes, infinite: bool = False) -> Any:
    """The document that `raw` is. `infinite`: NaN and infinities are floats. Raises Malformed for anything else that is no strict JSON."""
    import json  # most files are read without it

    try:
        text = raw.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_pairs, parse_constant=float if infinite else _constant)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise Malformed("the JSON header is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the JSON header is broken: {error or 'it nests too deep'}") from None
    return document


def value(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at `at` in `text`, and where it ends. Raises Malformed as `loads` does, ValueError where it does not end."""
    import json

    return json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant).raw_decode(text, at)


def objects_in(document: Any) -> Iterator[dict[str, Any]]:
    """All objects in a document, however deep, an outer one before those in it."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
