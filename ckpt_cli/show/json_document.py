"""The JSON documents that `--json` prints. Imported when one is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from .escape import escape_encoded

_BATCH = 1000  # items of a streamed list that are encoded together


def one_document(document: Any, indented: bool) -> str:
    """Return `document` as JSON text with a newline at its end, on one line unless `indented`."""
    return escape_encoded(json.dumps(_jsonable(document), ensure_ascii=False, allow_nan=False, indent=2 if indented else None)) + "\n"


def streamed(document: dict[str, Any], indented: bool) -> Iterator[str]:
    """Yield the text that `one_document` would return, piece by piece: the values that are iterators are encoded as lists, in batches."""
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2 if indented else None)

    def encode(value: Any) -> str:
        return escape_encoded(encoder.encode(value))

    newline = "\n  " if indented else ""
    separator = "," + (newline or " ")
    for index, (key, value) in enumerate(document.items()):
        yield f"{separator if index else '{' + newline}{encode(key)}: "
        if not isinstance(value, Iterator):
            yield encode(_jsonable(value)).replace("\n", newline)
            continue
        lead, end = "[", "[]"
        while batch := list(islice(value, _BATCH)):
            yield lead + encode(_jsonable(batch)).replace("\n", newline)[1 : -1 - len(newline)]
            lead, end = "," + " " * (not newline), newline + "]"
        yield end
    yield newline[:1] + "}\n"


def _jsonable(value: Any) -> Any:
    """Return `value` as JSON can hold it: NaN and infinities as strings, complex numbers as [re, im], other objects as their text."""
    if isinstance(value, float):
        if value != value:
            return "NaN"
        return value if abs(value) != float("inf") else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if not value.isascii() else value
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, complex):
        return [_jsonable(value.real), _jsonable(value.imag)]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return str(value)
