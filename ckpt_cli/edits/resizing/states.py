"""What goes with a parameter when its shape changes: the states that an optimizer keeps for it, averages of it, and its master weights.

moments, momentum             0 where the parameter has new elements
row and column sums           the same along their axes (Adafactor, SM3)
averages, master weights      the parameter's own new elements
counters of one element       stay
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

from ...analysis.averages import averages
from ...errors import EditError, first_few
from ...numbers.shapes import nbytes_of, show_shape
from ...storage.boxes import cut, laid_over
from ...storage.storage import Fill, Storage
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .new_shapes import fit

_MASTER = re.compile(r"fp32_from_fp16_params|(^|[._/])(master_(param|weight)s?|fp32)$")
_OPTIMIZER = re.compile(r"(^|[./])(optim\w*|opt_state)[./]")
_SHOWN = 4  # names in a note
_MOST_AXES = 8


class Resized(NamedTuple):
    """A parameter whose shape changes.

    Attributes:
        before: The tensor as it was.
        after: The tensor as it is now.
        at_start: Whether the start of each axis changed, not the end.
        fresh: Whether nothing is kept.
    """

    before: Tensor
    after: Tensor
    at_start: bool
    fresh: bool


def with_states(
    checkpoint: Checkpoint, resized: Mapping[str, Resized], parameter_of: Mapping[str, str | None]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return what an optimizer keeps for parameters whose shapes change, and their averages, in their new shapes; and what to note.

    Args:
        checkpoint: The checkpoint before any change.
        resized: The parameters, by all their names.
        parameter_of: The states and averages, and the parameter of each: `analysis.optimizer.states`.

    Raises:
        EditError: A state follows from the shape of its parameter in no known way, or it is not certain whose it is.
    """
    averaged = {name for average in averages(checkpoint) for name in average.of} if parameter_of else set()
    zeroed: list[str] = []
    copied: list[str] = []
    tensors: dict[str, Tensor] = {}
    made: dict[object, Tensor] = {}
    alike = {name: resized[name] for name in {each.before.shape: name for name, each in resized.items()}.values()}  # one of each shape
    known = {*parameter_of, *parameter_of.values()}
    others = {name: None for name in checkpoint if _OPTIMIZER.search(name) and name not in known}  # of optimizers not known here
    for name, parameter in {**parameter_of, **others}.items():
        if name in resized:
            continue
        state = checkpoint[name]
        if parameter is None:
            _refuse_uncertain(name, state, alike)
        elif parameter in resized and state.numel > 1:
            copy = name in averaged or bool(_MASTER.search(name))
            tensors[name] = made.setdefault(state.key, _followed(name, state, parameter, resized[parameter], copy))
            (copied if copy else zeroed).append(name)
    notes = [
        *_told("the optimizer's states follow, and what is new is 0", zeroed),
        *_told("averages and master weights follow, and what is new is as in the parameter", copied),
    ]
    return tensors, notes


def _told(what: str, names: list[str]) -> Iterator[str]:
    if names:
        yield f"{what}: {first_few(names, _SHOWN)}"


def _refuse_uncertain(name: str, state: Tensor, alike: Mapping[str, Resized]) -> None:
    for parameter, each in alike.items():
        if state.numel > 1 and _axes(name, state.shape, each) is not None:
            what = f"{name} may be a state of {parameter}, by its shape, and is not certain to be"
            raise EditError(what, f"drop the optimizer first, or resize it by its name: '{name}=…'")


def _followed(name: str, state: Tensor, parameter: str, change: Resized, copy: bool) -> Tensor:
    """A state in its new shape."""
    axes = _axes(name, state.shape, change)
    coded = state.dtype.kind not in "fc" or bool(state.layout) or not state.dtype.addressable
    if axes is None or coded:
        kind = f"{state.layout or state.dtype.name}[{show_shape(state.shape)}]"
        what = f"{name} ({kind}) is kept for {parameter} ({show_shape(change.before.shape)}), and how it follows is not known"
        raise EditError(what, f"drop the optimizer's states first: ckpt drop … '{_home(name)}*'")
    shape = tuple(size if axis is None else change.after.shape[axis] for axis, size in zip(axes, state.shape, strict=True))
    base: Storage = Fill(bytes(state.dtype.nbytes), nbytes_of(state.dtype, shape))
    if copy and shape == change.after.shape:
        base = change.after.cast(state.dtype, parameter).elements()
    return Tensor.whole(state.dtype, shape, base) if change.fresh else over_base(state, shape, base, change.at_start)


def _home(name: str) -> str:
    """What stands before the states of all parameters: `optimizer.`, `optimizer.state.`."""
    found = re.match(r"(.*?[./])state[./]|([^./]*[./])", name)
    return found[0] if found else ""


def over_base(tensor: Tensor, shape: tuple[int, ...], base: Storage, at_start: bool) -> Tensor:
    """Return a tensor of a new shape: of an old one what fits, over new elements."""
    before, after = fit(tensor.shape, shape, at_start)
    size = tensor.dtype.nbytes
    kept = cut(tensor.elements(), size, tensor.shape, before)
    return Tensor.whole(tensor.dtype, shape, laid_over(base, size, shape, after, kept))


def _axes(name: str, shape: tuple[int, ...], change: Resized) -> tuple[int | None, ...] | None:
    """For each axis of a state that of its parameter, or None for an axis of one element. None where no assignment fits, or several do."""
    old, new = change.before.shape, change.after.shape
    if shape == old:
        return tuple(range(len(old)))
    if len(old) > _MOST_AXES:
        return None
    if name.endswith("_row") and shape == old[:-1]:
        return tuple(range(len(old) - 1))
    if name.endswith("_col") and shape == old[:-2] + old[-1:]:
        return (*range(len(old) - 2), len(old) - 1)
    found: dict[tuple[int, ...], tuple[int | None, ...]] = {}
    for dropped in product((False, True), repeat=len(old)):
        kept = [axis for axis in range(len(old)) if not dropped[axis]]
        spread = tuple(None if gone else axis for axis, gone in enumerate(dropped))
        for axes in (tuple[int | None, ...](kept), spread):
            if tuple(1 if axis is None else old[axis] for axis in axes) == shape:
                found[tuple(1 if axis is None else new[axis] for axis in axes)] = axes
    return next(iter(found.values())) if len(found) == 1 else None
