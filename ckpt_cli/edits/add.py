"""`add`: new tensors, from other files or drawn. They stand behind those that are there, in the order in which they are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import EditError, UsageError, about
from ..numbers.dtypes import DTYPES
from ..numbers.shapes import show_shape
from ..packing import refuse_cast
from ..tensors.checkpoint import Checkpoint
from ..tensors.references import refer
from ..tensors.selection import Layers, no_layers, picked_in_turn
from ..tensors.tensor import Tensor
from .adding.additions import Addition, parse_addition
from .adding.filling import filled
from .adding.new_names import check_free, look_alikes
from .adding.taking import axes_note, config_note, halves_noted, in_own_storages
from .expressions import Other
from .other_checkpoints import Open, opened, source_of, with_dtype_named
from .rename import rename as renamed
from .unfilled import unfilled

if TYPE_CHECKING:
    from ..schemes.plan import Planned
    from .steps import Verb


class _Found(NamedTuple):
    """The checkpoint that a tensor is taken from, its name there, and the tensor as it is added."""

    source: Checkpoint
    name: str
    tensor: Tensor


def add_named(
    checkpoint: Checkpoint, texts: Sequence[str], *, seed: int, open: Open, layers: Layers = no_layers
) -> tuple[Checkpoint, list[Planned]]:
    """Add tensors, each as `NAME=WHAT` says.

    Args:
        checkpoint: The checkpoint.
        texts: The new tensors.
        seed: The seed of what is drawn.
        open: Opens another checkpoint by its path.
        layers: Gives the types of layers, for presets.

    Returns:
        The checkpoint with the new tensors, and how those are filled that are taken from no file.

    Raises:
        UsageError, UnknownName: A text is no addition, or says no dtype or no scheme that there is.
        NoMatch: A tensor is not in its file.
        EditError: A name is taken, a shape is another one, or a scheme does not suit the new tensor.
    """
    additions = [parse_addition(text) for text in texts]
    if not additions:
        raise UsageError("nothing says what to add", "as in 'head.bias:float32[10]=zeros', or --from OTHER")
    names = [addition.name for addition in additions]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is added twice", "give each new tensor a name of its own")
    check_free(checkpoint, names, "`ckpt set` gives it values, `ckpt drop` takes it out")
    found = {each.name: _found(checkpoint, each, each.what, open) for each in additions if isinstance(each.what, Other)}
    taken = in_own_storages({name: each.tensor for name, each in found.items()}, checkpoint)
    new = {each.name: taken[each.name] if each.name in taken else _unfilled(each) for each in additions}
    notes = [line for other, names in _by_source(found.values()) for line in _notes(checkpoint, other, names)]
    return filled(_with(checkpoint, new, notes), additions, seed=seed, open=open, layers=layers)


def add_from(
    checkpoint: Checkpoint, other: Checkpoint, patterns: Sequence[str] = (), rename: Sequence[str] = (), layers: Layers = no_layers
) -> Checkpoint:
    """Take tensors over from another checkpoint. Those that are tied there are tied here.

    Args:
        checkpoint: The checkpoint.
        other: The checkpoint that they are taken from.
        patterns: Which ones; all without a pattern.
        rename: Renamings `OLD=NEW` of what is taken, as `rename` has them.
        layers: Gives the types of layers of `other`, for patterns `@Type`.

    Raises:
        NoMatch: A pattern, or a renaming, matches nothing.
        EditError: A name is taken already; the first ten are listed.
    """
    other = source_of(checkpoint, other)
    with about(other.origin.path if other.origin else ""):
        names = picked_in_turn(other, patterns, layers) if patterns else list(other)
        taken = renamed(other.replacing(tensors={name: other[name] for name in names}, sources={}), rename)
    check_free(checkpoint, taken, "choose others by a pattern, or rename them: --rename 'OLD=NEW'; `ckpt set` changes what is there")
    return _with(checkpoint, in_own_storages(dict(taken.tensors), checkpoint), _notes(checkpoint, other, names))


def _unfilled(addition: Addition) -> Tensor:
    """A tensor that is drawn: its dtype and shape are declared."""
    return unfilled(addition.dtype or DTYPES["float32"], addition.shape or ())


def _with(checkpoint: Checkpoint, new: Mapping[str, Tensor], notes: Iterable[str]) -> Checkpoint:
    """The checkpoint with new tensors behind its own. A name that a tensor had before it was renamed leads to no entry of the file."""
    gone = {*checkpoint.sources.values()}
    sources = dict(checkpoint.sources) | {name: f"\0new {name}" for name in new if name in gone}
    lines = (*checkpoint.notes, *look_alikes(checkpoint, new), *notes)
    return checkpoint.replacing(tensors={**checkpoint.tensors, **new}, sources=sources, notes=lines)


def _found(checkpoint: Checkpoint, addition: Addition, what: Other, open: Open) -> _Found:
    """The tensor of another checkpoint that an addition means."""
    path, name = what
    other = opened(checkpoint, open, path)
    with about(path):
        alone = name is None and list(other) == [""]  # an array has no name
        found, tensor = refer(other, "" if alone else addition.name if name is None else name)
        tensor = _as_declared(other, found, tensor, addition)
    return _Found(other, found, tensor)


def _as_declared(other: Checkpoint, found: str, tensor: Tensor, addition: Addition) -> Tensor:
    """The tensor in the dtype that is declared. Raises EditError where its shape is another one."""
    dtype, shape = addition.dtype, addition.shape
    if shape is not None and tensor.shape != shape:
        raise EditError(
            f"{found or 'the array'} has the shape {show_shape(tensor.shape)}, not {show_shape(shape)}", "the shapes must agree"
        )
    tensor = with_dtype_named(tensor, dtype) if dtype else tensor
    if dtype is None or dtype == tensor.dtype:
        return tensor
    if dtype.kind == "q":
        raise EditError(f"nothing is cast to {dtype.name}: values are not quantised here", "name a float")
    refuse_cast(other, {found})
    return tensor.cast(dtype, addition.name)


def _by_source(found: Iterable[_Found]) -> Iterable[tuple[Checkpoint, list[str]]]:
    """Each checkpoint that tensors are taken from, and their names there."""
    by_path: dict[object, tuple[Checkpoint, list[str]]] = {}
    for source, name, _ in found:
        by_path.setdefault(source.origin.path if source.origin else id(source), (source, []))[1].append(name)
    return by_path.values()


def _notes(checkpoint: Checkpoint, other: Checkpoint, names: Sequence[str]) -> list[str]:
    return [*halves_noted(other, names), *axes_note(checkpoint, other, names), *config_note(checkpoint, other)]


def recipe_step() -> Verb:
    """The step `add = ["NAME=WHAT"…]` of a recipe, with `seed`; or `add = ["PATTERN"…]` with `from` and `rename`."""
    from .steps import RULES, SEED, TEXT, TEXTS, Context, Outcome, Table, Verb

    def validate(table: Table) -> None:
        if "from" not in table and "rename" in table:
            raise UsageError("rename goes with from", "give a new tensor its name: NAME=@OTHER#TENSOR")
        if "from" not in table and not table["add"]:
            raise UsageError("nothing says what to add", "as in 'head.bias:float32[10]=zeros', or from = \"OTHER\"")
        for text in table["add"] if "from" not in table else ():
            parse_addition(text)

    def make(checkpoint: Checkpoint, table: Table, context: Context) -> Outcome:
        if "from" not in table:
            layers = context.layers_of(checkpoint, table)
            return Outcome(*add_named(checkpoint, table["add"], seed=table["seed"], open=context.open, layers=layers))
        other = opened(checkpoint, context.open, table["from"])
        return Outcome(add_from(checkpoint, other, table["add"], table.get("rename", ()), context.layers_of(other, table)))

    keys = {"add": RULES, "from": TEXT, "rename": TEXTS, "seed": SEED, "arch": TEXT}
    return Verb(keys, make, validate, seeded=True)
