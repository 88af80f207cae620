"""How the differences between two checkpoints look: as a table, counted, or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..analysis.besides import Besides
from ..analysis.diff import Difference
from ..analysis.diff_lists import Listed
from .answer import Answer

_HEADER = ("STATUS", "NAME", "BEFORE", "AFTER", "CHANGED", "MAX ABS", "REL L2", "COSINE", "FIRST")
_CSV_HEADER = (*_HEADER[:4], "ELEMENTS", *_HEADER[4:])


def show_differences(out: Answer, differences: Sequence[Difference]) -> None:
    """Write the differences."""
    if out.as_json:
        out.json({"differences": _documents(differences)})
    elif out.as_csv:
        out.table(_CSV_HEADER, map(_csv_row, differences))
    elif differences:
        out.table(_HEADER, map(_row, differences), right=_HEADER[4:8])


def show_names(out: Answer, differences: Iterable[Difference]) -> None:
    """Write the names alone, each once."""
    names = dict.fromkeys(difference.name for difference in differences)
    if out.as_csv:
        out.table(("NAME",), ((name,) for name in names))
    else:
        out.lines(names)


def show_counts(out: Answer, counts: Mapping[str, int]) -> None:
    """Write how many there are of each status."""
    out.table(("STATUS", "COUNT"), counts.items(), right=("COUNT",))


def diff_document(listed: Listed, besides: Besides, counted: bool) -> dict[str, Any]:
    """Return the JSON document of a comparison, without the paths. `counted`: whether it has the count of each status."""
    document: dict[str, Any] = {"same": not listed.differences, "differences": _documents(listed.in_order(listed.differences))}
    document |= besides._asdict()
    if listed.depth is not None:
        document["layers"] = _documents(listed.entries())
    if listed.unchanged:
        document["unchanged"] = [each.name for each in listed.in_order(list(listed.same()))]
    return document | ({"counts": listed.counts()} if counted else {})


def _documents(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    return [_document(difference) for difference in differences]


def _row(difference: Difference) -> tuple[Any, ...]:
    status, name, before, after, numbers, _ = difference
    if numbers is None:
        return (status, name, before, after, "", "", "", "", "")
    figures = [f"{figure:.6g}" for figure in (numbers.max_abs, numbers.rel_l2, numbers.cosine)]
    return (status, name, before, after, f"{numbers.changed}/{numbers.elements}", *figures, _index(numbers.first))


def _csv_row(difference: Difference) -> tuple[Any, ...]:
    status, name, before, after, numbers, _ = difference
    if numbers is None:
        return (status, name, before, after, *[""] * 6)
    figures = (numbers.max_abs, numbers.rel_l2, numbers.cosine)
    return (status, name, before, after, numbers.elements, numbers.changed, *figures, _index(numbers.first))


def _index(first: tuple[int, ...] | None) -> str:
    return "" if first is None else "[" + ",".join(map(str, first)) + "]"


def _document(difference: Difference) -> dict[str, Any]:
    status, name, before, after, numbers, _ = difference
    document: dict[str, Any] = {"status": status, "name": name}
    if before:
        document["before"] = before
    if after:
        document["after"] = after
    facts = numbers._asdict() if numbers else {}
    return document | {key: value for key, value in facts.items() if value is not None}
