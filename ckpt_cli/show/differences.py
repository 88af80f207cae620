"""How the differences between two checkpoints look: as a table, counted, or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..analysis.diff import Difference
from .answer import Answer

_HEADER = ("STATUS", "NAME", "BEFORE", "AFTER", "CHANGED", "MAX ABS", "REL L2", "COSINE", "FIRST")


def show_differences(
    out: Answer,
    differences: Sequence[Difference],
    stat: bool = False,
    paths: Mapping[str, str] | None = None,
    besides: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Write the differences.

    Args:
        out: The answer.
        differences: What differs.
        stat: Whether to count the differences of each status instead of listing them.
        paths: The compared files by their key in the JSON document, which then also says whether they are the same.
        besides: What differs besides tensors, by its key in the JSON document.
    """
    if out.as_json:
        head = {**paths, "same": not differences} if paths else {}
        out.json(head | {"differences": [_document(difference) for difference in differences], **besides})
    elif stat:
        out.table(("STATUS", "COUNT"), Counter(difference.status for difference in differences).items(), right=("COUNT",))
    elif differences:
        out.table(_HEADER, map(_row, differences), right=_HEADER[4:8])


def _row(difference: Difference) -> tuple[Any, ...]:
    status, name, before, after, numbers = difference
    if numbers is None:
        return (status, name, before, after, "", "", "", "", "")
    first = "[" + ",".join(map(str, numbers.first)) + "]"
    figures = [f"{figure:.6g}" for figure in (numbers.max_abs, numbers.rel_l2, numbers.cosine)]
    return (status, name, before, after, f"{numbers.changed}/{numbers.elements}", *figures, first)


def _document(difference: Difference) -> dict[str, Any]:
    status, name, before, after, numbers = difference
    document: dict[str, Any] = {"status": status, "name": name}
    if before:
        document["before"] = before
    if after:
        document["after"] = after
    return document | (numbers._asdict() if numbers else {})
