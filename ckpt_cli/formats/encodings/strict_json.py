"""JSON from a file nobody vouches for: UTF-8 alone, no key twice, no NaN, no endless numbers or nests, no half surrogates."""

from __future__ import annotations

from typing import Any

from ...errors import Malformed


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twin = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Malformed(f"the JSON header has the key {twin!r} twice")
    return found


def _constant(name: str) -> Any:
    raise Malformed(f"the JSON header holds {name}, which is no JSON")


def loads(raw: bytes) -> Any:
    """The document in `raw`. Raises Malformed for anything that strict JSON is not."""
    import json  # most files are read without

    try:
        text = raw.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise Malformed("the JSON header is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the JSON header is broken: {error or 'it nests too deep'}") from None
    return document


def value(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends. Raises Malformed as `loads`, or ValueError where it does not end."""
    import json

    return json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant).raw_decode(text, at)
