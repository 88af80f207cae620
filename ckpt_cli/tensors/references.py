"""References: `NAME` or `NAME[index]`, one tensor or a part of it. An index is one of numpy's basic ones, without new axes."""

from __future__ import annotations

import re
from types import EllipsisType

from ..errors import UsageError
from .checkpoint import Checkpoint
from .indexing import Index, indexed
from .selection import LONGEST, Layers, matches, names_matching, no_layers
from .tensor import Tensor

__all__ = ["Index", "indexed", "only_match", "parse_index", "refer", "split_index"]


def refer(checkpoint: Checkpoint, reference: str, layers: Layers = no_layers) -> tuple[str, Tensor]:
    """Return the name and the tensor, or the part of it, that a reference means.

    Raises:
        NoMatch: it means no tensor.
        UsageError: it means several, or the index is out of range.
    """
    if reference in checkpoint:
        return reference, checkpoint[reference]
    pattern, index = split_index(checkpoint, reference, layers)
    name = only_match(checkpoint, pattern, layers)
    return name, checkpoint[name] if index is None else indexed(checkpoint[name].decoded(name), index, name)


def split_index(checkpoint: Checkpoint, reference: str, layers: Layers = no_layers) -> tuple[str, Index | None]:
    """Split `NAME[0, :5]` into NAME and its index. A reference that is a name or a pattern as it stands is returned whole, with None."""
    base, _, text = reference.rpartition("[")
    unnamed = not base and "" in checkpoint  # an array that has no name: '[0, :5]'
    if reference in checkpoint or not (base or unnamed) or not text.endswith("]") or not _is_index(text[:-1]):
        return reference, None
    if base not in checkpoint and _is_pattern(checkpoint, reference, layers):
        return reference, None
    return base, parse_index(text[:-1])


def _is_pattern(checkpoint: Checkpoint, reference: str, layers: Layers) -> bool:
    try:
        return bool(names_matching(checkpoint, reference, layers))
    except UsageError:  # [::-1] is no class
        return False


def only_match(checkpoint: Checkpoint, pattern: str, layers: Layers = no_layers) -> str:
    """Return the one name that `pattern` picks. Raises NoMatch, or UsageError where it picks several."""
    names = matches(checkpoint, pattern, layers)
    if len(names) > 1:
        listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        raise UsageError(f"{pattern!r} means {len(names):,} tensors: {listed}", "name one of them")
    return names[0]


_INDEX_PART = re.compile(r"\s*(?:\.\.\.|-?\d+|(?:-?\d+)?\s*:\s*(?:-?\d+)?\s*(?::\s*(?:-?\d+)?)?)\s*")


def _is_index(text: str) -> bool:
    return len(text) < LONGEST and all(_INDEX_PART.fullmatch(part) for part in text.rstrip().removesuffix(",").split(","))


def parse_index(text: str) -> Index:
    """Return the index that `0, 1:3, ...` (without its brackets) means: integers, slices with steps, `...`."""
    parts: list[int | slice | EllipsisType] = []
    for part in text.rstrip().removesuffix(",").split(","):
        part = part.strip()
        if part == "...":
            parts.append(...)
        elif ":" in part:
            parts.append(slice(*(int(bound) if bound.strip() else None for bound in part.split(":"))))
        else:
            parts.append(int(part))
    return tuple(parts)
