"""Parts of a tensor along one axis, and a tensor made of parts: a part is a view, a whole is tiles that are read when asked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from ..errors import EditError
from ..numbers.shapes import show_shape
from ..storage.tiles import tiled
from ..tensors.tensor import Tensor

Named = tuple[str, Tensor]  # a tensor and its name, for messages


def check_axis(of: Named, axis: int, count: int | None = None) -> None:
    """Check that a tensor (or one of `count` axes) has this axis.

    Raises:
        EditError: it has not.
    """
    name, tensor = of
    if axis >= (len(tensor.shape) if count is None else count):
        raise EditError(f"{name} of shape {show_shape(tensor.shape)} has no axis {axis}", "axes count from 0")


def part(of: Named, axis: int, start: int, stop: int) -> Tensor:
    """Return the indices from `start` to `stop` of an axis.

    Raises:
        EditError: the tensor does not have them.
    """
    name, tensor = of
    check_axis(of, axis)
    if not 0 <= start < stop <= tensor.shape[axis]:
        raise EditError(f"{name} of shape {show_shape(tensor.shape)} has no part {start}:{stop} along axis {axis}")
    plain = tensor.plain(name)
    shape = (*tensor.shape[:axis], stop - start, *tensor.shape[axis + 1 :])
    return Tensor.view(plain.dtype, shape, plain.storage, plain.strides, plain.offset + start * plain.strides[axis])


def one(of: Named, axis: int, index: int) -> Tensor:
    """Return one index of an axis, without the axis."""
    single = part(of, axis, index, index + 1)
    shape, strides = single.shape, single.strides
    without = (*shape[:axis], *shape[axis + 1 :]), (*strides[:axis], *strides[axis + 1 :])
    return Tensor.view(single.dtype, without[0], single.storage, without[1], single.offset)


def lengths_of(of: Named, axis: int, count: int, lengths: Sequence[int]) -> Sequence[int]:
    """Return the lengths of `count` parts: those given, or equal ones.

    Raises:
        EditError: they do not make up the axis.
    """
    name, tensor = of
    check_axis(of, axis)
    size = tensor.shape[axis]
    if lengths and (sum(lengths) != size or len(lengths) != count):
        what = f"{name} of shape {show_shape(tensor.shape)}: lengths = {list(lengths)} are not {count} parts of axis {axis}"
        raise EditError(what, f"one for each name, {size} in all")
    if not lengths and size % count:
        raise EditError(f"{name}: axis {axis} of {size} has no {count} equal parts", "say them: lengths = [4096, 1024, 1024]")
    return lengths or [size // count] * count


def cut(of: Named, axis: int, lengths: Sequence[int]) -> list[Tensor]:
    """Return the parts of these lengths, which make up the axis."""
    return [part(of, axis, stop - length, stop) for length, stop in zip(lengths, accumulate(lengths), strict=True)]


def concatenated(parts: Sequence[Named], axis: int) -> Tensor:
    """Return tensors one after another along an axis.

    Raises:
        EditError: they have other dtypes or sizes of the other axes.
    """
    first_name, first = parts[0]
    check_axis(parts[0], axis)
    for name, tensor in parts:
        sizes = [tuple(size for at, size in enumerate(each.shape) if at != axis) for each in (first, tensor)]
        if len(tensor.shape) != len(first.shape) or sizes[0] != sizes[1] or tensor.dtype != first.dtype:
            kinds = [f"{each.dtype.name} {show_shape(each.shape)}" for each in (first, tensor)]
            raise EditError(f"{first_name} ({kinds[0]}) and {name} ({kinds[1]}) cannot be joined along axis {axis}")
    if len(parts) == 1:
        return first
    ends = list(accumulate(tensor.shape[axis] for _, tensor in parts))
    shape = (*first.shape[:axis], ends[-1], *first.shape[axis + 1 :])
    boxes = [
        (tensor.plain(name).elements(), [(0, n) if at != axis else (end - n, n) for at, n in enumerate(tensor.shape)])
        for (name, tensor), end in zip(parts, ends, strict=True)
    ]
    return Tensor.whole(first.dtype, shape, tiled(first.dtype.nbytes, shape, boxes))


def stacked(parts: Sequence[Named], axis: int) -> Tensor:
    """Return tensors one after another along a new axis."""
    check_axis(parts[0], axis, len(parts[0][1].shape) + 1)
    return concatenated([(name, _with_axis(tensor.plain(name), axis)) for name, tensor in parts], axis)


def _with_axis(tensor: Tensor, axis: int) -> Tensor:
    shape, strides = tensor.shape, tensor.strides
    more = (*shape[:axis], 1, *shape[axis:]), (*strides[:axis], 1, *strides[axis:])
    return Tensor.view(tensor.dtype, more[0], tensor.storage, more[1], tensor.offset)


def reordered(of: Named, axis: int, order: Sequence[int]) -> Tensor:
    """Return the tensor with the equal blocks of an axis in another order: block `order[k]` becomes the k-th."""
    name, _ = of
    blocks = cut(of, axis, lengths_of(of, axis, len(order), ()))
    return concatenated([(name, blocks[index]) for index in order], axis)
