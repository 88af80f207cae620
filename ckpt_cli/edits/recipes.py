"""Recipes of edits: a TOML file with a list of steps, made one after another.

[[step]]
set = ["0.weight += 1", "0.bias = 0"]

[[step]]
reinit = ["*.bias=zeros"]    # preset, seed and rng may stand beside it
seed = 0

[[step]]
assert = {shape = {"0.weight" = [8, 4]}, finite = ["*"]}

A step has one verb: set, reinit, tie, untie, rename, map, drop, cast or assert. What goes with it are the options that its command has.
Edits are lazy, so that however many there are, the result is written in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..checking import assertions
from ..errors import CkptError, NoMatch, UsageError, did_you_mean, os_error
from ..numbers.dtypes import named
from ..storage.storage import Storage
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers
from .cast import cast
from .drop import drop
from .rename import rename
from .tie import tie, untie

if TYPE_CHECKING:
    from ..mapping.pairing import Template
    from ..schemes.target import Source
    from .reinit import Planned

Table = Mapping[str, Any]


class Means(NamedTuple):
    """What edits ask of the rest of the program: the layers of a checkpoint, given --arch; another checkpoint by its path; and the names
    that a map is to give, by the map, such a path and --arch."""

    layers: Callable[[Checkpoint, str], Layers]
    open: Callable[[str], Mapping[str, Source]]
    like: Callable[[str, str | None, str], Template | None]


class Kind(NamedTuple):
    """The values that a key takes, and how they are spelt in an error."""

    fits: Callable[[Any], bool]
    wanted: str


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_TEXT = Kind(lambda value: isinstance(value, str), 'a text in quotes: "…"')
_TEXTS = Kind(lambda value: _is_texts(value) and bool(value), 'a list of texts: ["…"]')
_RULES = Kind(_is_texts, 'a list of texts: ["PATTERN=SCHEME"]')
_TABLE = Kind(lambda value: isinstance(value, dict) and bool(value), "a table: {exists = [...]}")
_SEED = Kind(lambda value: type(value) is int and 0 <= value < 2**63, "a whole number from 0 to 2^63-1")
_REST = Kind(lambda value: value in ("keep", "drop", "error"), '"keep", "drop" or "error"')
_RNG = Kind(lambda value: value in ("tensor", "torch"), '"tensor" or "torch"')

Plan = list["Planned"]


class Verb(NamedTuple):
    """What a step of this kind may hold, how that is checked before any file is read, and how the edit is made."""

    keys: Mapping[str, Kind]
    check: Callable[[Table], object]
    edit: Callable[[Checkpoint, Table, Means], Checkpoint | tuple[Checkpoint, Plan]]


class Step(NamedTuple):
    where: str  # as errors say it: recipe.toml: step 2 (set)
    verb: str
    table: Table


def read_steps(text: str, recipe: str, any_seed: Callable[[], int]) -> list[Step]:
    """The steps that a recipe holds. Raises UsageError and its kin, which name the step, for what makes no sense in any file."""
    import tomllib

    try:
        held = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"this is no TOML: {error}", "a step is [[step]] and lines such as: drop = ['optimizer.*']") from None
    for key in held.keys() - {"step"}:
        mend = "rules alone are for `ckpt reinit --recipe`" if key == "rules" else 'a step begins with the line "[[step]]"'
        raise UsageError(f"a recipe of steps has no {key!r}", mend)
    tables = held.get("step", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise UsageError("the recipe has no steps", 'each begins with the line "[[step]]"')
    return [_step(f"{recipe}: step {number}", table, any_seed) for number, table in enumerate(tables, 1)]


def _step(where: str, table: dict[str, Any], any_seed: Callable[[], int]) -> Step:
    said = [key for key in table if key in _VERBS]
    if len(said) != 1:
        unknown = next((key for key in table if key not in _ALL), None)
        mend = did_you_mean(unknown, _VERBS) if unknown and not said else ""
        what = f"{' and '.join(said)} in one step" if said else f"a step has no {unknown!r}" if unknown else "nothing says what to do"
        raise UsageError(what, mend or f"each step has one of {', '.join(_VERBS)}", where)
    step = Step(f"{where} ({said[0]})", said[0], table)
    with _about(step):
        verb = _VERBS[step.verb]
        for key, value in table.items():
            if key not in verb.keys:
                raise UsageError(f"{step.verb} has no {key!r}", _meant(key, step.verb))
            if not verb.keys[key].fits(value):
                raise UsageError(f"{key} takes {verb.keys[key].wanted}")
        verb.check(table)
    return step._replace(table={"seed": any_seed(), **table}) if step.verb == "reinit" else step


def _meant(key: str, verb: str) -> str:
    """The mend for an option that `verb` has not: the verbs that have it, the nearest of its own, or all of those."""
    others = [other for other in _VERBS if key in _VERBS[other].keys]
    own = [option for option in _VERBS[verb].keys if option != verb]
    return (f"it goes with {' and '.join(others)}" if others else "") or did_you_mean(key, own) or f"it has {', '.join(own) or 'none'}"


class Made(NamedTuple):
    """A step that was made: the checkpoint after it, what was planned to be drawn, and what does not hold."""

    step: Step
    checkpoint: Checkpoint
    plan: Plan
    broken: list[str]


def made(checkpoint: Checkpoint, steps: Sequence[Step], means: Means) -> Iterator[Made]:
    """The checkpoint after each step. It ends with the first assertion that does not hold. Raises what edits raise; it names the step."""
    first = list(checkpoint)
    for step in steps:
        with _about(step), _of_names(list(checkpoint) != first):
            done = _VERBS[step.verb].edit(checkpoint, step.table, means)
            broken = (
                assertions.broken(checkpoint, step.table["assert"], _layers(checkpoint, step.table, means)) if step.verb == "assert" else []
            )
        before = checkpoint
        checkpoint, plan = done if isinstance(done, tuple) else (done, [])
        _watch(before, checkpoint, step)
        yield Made(step, checkpoint, plan, broken)
        if broken:
            return


@contextmanager
def _of_names(changed: bool) -> Iterator[None]:
    """Where steps before have changed the names, what lists those in the file is of no help."""
    try:
        yield
    except NoMatch as error:
        if changed:
            meant = f"{error.mend} " if error.mend.startswith("did you mean") else ""
            error.mend = f"{meant}the names are those after the steps before"
        raise


def _watch(before: Checkpoint, after: Checkpoint, step: Step) -> None:
    """What the step makes of storages may fail when it is read, steps later: it still names this one."""
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
    """The step stands before whatever else an error says of its place, unless that is a step already."""
    try:
        yield
    except (CkptError, OSError) as error:
        ours = error if isinstance(error, CkptError) else os_error(error)
        if not ours.where.startswith(step.where.rpartition(": step ")[0] + ": step "):
            ours.where = f"{step.where}: {ours.where}" if ours.where else step.where
        raise ours from error


def _layers(checkpoint: Checkpoint, table: Table, means: Means) -> Layers:
    return means.layers(checkpoint, table.get("arch", "auto"))


def _check_set(table: Table) -> None:
    from .set import parse

    for text in table["set"]:
        parse(text)


def _set(checkpoint: Checkpoint, table: Table, means: Means) -> Checkpoint:
    from .set import set_values

    return set_values(checkpoint, table["set"], _layers(checkpoint, table, means))


def _check_reinit(table: Table) -> None:
    from ..schemes.presets import presets
    from ..schemes.rules import parse_rule

    if not table["reinit"] and not table.get("preset"):
        raise UsageError("nothing says what to draw", 'give a rule such as "*.bias=zeros", or a preset')
    if table.get("preset"):
        presets[table["preset"]]
    for text in table["reinit"]:
        parse_rule(text)


def _reinit(checkpoint: Checkpoint, table: Table, means: Means) -> tuple[Checkpoint, Plan]:
    from ..schemes.rules import parse_rule
    from .reinit import reinit

    rules, layers = list(map(parse_rule, table["reinit"])), _layers(checkpoint, table, means)
    preset, rng = table.get("preset", ""), table.get("rng", "tensor")
    return reinit(checkpoint, rules, seed=table["seed"], preset=preset, rng=rng, layers=layers, open=means.open)


def _drop(checkpoint: Checkpoint, table: Table, means: Means) -> Checkpoint:
    return drop(checkpoint, table["drop"], _layers(checkpoint, table, means))


def _cast(checkpoint: Checkpoint, table: Table, means: Means) -> Checkpoint:
    return cast(checkpoint, named(table["cast"]), table.get("patterns", ()), _layers(checkpoint, table, means))


def _check_map(table: Table) -> None:
    from .mapping import read_map

    read_map(table["map"])


def _map(checkpoint: Checkpoint, table: Table, means: Means) -> Checkpoint:
    from .mapping import mapped, read_map

    like = means.like(table["map"], table.get("like"), table.get("arch", "auto"))
    return mapped(checkpoint, read_map(table["map"]), like, table.get("rest", ""))


def _broken(checkpoint: Checkpoint, table: Table, means: Means) -> list[str]:
    return assertions.broken(checkpoint, table["assert"], _layers(checkpoint, table, means))


def _fine(table: Table) -> None:
    """Whether it makes sense depends on the checkpoint alone."""


_VERBS = {
    "set": Verb({"set": _TEXTS, "arch": _TEXT}, _check_set, _set),
    "reinit": Verb({"reinit": _RULES, "preset": _TEXT, "seed": _SEED, "rng": _RNG, "arch": _TEXT}, _check_reinit, _reinit),
    "tie": Verb({"tie": _TEXTS}, _fine, lambda checkpoint, table, means: tie(checkpoint, table["tie"])),
    "untie": Verb({"untie": _TEXTS}, _fine, lambda checkpoint, table, means: untie(checkpoint, table["untie"])),
    "rename": Verb({"rename": _TEXTS}, _fine, lambda checkpoint, table, means: rename(checkpoint, table["rename"])),
    "map": Verb({"map": _TEXT, "like": _TEXT, "rest": _REST, "arch": _TEXT}, _check_map, _map),
    "drop": Verb({"drop": _TEXTS, "arch": _TEXT}, _fine, _drop),
    "cast": Verb({"cast": _TEXT, "patterns": _TEXTS, "arch": _TEXT}, lambda table: named(table["cast"]), _cast),
    "assert": Verb(
        {"assert": _TABLE, "arch": _TEXT}, lambda table: assertions.check(table["assert"]), lambda checkpoint, table, means: checkpoint
    ),
}
_ALL = {key for verb in _VERBS.values() for key in verb.keys}
