"""Assertions of recipes: entries of the spec language (`spec`), and short forms for the most frequent of them.

    assert = {exists = ["*.bias"], absent = ["optimizer.*"], shape = {"0.weight" = [8, 4]}, dtype = {"*" = "float32"}, tied = [["a", "b"]],
    finite = ["*"]}
    assert = {params = 49, finite = true, tensors = {"*.weight" = {std = [0.01, 0.05]}}}

A short form names tensors by patterns that must match something, except `exists` and `absent`, which also look among other objects.
Every other key is a spec's and means what it means there, but other tensors may be there unless `extra = "forbid"` stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from ..analysis.stats import computable
from ..errors import NoMatch, UsageError, did_you_mean
from ..tensors.checkpoint import Checkpoint
from ..tensors.references import only_match
from ..tensors.selection import Layers, Named, matches, no_layers, select
from . import Violation
from .against_spec import Matched, header_violations, match, value_violations
from .spec import ANY_NUMBER, AT_LEAST_ONE, SPEC_KEYS, Range, Requirement, Spec, dtypes_of, shape_of, spec_of

_NONE = Range(0, 0)


class _ShortForm(NamedTuple):
    """A key of an assertion that stands for entries of a spec.

    Attributes:
        wanted: The values that it takes, as an error says it.
        read: The value as a function needs it. Raises ValueError for one that it does not take.
        match: The spec that it stands for, and the names that each entry matches. Raises NoMatch.
        describe: A line for each violation of that.
    """

    wanted: str
    read: Callable[[Any], Any]
    match: Callable[[Checkpoint, Any, Layers], Matched]
    describe: Callable[[Matched, Iterable[Violation]], Iterator[str]]


def validate(table: Mapping[str, Any]) -> None:
    """Check the table of an assertion, whatever the checkpoint.

    Raises:
        UsageError: It has a key or value that an assertion does not have; the error names it.
        UnknownName: There is no dtype of a name in it.
    """
    for key, value in table.items():
        if _is_short(key, value):
            _read(key, value)
        elif key not in SPEC_KEYS:
            keys = list(dict.fromkeys([*_SHORT_FORMS, *SPEC_KEYS]))
            raise UsageError(f"nothing can be asserted as {key!r}", did_you_mean(key, keys) or f"there are {', '.join(keys)}")
    _spec(table)


def broken(checkpoint: Checkpoint, table: Mapping[str, Any], layers: Layers = no_layers) -> list[str]:
    """Hold a checkpoint against the table of an assertion.

    Args:
        checkpoint: The checkpoint, values not read yet.
        table: The assertion, which `validate` has accepted.
        layers: Gives the types of layers, for patterns `@Type`.

    Returns:
        A line for each thing that does not hold.

    Raises:
        NoMatch: The pattern of a shape, dtype, tie or `finite` in short form matches no tensor.
    """
    lines = []
    for key, value in table.items():
        if _is_short(key, value):
            form = _SHORT_FORMS[key]
            matched = form.match(checkpoint, _read(key, value), layers)
            lines += [f"{key}: {line}" for line in form.describe(matched, _violations(checkpoint, matched))]
    if all(_is_short(key, value) for key, value in table.items()):
        return lines
    violations = _violations(checkpoint, match(checkpoint, _spec(table), layers))
    return lines + [": ".join(filter(None, each[:3])) for each in violations]


def _is_short(key: str, value: Any) -> bool:
    """Whether it is a short form: `finite` alone is also a key of a spec, where it is true."""
    return key in _SHORT_FORMS and not (key in SPEC_KEYS and value is True)


def _read(key: str, value: Any) -> Any:
    form = _SHORT_FORMS[key]
    try:
        if value:
            return form.read(value)
    except ValueError:
        pass
    raise UsageError(f"{key} takes {form.wanted}")


def _spec(table: Mapping[str, Any]) -> Spec:
    """What the table asserts in the keys of a spec."""
    return spec_of({key: value for key, value in table.items() if not _is_short(key, value)}, "an assertion", extra=True)


def _violations(checkpoint: Checkpoint, matched: Matched) -> Iterator[Violation]:
    names = list(checkpoint)
    yield from header_violations(checkpoint, matched)
    if finite := matched.to_be_finite(names):
        from .integrity import not_finite

        yield from not_finite(checkpoint, finite, {})
    yield from value_violations(checkpoint, matched, names)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError("a list of texts")
    return value


def _groups(value: Any) -> list[list[str]]:
    if not isinstance(value, list) or any(len(_texts(group)) < 2 for group in value):
        raise ValueError("a list of groups of names")
    return value


def _table_of(read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """A reader of tables from patterns to what `read` reads."""

    def table(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("a table")
        return {pattern: read(each) for pattern, each in value.items()}

    return table


def _match_count(count: Range) -> Callable[[Checkpoint, list[str], Layers], Matched]:
    """How many names each pattern matches, those of other objects among them."""

    def match(checkpoint: Checkpoint, patterns: list[str], layers: Layers) -> Matched:
        spec = Spec(requirements=[Requirement(pattern, count=count) for pattern in patterns])
        return Matched(spec, [_among_all(checkpoint, pattern, layers) for pattern in patterns])

    return match


def _among_all(checkpoint: Checkpoint, pattern: str, layers: Layers) -> list[str]:
    try:
        return matches(Named([*checkpoint, *checkpoint.objects], checkpoint), pattern, layers)
    except NoMatch:
        return []


def _match_kind(field: str) -> Callable[[Checkpoint, dict[str, Any], Layers], Matched]:
    """The shape or dtype of all that each pattern matches, whatever the layout."""

    def match(checkpoint: Checkpoint, wanted: dict[str, Any], layers: Layers) -> Matched:
        requirements = [Requirement(pattern, count=ANY_NUMBER, **{field: value}) for pattern, value in wanted.items()]
        return Matched(Spec(requirements=requirements), [matches(checkpoint, pattern, layers) for pattern in wanted])

    return match


def _match_tied(checkpoint: Checkpoint, groups: list[list[str]], layers: Layers) -> Matched:
    return Matched(Spec(tied=[[only_match(checkpoint, pattern, layers) for pattern in group] for group in groups]), [])


def _match_finite(checkpoint: Checkpoint, patterns: list[str], layers: Layers) -> Matched:
    """No NaN and no infinity among the elements with which the program computes: sparse tensors and objects are left out."""
    names = [name for name in select(checkpoint, patterns, layers) if computable(checkpoint[name])]
    return Matched(Spec(requirements=[Requirement("", count=ANY_NUMBER, figures={"nan": _NONE, "inf": _NONE})]), [names])


def _describe(line: Callable[[Violation, Sequence[str]], str]) -> Callable[[Matched, Iterable[Violation]], Iterator[str]]:
    """Lines from a function of a violation and of the names that the pattern in its `name` matches."""

    def describe(matched: Matched, violations: Iterable[Violation]) -> Iterator[str]:
        names = {requirement.pattern: matching for requirement, matching in matched.rows}
        return (line(each, names.get(each.name, ())) for each in violations)

    return describe


def _describe_finite(matched: Matched, violations: Iterable[Violation]) -> Iterator[str]:
    for name, of_name in groupby(violations, lambda each: each.name):
        counts = {each.facts["figure"]: each.facts["value"] for each in of_name}
        yield f"{name} has {counts.get('nan', 0):,} NaN and {counts.get('inf', 0):,} infinities"


_SHORT_FORMS = {
    "exists": _ShortForm(
        'a list of patterns: ["*.bias"]', _texts, _match_count(AT_LEAST_ONE), _describe(lambda each, _: f"there is no {each.name}")
    ),
    "absent": _ShortForm(
        'a list of patterns: ["optimizer.*"]',
        _texts,
        _match_count(_NONE),
        _describe(lambda each, names: f"there is {names[0]} ({each.name})"),
    ),
    "shape": _ShortForm(
        'a table: {"0.weight" = [8, 4]}',
        _table_of(shape_of),
        _match_kind("shape"),
        _describe(lambda each, _: f"{each.name} has {each.what}"),
    ),
    "dtype": _ShortForm(
        'a table: {"*.weight" = "float32"}',
        _table_of(dtypes_of),
        _match_kind("dtype"),
        _describe(lambda each, _: f"{each.name} is {each.what}"),
    ),
    "tied": _ShortForm(
        'a list of groups of names: [["2.weight", "4.weight"]]', _groups, _match_tied, _describe(lambda each, _: f"{each.name} {each.what}")
    ),
    "finite": _ShortForm('a list of patterns: ["*"]', _texts, _match_finite, _describe_finite),
}
