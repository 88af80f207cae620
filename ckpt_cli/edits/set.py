"""`set`: values by hand, as `REF OP VALUE`: OP is one of = += -= *= /=, VALUE an expression of numbers and tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from ..errors import CkptError, EditError, NoMatch, about, naming
from ..numbers.values import element
from ..storage.storage import Fill, Memory, Storage
from ..tensors.checkpoint import Checkpoint
from ..tensors.references import Index, indexed, refer, split_index
from ..tensors.selection import Layers, matches, no_layers
from ..tensors.tensor import Tensor
from .assignments import Assignment, check, meant
from .averaged import Averages, without
from .calculation import calculated
from .expressions import Average, Elsewhere, Number, Other, Values
from .operands import broadcast, fitting, operand, stored
from .other_checkpoints import Open, opened, with_dtype_named
from .set_besides import hinting_at_new_objects, with_besides

if TYPE_CHECKING:
    from .steps import Verb

View = tuple[str, "Index | None", Tensor]


def set_values(checkpoint: Checkpoint, assignments: Sequence[str], open: Open, layers: Layers = no_layers) -> Checkpoint:
    """Make assignments, from left to right.

    Args:
        checkpoint: The checkpoint.
        assignments: The assignments, as text.
        open: Opens another checkpoint, for values `@FILE`.
        layers: Gives the types of layers, for patterns `@Type`.

    Raises:
        UsageError: A text is no assignment, or could be read in two ways.
        NoMatch: A reference matches nothing, or what it matches has no average.
        EditError: The dtype of a tensor cannot hold a value. Where values depend on others, this is raised when they are read.
        Opaque: A tensor has no plain elements.
    """
    once = cache(partial(opened, checkpoint, open))
    for text in assignments:
        changed = with_besides(checkpoint, text)
        with hinting_at_new_objects(checkpoint, text):
            checkpoint = _assigned(checkpoint, _meant(checkpoint, text, layers), once, layers) if changed is None else changed
    return checkpoint


def _meant(checkpoint: Checkpoint, text: str, layers: Layers) -> Assignment:
    """The reading of an assignment that is meant for this checkpoint."""

    def is_name(reference: str) -> bool:
        base, index = split_index(checkpoint, reference, layers)
        return base in checkpoint and (index is not None or base == reference)

    def names_something(reference: str) -> bool:
        try:
            return bool(_views(checkpoint, reference, layers))
        except CkptError:
            return False

    return meant(text, is_name, names_something)


def _assigned(checkpoint: Checkpoint, assignment: Assignment, once: Callable[[str], Checkpoint], layers: Layers) -> Checkpoint:
    """The checkpoint after one assignment. A tensor that several names share is assigned once."""
    averages = Averages(checkpoint, once)
    views = _views(checkpoint, assignment.reference, layers)
    if any(isinstance(each, Average) for each in assignment.value.operands):
        views, checkpoint = _with_average(checkpoint, views, assignment, averages)
    storages: dict[Storage, Storage] = {}
    for name, index, view in views:
        own = checkpoint[name].plain(name).storage
        tensor = view.over(storages.get(own, own))
        if assignment.op != "=" or assignment.value.literal is None:
            tensor = _without_repeats(tensor)
        find = partial(_found, averages, once, name, index, tensor)
        storages[own] = tensor.storage_with(_contents(name, tensor, assignment, find))
    return checkpoint.with_storages(storages)


def _views(checkpoint: Checkpoint, reference: str, layers: Layers) -> list[View]:
    """The tensors that a reference means, or the part of one, with their names. Raises EditError for an empty slice."""
    index = split_index(checkpoint, reference, layers)[1]
    if index is not None:
        name, part = refer(checkpoint, reference, layers)
        if not part.numel and checkpoint[name].numel:
            raise EditError(
                f"{reference} is an empty slice: {name} has shape {'x'.join(map(str, checkpoint[name].shape))}", "check its bounds"
            )
        return [(name, index, part)]
    views: dict[Any, View] = {}
    for name in matches(checkpoint, reference, layers):
        views.setdefault(checkpoint[name].key, (name, None, checkpoint[name]))
    return list(views.values())


def _with_average(checkpoint: Checkpoint, views: list[View], assignment: Assignment, known: Averages) -> tuple[list[View], Checkpoint]:
    """Those of the views whose tensors have an average, and the checkpoint with a note of the others. Raises NoMatch where none has one."""
    meant = [each for each in assignment.value.operands if isinstance(each, Average)]
    having = [view for view in views if all(known.of(view[0], each) for each in meant)]
    if not having:
        what = f"{views[0][0]} has no average" if len(views) == 1 else f"none of the {len(views):,} tensors has an average"
        raise NoMatch(what, "`ckpt ls --optimizer` lists averages, with the parameter that each is OF")
    have, model = {name for name, _, _ in having}, set(known.model)
    return having, without(checkpoint, str(assignment), [name for name, _, _ in views if name not in have and name in model])


def _without_repeats(tensor: Tensor) -> Tensor:
    """A view of each element once, of a tensor that is expanded along an axis: elements that share their memory take one value."""
    if 0 not in tensor.strides:
        return tensor
    shape = tuple(min(n, 1) if stride == 0 else n for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    return Tensor.view(tensor.dtype, shape, tensor.storage, tensor.strides, tensor.offset)


def _contents(name: str, tensor: Tensor, assignment: Assignment, find: Callable[[Elsewhere], Tensor]) -> Storage:
    """The new elements of `tensor`, C-contiguous. An error about a value names the tensor, now or when the values are read."""
    value, op, dtype = assignment.value, assignment.op, tensor.dtype
    literal = value.literal
    with naming(name):
        if op == "=" and isinstance(literal, Number):
            return Fill(element(dtype, literal.value), tensor.nbytes)
        if op == "=" and isinstance(literal, Values):
            return Memory(broadcast(stored(fitting(literal.array, tensor), dtype), tensor.shape).tobytes())
        if op != "=":
            _check_arithmetic(dtype, op, literal)
            value = value.applied_to_this(op[0])
        contents = calculated(tensor, value, find)
    contents.watch(partial(naming, name))
    return contents


def _check_arithmetic(dtype: Any, op: str, literal: Number | Values | None) -> None:
    """Raises EditError where an operator would silently round integers; an expression with `this` says that it is meant."""
    if dtype.kind in "iu" and op == "/=":
        raise EditError(f"{dtype.name} cannot be divided in place", "cast it to a float first, or write = this / …, which rounds")
    if dtype.kind in "iu" and literal is not None:
        operand(literal.value if isinstance(literal, Number) else literal.array, dtype)


def _found(
    averages: Averages, once: Callable[[str], Checkpoint], name: str, index: Index | None, tensor: Tensor, meant: Elsewhere
) -> Tensor:
    """The tensor that `@FILE`, `@FILE#NAME` or `average` means for the tensor `name`, or for the part of it at `index`."""
    if isinstance(meant, Other):
        return _tensor_of(once, name, index, tensor, meant)
    found = averages.of(name, meant)
    if found is None:
        raise NoMatch(f"{name} has no average")
    average = found[1].decoded(found[0])
    return average if index is None else indexed(average, index, found[0])


def _tensor_of(once: Callable[[str], Checkpoint], name: str, index: Index | None, tensor: Tensor, other: Other) -> Tensor:
    """The tensor that `@FILE` or `@FILE#NAME` means for the tensor `name`, or for the part of it at `index`."""
    checkpoint = once(other.path)
    with about(other.path):
        if other.name is not None:
            found, view = refer(checkpoint, other.name)
        elif len(checkpoint) == 1 and "" in checkpoint:
            found, view, index = "", checkpoint[""], None  # an array has no name
        else:
            found, view = name, checkpoint[name]
        view = with_dtype_named(view, tensor.dtype).decoded(found)
        return view if index is None or other.name is not None else indexed(view, index, found)


def recipe_step() -> Verb:
    """The step `set = [ASSIGNMENT…]` of a recipe."""
    from .steps import TEXT, TEXTS, Context, Outcome, Table, Verb

    def make(checkpoint: Checkpoint, table: Table, context: Context) -> Outcome:
        return Outcome(set_values(checkpoint, table["set"], context.open, context.layers_of(checkpoint, table)))

    return Verb({"set": TEXTS, "arch": TEXT}, make, lambda table: list(map(check, table["set"])))
