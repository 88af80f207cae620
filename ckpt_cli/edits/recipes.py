"""Recipes of edits: a TOML file with a list of steps, made one after another.

[[step]]
set = ["0.weight += 1", "0.bias = 0"]

[[step]]
reinit = ["*.bias=zeros"]    # preset, seed and rng may stand beside it
seed = 0

[[step]]
assert = {shape = {"0.weight" = [8, 4]}, finite = ["*"]}

A step has one verb: set, reinit, tie, untie, rename, map, drop, cast or assert. Its other keys are the options that the command of that
name has. `steps` says where a verb is defined. Edits are lazy: however many steps there are, the result is written in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import CkptError, NoMatch, UsageError, did_you_mean, os_error
from ..storage.storage import Storage
from ..tensors.checkpoint import Checkpoint
from .steps import Context, Table, Verb, verb, verbs

if TYPE_CHECKING:
    from ..schemes.plan import Planned

__all__ = ["Context", "Made", "Step", "made", "read_steps", "text_of"]


class Step(NamedTuple):
    """One step of a recipe.

    Attributes:
        where: What errors call it: `recipe.toml: step 2 (set)`.
        name: The name of its verb.
        verb: Its verb.
        table: Its keys and values.
    """

    where: str
    name: str
    verb: Verb
    table: Table


def text_of(recipe: bytes) -> str:
    """Return the text of a recipe. Raises UsageError where it is none."""
    try:
        return recipe.decode()
    except UnicodeDecodeError:
        raise UsageError("this is no TOML: it is no UTF-8 text", "a recipe is a text file") from None


def read_steps(text: str, recipe: str, any_seed: Callable[[], int]) -> list[Step]:
    """Read the steps of a recipe.

    Args:
        text: The recipe, in TOML.
        recipe: What errors call it: its path.
        any_seed: Chooses a seed, for steps that need one and have none.

    Raises:
        UsageError: The recipe makes no sense, whatever file it is applied to; the error names the step.
        UnknownName: It has a name that there is not, as of a dtype; the error names the step.
    """
    import tomllib

    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"this is no TOML: {error}", "a step is [[step]] and lines such as: drop = ['optimizer.*']") from None
    for key in document.keys() - {"step"}:
        mend = "rules alone are for `ckpt reinit --recipe`" if key == "rules" else 'a step begins with the line "[[step]]"'
        raise UsageError(f"a recipe of steps has no {key!r}", mend)
    tables = document.get("step", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise UsageError("the recipe has no steps", 'each begins with the line "[[step]]"')
    return [_step(f"{recipe}: step {number}", table, any_seed) for number, table in enumerate(tables, 1)]


def _step(where: str, table: dict[str, Any], any_seed: Callable[[], int]) -> Step:
    found_verbs = {key: found for key in table if (found := verb(key))}
    # what is an option of another verb in the step is that: `rename` beside `add`
    named = {
        key: found for key, found in found_verbs.items() if not any(key in other.keys for other in found_verbs.values() if other != found)
    }
    if len(named) != 1:
        raise _not_one_verb(where, table, list(named))
    name, found = next(iter(named.items()))
    step = Step(f"{where} ({name})", name, found, table)
    with _about(step):
        for key in table:
            if key not in found.keys:
                raise UsageError(f"{name} has no {key!r}", _mend_for_key(key, name))
        found.check(table)
    return step._replace(table={"seed": any_seed(), **table}) if found.seeded else step


def _not_one_verb(where: str, table: Table, named: list[str]) -> UsageError:
    """The error for a step with several verbs, or with none."""
    every = verbs()
    known = {key for each in every.values() for key in each.keys}
    unknown = next((key for key in table if key not in known), None)
    mend = did_you_mean(unknown, every) if unknown and not named else ""
    what = f"{' and '.join(named)} in one step" if named else f"a step has no {unknown!r}" if unknown else "nothing says what to do"
    return UsageError(what, mend or f"each step has one of {', '.join(every)}", where)


def _mend_for_key(key: str, name: str) -> str:
    """How to mend a key that the verb `name` lacks: the verbs that have it, the nearest of its own keys, or all of those."""
    every = verbs()
    others = [other for other, each in every.items() if key in each.keys]
    options = [option for option in every[name].keys if option != name]
    return (
        (f"it goes with {' and '.join(others)}" if others else "") or did_you_mean(key, options) or f"it has {', '.join(options) or 'none'}"
    )


class Made(NamedTuple):
    """A step that was made.

    Attributes:
        step: The step.
        checkpoint: The checkpoint after it.
        plan: What the step fills anew, and with what.
        broken: A line for each thing that the step asserts and that does not hold.
    """

    step: Step
    checkpoint: Checkpoint
    plan: list[Planned]
    broken: list[str]


def made(checkpoint: Checkpoint, steps: Sequence[Step], context: Context) -> Iterator[Made]:
    """Make the steps one after another, up to the first assertion that does not hold.

    Yields:
        Each step with the checkpoint after it.

    Raises:
        CkptError: What the edits raise; the error names the step, even where a value is read only steps later.
    """
    first = list(checkpoint)
    for step in steps:
        with _about(step), _without_stale_mend(list(checkpoint) != first):
            outcome = step.verb.make(checkpoint, step.table, context)
        _watch(checkpoint, outcome.checkpoint, step)
        checkpoint = outcome.checkpoint
        yield Made(step, checkpoint, list(outcome.plan), list(outcome.broken))
        if outcome.broken:
            return


@contextmanager
def _without_stale_mend(renamed: bool) -> Iterator[None]:
    """Where earlier steps have changed the names, a mend that lists the names in the file is of no help."""
    try:
        yield
    except NoMatch as error:
        if renamed:
            meant = f"{error.mend} " if error.mend.startswith("did you mean") else ""
            error.mend = f"{meant}the names are those after the steps before"
        raise


def _watch(before: Checkpoint, after: Checkpoint, step: Step) -> None:
    """Have errors name the step if a storage that it made fails when it is read, which may be steps later."""
    known = {id(tensor.storage) for tensor in before.tensors.values()}
    left: list[Storage] = [tensor.storage for tensor in after.tensors.values()]
    while left:
        storage = left.pop()
        if id(storage) not in known:
            known.add(id(storage))
            storage.watch(partial(_about, step))
            left += storage.parts()


@contextmanager
def _about(step: Step) -> Iterator[None]:
    """Name the step in an error, in front of what the error says of its place, unless that names a step already."""
    try:
        yield
    except (CkptError, OSError) as error:
        ours = error if isinstance(error, CkptError) else os_error(error)
        if not ours.where.startswith(step.where.rpartition(": step ")[0] + ": step "):
            ours.where = f"{step.where}: {ours.where}" if ours.where else step.where
        raise ours from error
