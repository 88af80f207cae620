"""An adapter is read: which naming its tensors have, and what changes they make."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..configs.folder import Folder
from ..errors import EditError, UsageError, about
from ..tensors.checkpoint import Checkpoint
from .forms import changes
from .layer import Change
from .naming import Naming, Notes, Source, namings

Open = Callable[[str], Mapping[str, Any]]


class Adapter(NamedTuple):
    """An adapter.

    Attributes:
        path: where it lies.
        naming: the naming of its tensors.
        changes: what it does to tensors of a base.
        notes: what is to be said of it.
        inputs_first: whether its config says that the base keeps matrices as inputs × outputs.
    """

    path: str
    naming: Naming
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    inputs_first: bool = False


def read(path: str, open: Open) -> Adapter:
    """Read an adapter: its header, its config, and its alphas.

    Args:
        path: a file, or a folder with one.
        open: opens a checkpoint.

    Raises:
        ReadError: the file cannot be read.
        EditError: it is no adapter, or one that cannot be folded in.
    """
    with about(path):
        checkpoint = open(path)
        if not isinstance(checkpoint, Checkpoint):
            raise UsageError("it is no checkpoint")
        source = Source(checkpoint, config_beside(checkpoint))
        naming = _naming(source)
        notes = Notes()
        made = [
            change
            for layer in naming.layers(source)
            for change in changes(layer, lambda layer, rank: naming.scale(source, layer, rank, notes))
        ]
    if notes.assumed:
        notes.lines.append(f"{path}: {notes.assumed:,} layers have no alpha, which is taken to be their rank, as {naming.title} takes it")
    return Adapter(path, naming, tuple(made), tuple(notes.lines), source.config.get("fan_in_fan_out") is True)


def config_beside(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Return the entries of `adapter_config.json` beside it, none where there is none. Raises EditError where it is no JSON object."""
    if checkpoint.origin is None:
        return {}
    folder = Folder(os.path.dirname(checkpoint.origin.path))
    entries = folder.object("adapter_config.json")
    if folder.notes:
        raise EditError(folder.notes[0])
    return entries


def _naming(source: Source) -> Naming:
    """The naming of an adapter. Raises EditError where it is none."""
    found = next((naming for naming in namings.built_in() if naming.claims(source)), None)
    if found is None:
        names = ", ".join(naming.title for naming in namings.built_in())
        raise EditError("it is no adapter: no tensor is called as those of one", f"names of {names} are known")
    return found
