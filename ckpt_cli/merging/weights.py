"""Weights as text: `W,W` for all tensors, `PATTERN=W,W` for those that a pattern picks; the last that picks a tensor wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from ..errors import UsageError, number_of
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, matches

Weights = Sequence[float] | Mapping[str, Sequence[float]]  # by pattern, those that come last count most
_ALL = "*"


def parse_weights(texts: Sequence[str]) -> dict[str, list[float]]:
    """Return weights by pattern, from texts.

    Raises:
        UsageError: One is no weights.
    """
    parsed: dict[str, list[float]] = {}
    for text in texts:
        pattern, sign, numbers = text.rpartition("=")
        if sign and not pattern:
            raise UsageError(f"{text!r} has no pattern", "write 'PATTERN=W,W', or W,W for all")
        pattern = pattern or _ALL
        parsed.pop(pattern, None)
        parsed[pattern] = [_weight(number, text) for number in numbers.split(",")]
    return parsed


def _weight(number: str, text: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        raise UsageError(f"{text!r} is no list of weights", "a number for each checkpoint, as in 0.7,0.3") from None
    return weight


def check_weights(weights: Weights, count: int) -> dict[str, tuple[float, ...]]:
    """Return weights by pattern, after a check that there is one for each of `count` sources.

    Raises:
        UsageError: There are more or fewer, or one is infinite or NaN.
    """
    by_pattern = weights if isinstance(weights, Mapping) else {_ALL: weights}
    for pattern, each in by_pattern.items():
        of = "" if pattern == _ALL else f" for {pattern}"
        if len(each) != count:
            raise UsageError(f"{number_of(len(each), 'weight')}{of}, and {count} to merge", "give one for each")
        if not all(map(isfinite, each)):
            raise UsageError(f"a weight{of} is infinite or NaN", "give finite numbers")
    return {pattern: tuple(map(float, each)) for pattern, each in by_pattern.items()}


def weights_of(checkpoint: Checkpoint, by_pattern: Mapping[str, tuple[float, ...]], layers: Layers) -> dict[str, tuple[float, ...]]:
    """Return the weights of each tensor that has some. A pattern that picks a name picks what is tied to it.

    Raises:
        NoMatch: A pattern picks nothing.
    """
    tied = {name: group for group in checkpoint.ties() for name in group}
    found: dict[str, tuple[float, ...]] = {}
    for pattern, weights in by_pattern.items():
        for name in matches(checkpoint, pattern, layers):
            found |= dict.fromkeys(tied.get(name, [name]), weights)
    return found
