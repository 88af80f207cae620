"""What an edit contributes to recipes: its step.

A step of a recipe is a TOML table, of which one key is the verb. The edit of a verb lies in `edits/VERB.py` (with an underscore behind a
verb that is a keyword of Python, as in `assert_.py`). The function `recipe_step` of that module returns the `Verb`: the keys that such a
step may have, and how the edit is made. Nothing else has to know of a new verb. Only modules of verbs that a recipe uses are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UsageError
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers

if TYPE_CHECKING:
    from ..mapping.pairing import Template
    from ..schemes.plan import Planned
    from ..schemes.target import Source
    from .wishes import Facts

Table = Mapping[str, Any]


class Context(NamedTuple):
    """What edits need of the rest of the program.

    Attributes:
        layers: The types of the layers of a checkpoint, given the value of --arch.
        open: Another checkpoint, by its path.
        like: The names that a map is to produce, from the map, the path of another checkpoint and the value of --arch.
        facts: What presets ask of a checkpoint's model, given the value of --arch.
    """

    layers: Callable[[Checkpoint, str], Layers]
    open: Callable[[str], Mapping[str, Source]]
    like: Callable[[str, str | None, str], Template | None]
    facts: Callable[[Checkpoint, str], Facts]

    def layers_of(self, checkpoint: Checkpoint, table: Table) -> Layers:
        """The types of the layers of `checkpoint`, as the `arch` of a step has it."""
        return self.layers(checkpoint, table.get("arch", "auto"))


class Accepted(NamedTuple):
    """The values that a key accepts: whether one fits, and how an error describes them."""

    fits: Callable[[Any], bool]
    wanted: str


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


TEXT = Accepted(lambda value: isinstance(value, str), 'a text in quotes: "…"')
TEXTS = Accepted(lambda value: _is_texts(value) and bool(value), 'a list of texts: ["…"]')
RULES = Accepted(_is_texts, 'a list of texts: ["PATTERN=SCHEME"]')
SEED = Accepted(lambda value: type(value) is int and 0 <= value < 2**63, "a whole number from 0 to 2^63-1")
NUMBER = Accepted(lambda value: type(value) in (int, float), "a number")
TRUTH = Accepted(lambda value: type(value) is bool, "true or false")


def one_of(*texts: str) -> Accepted:
    """Return what accepts these texts alone."""
    *others, last = (f'"{text}"' for text in texts)
    return Accepted(lambda value: value in texts, f"{', '.join(others)} or {last}")


class Outcome(NamedTuple):
    """What a step makes.

    Attributes:
        checkpoint: The checkpoint after it.
        plan: What it fills anew, and with what.
        broken: A line for each thing that it asserts and that does not hold.
    """

    checkpoint: Checkpoint
    plan: Sequence[Planned] = ()
    broken: Sequence[str] = ()


class Verb(NamedTuple):
    """The steps of one verb.

    Attributes:
        keys: The keys that a step may have, the verb's own first, and the values that each accepts.
        make: The edit, of a checkpoint and the table of the step.
        validate: Checks the values of a step before any file is read. Raises UsageError and its kin.
        seeded: Whether a step without a `seed` is given one.
    """

    keys: Mapping[str, Accepted]
    make: Callable[[Checkpoint, Table, Context], Outcome]
    validate: Callable[[Table], object] = lambda table: None
    seeded: bool = False

    def check(self, table: Table) -> None:
        """Check the values of a step, whose keys are those of the verb. Raises UsageError and its kin."""
        for key, value in table.items():
            if not self.keys[key].fits(value):
                raise UsageError(f"{key} takes {self.keys[key].wanted}")
        self.validate(table)


@cache
def verb(name: str) -> Verb | None:
    """The verb of a name; None where there is no such verb."""
    module = f"{__package__}.{name}{'_' * iskeyword(name)}"
    if not name.isidentifier() or name.endswith("_"):
        return None
    try:
        step: Callable[[], Verb] | None = getattr(import_module(module), "recipe_step", None)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None
    return step() if step else None


# The order in which messages list the verbs; others follow in that of the alphabet.
_LISTED = ("set", "reinit", "resize", "add", "merge", "tie", "untie", "rename", "map", "drop", "cast", "assert")


def verbs() -> dict[str, Verb]:
    """All verbs, by name. The modules of all edits are imported."""
    from pkgutil import iter_modules

    names = {module.name.rstrip("_") for module in iter_modules(import_module(__package__).__path__)}
    ordered = [*_LISTED, *sorted(names.difference(_LISTED))]
    return {name: found for name in ordered if (found := verb(name))}
