"""The names of one tensor: those that are tied to it, and transposed views of the same elements."""

from __future__ import annotations

from itertools import permutations

from ..errors import EditError
from ..numbers.shapes import contiguous_strides, span
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor

_MOST_AXES = 6  # of a tensor whose transposed views are looked for


def views_of(checkpoint: Checkpoint, name: str) -> dict[str, tuple[int, ...]]:
    """Return the names of a tensor and those of transposed views of it, each with the order of the tensor's axes there.

    Raises:
        EditError: Another view has some of its elements, or all of them in another way.
    """
    tensor = checkpoint[name]
    views = {name: tuple(range(len(tensor.shape)))}
    for other in checkpoint.shared():
        view = checkpoint[other]
        if other == name or view.storage is not tensor.storage:
            continue
        axes = _order(tensor, view)
        if axes is not None:
            views[other] = axes
        elif _meet(tensor, view):
            what = f"{other} is another view of the elements of {name}, and how it follows is not known"
            raise EditError(what, f"give it elements of its own first: ckpt untie … '{other}'")
    return {each: views[each] for each in checkpoint if each in views}


def permuted(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return a contiguous tensor with its axes in another order: a view of the same storage."""
    if axes == tuple(range(len(axes))):
        return tensor
    strides = contiguous_strides(tensor.shape)
    return Tensor.view(tensor.dtype, tuple(tensor.shape[at] for at in axes), tensor.storage, tuple(strides[at] for at in axes), 0)


def _order(tensor: Tensor, view: Tensor) -> tuple[int, ...] | None:
    """The axes of `tensor` in the order in which `view` has them, where it is the same elements; None where it is not."""
    rank = len(tensor.shape)
    if view.key == tensor.key:
        return tuple(range(rank))
    if (view.dtype, view.offset, len(view.shape)) != (tensor.dtype, tensor.offset, rank) or view.layout or rank > _MOST_AXES:
        return None
    own, wanted = list(zip(tensor.shape, tensor.strides, strict=True)), list(zip(view.shape, view.strides, strict=True))
    return next((axes for axes in permutations(range(rank)) if [own[axis] for axis in axes] == wanted), None)


def _meet(one: Tensor, two: Tensor) -> bool:
    """Whether the bytes that two views of one storage span overlap."""
    (first, last), (low, high) = ((at * each.dtype.nbytes for at in span(each.shape, each.strides, each.offset)) for each in (one, two))
    return low < last and first < high
