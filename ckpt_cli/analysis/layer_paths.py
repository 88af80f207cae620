"""The paths of layers, as the names of tensors tell them: parts divided by a separator that no backslash escapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..tensors.checkpoint import Checkpoint

DEEPEST = 100


def pieces(path: str, separator: str) -> list[str]:
    """Return the parts of a path. A separator inside a part is escaped. Beyond a depth of `DEEPEST`, the rest stays one part."""
    return re.split(rf"(?<!\\){re.escape(separator)}", path, maxsplit=DEEPEST) if path else []


def above(name: str, separator: str) -> str:
    """Return the path of the layer that directly contains a tensor or a layer."""
    return separator.join(pieces(name, separator)[:-1])


def path_of_layer(checkpoint: Checkpoint, name: str) -> str:
    """Return the path of the layer that directly contains a tensor."""
    return checkpoint.layer_of[name][0] if name in checkpoint.layer_of else above(name, checkpoint.separator)


def grouped(names: Mapping[str, Checkpoint], depth: int = DEEPEST) -> dict[str, list[str]]:
    """Group names of tensors by the layer that they are in, in the order of the names.

    Args:
        names: Each name, and the checkpoint that says what its layer is.
        depth: How many parts of the path of a layer tell it from others.
    """
    groups: dict[str, list[str]] = {}
    for name, checkpoint in names.items():
        path = path_of_layer(checkpoint, name)
        groups.setdefault(checkpoint.separator.join(pieces(path, checkpoint.separator)[:depth]), []).append(name)
    return groups


def of_one(checkpoint: Checkpoint, names: Iterable[str], depth: int = DEEPEST) -> dict[str, list[str]]:
    """Group names of one checkpoint by layer."""
    return grouped(dict.fromkeys(names, checkpoint), depth)
