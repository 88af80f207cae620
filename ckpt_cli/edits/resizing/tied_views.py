"""The names of one tensor: those that are tied to it, and transposed views of the same elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations

from ...errors import EditError
from ...numbers.shapes import contiguous_strides, span
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor

_MOST_AXES = 6  # of a tensor whose transposed views are looked for


def views_of(checkpoint: Checkpoint, names: Iterable[str]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return, for each of these tensors, its names and those of transposed views of it, with the order of the tensor's axes there.

    Raises:
        EditError: Another view has some of its elements, or all of them in another way.
    """
    meeting = _meeting(checkpoint)
    return {name: _views(checkpoint, name, meeting.get(name, [name])) for name in names}


def _meeting(checkpoint: Checkpoint) -> dict[str, list[str]]:
    """For each tensor that shares a storage, the names of those whose bytes overlap with the bytes that it spans, in file order."""
    found: dict[str, list[str]] = {}
    for group in checkpoint.sharing():
        reaches = sorted((*_reach(checkpoint[name]), place) for place, name in enumerate(group))
        open_ones: list[tuple[int, int]] = []  # those that may reach further: where they end, and their places
        places: dict[int, list[int]] = {place: [place] for place in range(len(group))}
        for low, high, place in reaches:
            open_ones = [one for one in open_ones if one[0] > low]
            for _, other in open_ones:
                places[other].append(place)
                places[place].append(other)
            open_ones.append((high, place))
        found |= {group[place]: [group[other] for other in sorted(others)] for place, others in places.items()}
    return found


def _views(checkpoint: Checkpoint, name: str, meeting: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The views of one tensor, of those that meet it in its storage."""
    views: dict[str, tuple[int, ...]] = {}
    for other in meeting:
        axes = _order(checkpoint[name], checkpoint[other])
        if axes is None:
            what = f"{other} is another view of the elements of {name}, and how it follows is not known"
            raise EditError(what, f"give it elements of its own first: ckpt untie … '{other}'")
        views[other] = axes
    return views


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


def _reach(tensor: Tensor) -> tuple[int, int]:
    """The bytes of its storage that a tensor spans: the first, and the one behind the last."""
    low, high = span(tensor.shape, tensor.strides, tensor.offset)
    return low * tensor.dtype.nbytes, high * tensor.dtype.nbytes
