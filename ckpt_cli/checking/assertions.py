"""Assertions of recipes: what must hold of a checkpoint at that step.

assert = {exists = ["*.bias"], absent = ["optimizer.*"], shape = {"0.weight" = [8, 4]}, dtype = {"*" = "float32"}, tied = [["a", "b"]],
finite = ["*"]}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import NoMatch, UsageError, did_you_mean
from ..numbers.dtypes import named
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint
from ..tensors.references import only_match
from ..tensors.selection import Layers, Named, matches, no_layers, select


def check(table: Mapping[str, Any]) -> None:
    """Raises UsageError for an assertion that makes no sense, whatever the checkpoint."""
    for key, value in table.items():
        if key not in _CLAIMS:
            raise UsageError(f"nothing can be asserted as {key!r}", did_you_mean(key, _CLAIMS) or f"there are {', '.join(_CLAIMS)}")
        fits, wanted, _ = _CLAIMS[key]
        if not value or not fits(value):
            raise UsageError(f"{key} takes {wanted}")
    for name in table.get("dtype", {}).values():
        named(name)


def broken(checkpoint: Checkpoint, table: Mapping[str, Any], layers: Layers = no_layers) -> list[str]:
    """A line for each thing that does not hold. Raises NoMatch where a shape, dtype, tie or value is asserted of nothing."""
    return [f"{key}: {line}" for key, value in table.items() for line in _CLAIMS[key][2](checkpoint, value, layers)]


def _found(checkpoint: Checkpoint, pattern: str, layers: Layers) -> list[str]:
    try:
        return matches(Named([*checkpoint, *checkpoint.objects], checkpoint), pattern, layers)
    except NoMatch:
        return []


def _exists(checkpoint: Checkpoint, patterns: list[str], layers: Layers) -> Iterator[str]:
    yield from (f"there is no {pattern}" for pattern in patterns if not _found(checkpoint, pattern, layers))


def _absent(checkpoint: Checkpoint, patterns: list[str], layers: Layers) -> Iterator[str]:
    yield from (f"there is {name} ({pattern})" for pattern in patterns for name in _found(checkpoint, pattern, layers)[:1])


def _shape(checkpoint: Checkpoint, wanted: dict[str, list[int]], layers: Layers) -> Iterator[str]:
    for pattern, shape in wanted.items():
        for name in matches(checkpoint, pattern, layers):
            if checkpoint[name].shape != tuple(shape):
                yield f"{name} has {show_shape(checkpoint[name].shape)}, not {show_shape(tuple(shape))}"


def _dtype(checkpoint: Checkpoint, wanted: dict[str, str], layers: Layers) -> Iterator[str]:
    for pattern, dtype in wanted.items():
        for name in matches(checkpoint, pattern, layers):
            if checkpoint[name].dtype != named(dtype):
                yield f"{name} is {checkpoint[name].dtype.name}, not {named(dtype).name}"


def _tied(checkpoint: Checkpoint, groups: list[list[str]], layers: Layers) -> Iterator[str]:
    for group in groups:
        first, *others = (only_match(checkpoint, pattern, layers) for pattern in group)
        yield from (f"{name} is not tied to {first}" for name in others if checkpoint[name].key != checkpoint[first].key)


def _finite(checkpoint: Checkpoint, patterns: list[str], layers: Layers) -> Iterator[str]:
    from ..analysis.stats import computable, stats

    tensors = {name: checkpoint[name] for name in select(checkpoint, patterns, layers)}
    for name, figures in stats({name: tensor for name, tensor in tensors.items() if computable(tensor)}):
        if figures.nan or figures.inf:
            yield f"{name} has {figures.nan:,} NaN and {figures.inf:,} infinities"


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _is_table(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(fits, value.values()))


Claim = tuple[Callable[[Any], bool], str, Callable[[Checkpoint, Any, Layers], Iterator[str]]]

_CLAIMS: dict[str, Claim] = {
    "exists": (_is_texts, 'a list of patterns: ["*.bias"]', _exists),
    "absent": (_is_texts, 'a list of patterns: ["optimizer.*"]', _absent),
    "shape": (lambda value: _is_table(value, _is_shape), 'a table: {"0.weight" = [8, 4]}', _shape),
    "dtype": (lambda value: _is_table(value, lambda name: isinstance(name, str)), 'a table: {"*.weight" = "float32"}', _dtype),
    "tied": (
        lambda value: isinstance(value, list) and all(_is_texts(group) and len(group) > 1 for group in value),
        'a list of groups of names: [["2.weight", "4.weight"]]',
        _tied,
    ),
    "finite": (_is_texts, 'a list of patterns: ["*"]', _finite),
}
