"""`drop`: remove tensors and other objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import EditError
from ..formats import Savable, formats
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, Named, no_layers, picked_in_turn

if TYPE_CHECKING:
    from .steps import Verb


_METADATA = "metadata:"


def drop(checkpoint: Checkpoint, patterns: Sequence[str], layers: Layers = no_layers) -> Checkpoint:
    """Remove what the patterns match, tensors and other objects: `optimizer.*` removes states and param_groups.

    `metadata:PATTERN` removes entries of the metadata.

    Raises:
        NoMatch: A pattern matches nothing.
        EditError: No tensor would be left.
    """
    everything = Named([*checkpoint, *checkpoint.objects], checkpoint)
    entries = [pattern for pattern in patterns if pattern.startswith(_METADATA) and pattern not in everything]
    if entries:
        checkpoint = _without_entries(checkpoint, [pattern.removeprefix(_METADATA) for pattern in entries])
    others = [pattern for pattern in patterns if pattern not in entries]
    return _without(checkpoint, set(picked_in_turn(everything, others, layers))) if others or not entries else checkpoint


def _without_entries(checkpoint: Checkpoint, patterns: Sequence[str]) -> Checkpoint:
    """The checkpoint without the entries of its metadata that the patterns match."""
    form = formats[checkpoint.origin.format] if checkpoint.origin else None
    if form is not None and not (isinstance(form, Savable) and form.edits_metadata):
        raise EditError(f"{form.name} has no metadata that can be edited", "convert it first")
    gone = set(picked_in_turn(dict.fromkeys(checkpoint.metadata), patterns))
    return checkpoint.replacing(metadata={key: text for key, text in checkpoint.metadata.items() if key not in gone})


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
