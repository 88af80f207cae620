"""`tie`: one storage under several names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import EditError, UsageError
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import picked_in_turn

if TYPE_CHECKING:
    from .steps import Verb


def tie(checkpoint: Checkpoint, patterns: Sequence[str]) -> Checkpoint:
    """Tie tensors: each becomes the one that the first pattern names, and so does what is tied to it.

    Raises:
        NoMatch: A pattern matches nothing.
        UsageError: There are fewer than two names.
        EditError: Shapes or dtypes do not agree.
        Opaque: A tensor has no plain elements.
    """
    names = picked_in_turn(checkpoint, patterns)
    if len(set(names)) < 2:
        raise UsageError("tie takes two names or more", "the first one is kept")
    first = checkpoint[names[0]].plain(names[0])
    for name in names[1:]:
        other = checkpoint[name].plain(name)
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            kinds = [f"{show_shape(t.shape)} of {t.dtype.name}" for t in (first, other)]
            raise EditError(f"{names[0]} ({kinds[0]}) and {name} ({kinds[1]}) cannot be tied", "their shapes and dtypes must agree")
    keys = {checkpoint[name].key for name in names[1:]}
    return checkpoint.replacing(tensors={name: first if tensor.key in keys else tensor for name, tensor in checkpoint.items()})


def recipe_step() -> Verb:
    """The step `tie = [NAME…]` of a recipe."""
    from .steps import TEXTS, Outcome, Verb

    return Verb({"tie": TEXTS}, lambda checkpoint, table, context: Outcome(tie(checkpoint, table["tie"])))
