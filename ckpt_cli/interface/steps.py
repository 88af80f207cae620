"""How the edits are made from Python: each by its step, as a recipe has it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

from .. import reading
from ..commands.layer_types import layers_of
from ..commands.model_facts import facts_of
from ..edits.steps import Context, verb
from ..tensors.checkpoint import Checkpoint
from .opening import AnyCheckpoint, opened, place
from .wording import about

if TYPE_CHECKING:
    from ..mapping.pairing import Template
    from ..schemes.plan import Planned


class Others:
    """The other checkpoints of an edit: a step names them by texts, and some are open already."""

    def __init__(self) -> None:
        self._opened: dict[str, Checkpoint] = {}

    def called(self, other: AnyCheckpoint) -> str:
        """Return the text by which a step names a checkpoint: its path, or one for a checkpoint that is open."""
        if not isinstance(other, Checkpoint):
            return os.fspath(other)
        path = place(other) or "a checkpoint"
        text = next(text for number in count(1) if (text := f"{path} ({number})" if number > 1 else path) not in self._opened)
        self._opened[text] = other
        return text

    def open(self, path: str) -> Checkpoint:
        """Return the checkpoint that a text names."""
        return self._opened[path] if path in self._opened else reading.open(path)


def made(checkpoint: AnyCheckpoint, name: str, others: Others | None = None, **table: Any) -> Checkpoint:
    """Make the edit of a verb.

    Args:
        checkpoint: The checkpoint, or its path.
        name: The verb.
        others: The other checkpoints, where some are open already.
        table: Its keys and values, as in a step of a recipe; those that are None, empty or `auto` are left out, but for the verb's own.

    Returns:
        The edited checkpoint, whose notes say what was filled anew, too.

    Raises:
        CkptError: What the edit raises; it names the file of the checkpoint.
    """
    found = verb(name)
    if found is None:
        raise AttributeError(f"no edit is called {name}")
    step = {key.rstrip("_"): _plain(value) for key, value in table.items() if key in (name, "seed") or _is_given(value)}
    before = opened(checkpoint)
    notes: list[str] = []
    with about(place(before)):
        found.check(step)
        outcome = found.make(before, step, context(notes, others or Others()))
    after = outcome.checkpoint
    return after.replacing(notes=(*after.notes, *notes, *lines_of(outcome.plan)))


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and not (isinstance(value, str | list) and value in ("", [], "auto"))


def _plain(value: Any) -> Any:
    """The value, as Python's own integer where it is one of numpy."""
    return value.__index__() if hasattr(value, "__index__") and not isinstance(value, bool) else value


def context(notes: list[str], others: Others) -> Context:
    """Return what edits need of the rest of the program. What there is to tell is added to `notes`."""
    return Context(layers_of, cache(others.open), _names_wanted, lambda checkpoint, arch: facts_of(checkpoint, arch, notes.extend))


def lines_of(plan: Iterable[Planned]) -> Iterable[str]:
    """Return a line for each tensor that is filled anew."""
    return (f"{step.name}: {step.scheme}: {step.draw} ({step.reason})" for step in plan)


def _names_wanted(framework_map: str, path: str | None, arch: str) -> Template | None:
    """The names and shapes that a map is to give."""
    from ..commands.editing import wanted_names

    return wanted_names(framework_map, path, arch)
