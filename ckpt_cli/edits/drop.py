"""`drop`: remove tensors and other objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import EditError
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, Named, no_layers, picked_in_turn

if TYPE_CHECKING:
    from .steps import Verb


def drop(checkpoint: Checkpoint, patterns: Sequence[str], layers: Layers = no_layers) -> Checkpoint:
    """Remove what the patterns match, tensors and other objects: `optimizer.*` removes states and param_groups.

    Raises:
        NoMatch: A pattern matches nothing.
        EditError: No tensor would be left.
    """
    everything = Named([*checkpoint, *checkpoint.objects], checkpoint)
    return _without(checkpoint, set(picked_in_turn(everything, patterns, layers)))


def keep(checkpoint: Checkpoint, patterns: Sequence[str], layers: Layers = no_layers) -> Checkpoint:
    """Remove everything but what the patterns match, tensors and other objects.

    Raises:
        NoMatch: A pattern matches nothing.
        EditError: No tensor would be left.
    """
    everything = Named([*checkpoint, *checkpoint.objects], checkpoint)
    return _without(checkpoint, everything.keys() - picked_in_turn(everything, patterns, layers))


def _without(checkpoint: Checkpoint, gone: set[str]) -> Checkpoint:
    tensors = {name: tensor for name, tensor in checkpoint.items() if name not in gone}
    objects = {name: value for name, value in checkpoint.objects.items() if name not in gone}
    if not tensors:
        raise EditError("no tensor would be left", "delete the file instead")
    if len(objects) == len(checkpoint.objects):
        return checkpoint.replacing(tensors=tensors)
    undecoded = {name: each for name, each in checkpoint.undecoded.items() if name not in gone}
    return checkpoint.replacing(tensors=tensors, objects=objects, undecoded=undecoded)


def recipe_step() -> Verb:
    """The step `drop = [PATTERN…]` of a recipe."""
    from .steps import TEXT, TEXTS, Outcome, Verb

    return Verb(
        {"drop": TEXTS, "arch": TEXT},
        lambda checkpoint, table, context: Outcome(drop(checkpoint, table["drop"], context.layers_of(checkpoint, table))),
    )
