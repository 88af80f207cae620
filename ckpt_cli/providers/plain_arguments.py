"""Arguments for a library's model, from a config or a command line: plain values, and none that make the library read or run more."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..architectures.hyperparameters import parse_call
from ..errors import UsageError

_MOST = 1 << 20  # of a number that says how large a model is
_DEEPEST = 8


def parse_model(library: str, text: str) -> tuple[str, dict[str, object]]:
    """Parse `resnet18(num_classes=10)`: the name of the model, and its arguments by name.

    Raises:
        UsageError: there is no name, or the arguments are no literals or have no names.
    """
    name, positional, arguments = parse_call(text)
    if not name:
        raise UsageError(f"{library}: names no model", f"as in {library}:resnet18")
    if positional:
        raise UsageError(f"{library}:{name} takes its arguments by name", f"as in {library}:{name}(num_classes=10)")
    return name, arguments


def plain_arguments(given: Mapping[str, object], refused: Collection[str]) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the arguments that are passed on, and a note on those that are not.

    Args:
        given: arguments by name, as the config has them.
        refused: names of arguments that are never passed on: paths, weights, classes.
    """
    passed = {name: value for name, value in given.items() if name.isidentifier() and name not in refused and _is_plain(value)}
    left = [name for name in given if name not in passed and given[name] not in (None, False)]
    return passed, (f"arguments that are not passed on: {', '.join(left)[:200]}",) if left else ()


def _is_plain(value: object, depth: int = 0) -> bool:
    """Whether a value is a truth value, a text, a number of reasonable size, or made of these."""
    if depth > _DEEPEST:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(each, depth + 1) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(each, depth + 1) for each in value)
    if isinstance(value, int):
        return abs(value) <= _MOST
    return value is None or isinstance(value, (str, float))
