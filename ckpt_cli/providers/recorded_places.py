"""Views as text: the subscript, or the function, that takes a part of a value."""

from __future__ import annotations

from ..numbers.shapes import contiguous_strides
from .recorded_graph import Place
from .recorded_values import Unexplained


def viewed(text: str, whole: Place, part: Place) -> str:
    """Return the text of a view of the storage in which a value lies.

    Args:
        text: the text of the value.
        whole: how the value lies in the storage.
        part: the view.
    """
    text, whole = in_order(text, whole)
    if part.repeats:
        kept = tuple(1 if not step else n for n, step in zip(part.shape, part.strides, strict=True))
        once = Place(kept, part.strides, part.offset)
        return f"expand({_once(text, whole, once)}, {_tuple(part.shape)})"
    return _once(text, whole, part)


def _once(text: str, whole: Place, part: Place) -> str:
    """The text of a view that shows each element once."""
    if part.is_plain and part.size == whole.size:
        return text if part.shape == whole.shape else f"reshape({text}, {_tuple(part.shape)})"
    found = _subscript(whole, part)
    if found is None:
        return f"as_strided({text}, {_tuple(part.shape)}, {_tuple(part.strides)}, {part.offset})"
    subscript, axes, sizes = found
    text = f"{text}{subscript}"
    order = sorted(range(len(axes)), key=lambda at: axes[at])  # the axes as the subscript leaves them
    if order != list(range(len(axes))):
        text = f"permute({text}, {_tuple([order.index(at) for at in range(len(axes))])})"
    return text if sizes == part.shape else f"reshape({text}, {_tuple(part.shape)})"


def in_order(text: str, place: Place) -> tuple[str, Place]:
    """Return the text of a value with its axes as they lie in the storage, and how that value lies there.

    Raises:
        Unexplained: its elements lie in no such order.
    """
    if place.is_plain:
        return text, place
    order = sorted(range(len(place.shape)), key=lambda axis: -place.strides[axis])
    ordered = Place(_taken(place.shape, order), _taken(place.strides, order), place.offset)
    if not ordered.is_plain:
        raise Unexplained("its elements lie in an order that formulas do not have")
    return f"permute({text}, {_tuple(order)})", ordered


def written(name: str, whole: Place, part: Place, value: str) -> str:
    """Return the statement that changes a part of a named value.

    Args:
        name: the name.
        whole: how the value lies in the storage: plain.
        part: the part.
        value: the text of its new elements.
    """
    found = _subscript(whole, part)
    if found is None or list(found[1]) != sorted(found[1]):
        return f"{name} = as_strided_scatter({name}, {value}, {_tuple(part.shape)}, {_tuple(part.strides)}, {part.offset})"
    subscript, _, shape = found
    return f"{name}{subscript or '[:]'} = {value if shape == part.shape else f'reshape({value}, {shape})'}"


def _subscript(whole: Place, part: Place) -> tuple[str, tuple[int, ...], tuple[int, ...]] | None:
    """The subscript that takes `part` of a plain whole; the axis of the whole that each axis longer than 1 of the part is; their sizes.

    None where an axis of the part is none of the whole.
    """
    strides = contiguous_strides(whole.shape)
    starts, rest = [], part.offset
    for n, step in zip(whole.shape, strides, strict=True):
        starts.append(rest // step if n > 1 else 0)
        rest -= starts[-1] * step
    if rest:
        return None
    taken: dict[int, str] = {}
    axes, sizes = [], []
    for n, step in zip(part.shape, part.strides, strict=True):
        if n == 1:
            continue
        axis = _axis(whole.shape, strides, starts, n, step, taken)
        if axis is None:
            return None
        taken[axis] = _slice(starts[axis], n, step // strides[axis], whole.shape[axis])
        axes.append(axis)
        sizes.append(n)
    words = [taken.get(axis, str(start)) for axis, start in enumerate(starts)]
    while words and words[-1] == ":":
        words.pop()
    return f"[{', '.join(words)}]" if words else "", tuple(axes), tuple(sizes)


def _axis(shape: tuple[int, ...], strides: tuple[int, ...], starts: list[int], n: int, step: int, taken: dict[int, str]) -> int | None:
    """The axis of the whole along which `n` elements at this stride lie."""
    for axis, (size, one) in enumerate(zip(shape, strides, strict=True)):
        if axis not in taken and size > 1 and step and not step % one and starts[axis] + (n - 1) * (step // one) < size:
            return axis
    return None


def _slice(start: int, count: int, step: int, size: int) -> str:
    stop = start + (count - 1) * step + 1
    if step > 1 and stop + step > size:
        stop = size
    return f"{start or ''}:{stop if stop < size else ''}{f':{step}' if step > 1 else ''}"


def _taken(values: tuple[int, ...], order: list[int]) -> tuple[int, ...]:
    return tuple(values[at] for at in order)


def _tuple(values: tuple[int, ...] | list[int]) -> str:
    return repr(tuple(values))
