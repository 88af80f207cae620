"""Axes as letters: `io` is in×out, `HWio` a kernel's height, width, in, out; `(cm)` one axis of two, `1` one of a single element.

The same letter is the same size wherever it stands. `*` is one to three axes in space: W, HW or DHW.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import pairwise
from math import prod
from types import MappingProxyType

from ..errors import EditError, UsageError
from ..numbers.shapes import show_shape
from ..tensors.tensor import Tensor

Axes = tuple[str, ...]  # the letters of each axis; an empty text for an axis of a single element
Sizes = dict[str, int]  # the size of a letter, or of letters whose product alone is known: {"cm": 8}

SPACE = "DHW"
_TOKEN = re.compile(r"\(([A-Za-z]+)\)|([A-Za-z1*])")


def parse(text: str) -> Axes:
    """Parse `(cm)1HW` to `("cm", "", "H", "W")`.

    Raises:
        UsageError: the text is no sequence of axes, or has a letter twice.
    """
    axes = tuple("" if single == "1" else several or single for several, single in _TOKEN.findall(text))
    letters = "".join(axes)
    if _TOKEN.sub("", text) or len(set(letters)) < len(letters):
        raise UsageError(
            f"{text!r} says no axes", "a letter each, none twice, as in io or HWIO; (cm) for one axis of two, 1 for a single element"
        )
    return axes


def spatial(axes: Axes, count: int) -> Axes:
    """Return the axes with `count` axes in space in place of `*`."""
    if "*" not in axes:
        return axes
    at = axes.index("*")
    return (*axes[:at], *SPACE[len(SPACE) - count :], *axes[at + 1 :])


def spatial_count(sizes: Sizes) -> int:
    """Return how many axes in space have a known size."""
    return sum(letter in sizes for letter in SPACE)


def axes_of(axes: Axes, shape: tuple[int, ...]) -> Axes | None:
    """Return the axes of a tensor of that shape, `*` expanded; None where their numbers differ."""
    count = len(shape) - len(axes) + 1
    if "*" in axes:
        return spatial(axes, count) if 1 <= count <= len(SPACE) else None
    return axes if len(axes) == len(shape) else None


def solved(axes: Axes, shape: tuple[int, ...], sizes: Sizes) -> Sizes | None:
    """Return `sizes` and the sizes of letters that follow from `shape`; None where the shape contradicts them."""
    result = dict(sizes)
    for letters, size in zip(axes, shape, strict=True):
        unknown = [letter for letter in letters if letter not in result]
        known = prod(result[letter] for letter in letters if letter in result)
        if len(unknown) > 1:
            if not known or size % known or result.setdefault("".join(unknown), size // known) != size // known:
                return None
        elif unknown and known and size % known == 0:
            result[unknown[0]] = size // known
        elif unknown or known != size:
            return None
    return result


def merged(sizes: Sizes, others: Sizes) -> Sizes | None:
    """Return both together; None where they contradict each other."""
    both = sizes | others
    if any(sizes[letters] != both[letters] for letters in sizes):
        return None
    products = ((letters, size) for letters, size in both.items() if len(letters) > 1 and all(letter in both for letter in letters))
    return both if all(prod(both[letter] for letter in letters) == size for letters, size in products) else None


def shape_of(axes: Axes, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of a tensor with these axes."""
    return tuple(prod(sizes[letter] for letter in letters) for letters in axes)


def without(axes: Axes, letters: Collection[str]) -> Axes:
    """Return the axes without these letters; an axis of nothing else is left out."""
    kept = ("".join(letter for letter in axis if letter not in letters) for axis in axes)
    return tuple(new for new, old in zip(kept, axes, strict=True) if new or not old)


def rearranged(tensor: Tensor, name: str, before: Axes, after: Axes, sizes: Sizes, at: Mapping[str, int] = MappingProxyType({})) -> Tensor:
    """Return the tensor, or one index of some of its axes, with its axes as `after` has them.

    It is a view of the same storage where strides can express that; otherwise its elements are gathered when they are read.

    Args:
        tensor: the tensor, whose axes are `before`.
        name: its name, for messages.
        before: its axes.
        after: the axes of the result, of the same letters, but for those of `at`.
        sizes: sizes of letters that the shape does not tell.
        at: letter → the index of it that is taken.

    Raises:
        EditError: the shape contradicts `before`, or nothing tells the size of a letter.
    """
    if before == after:
        return tensor
    known = solved(before, tensor.shape, sizes) if len(before) == len(tensor.shape) else None
    if known is None:
        raise EditError(f"{name} has shape {show_shape(tensor.shape)}, which axes {shown(before)} do not have")
    letters = "".join(after)
    unknown = [letter for letter in "".join(before) if letter not in known]
    if unknown:
        raise EditError(f"{name}: nothing tells the size of {unknown[0]}", f"say it: sizes = {{{unknown[0]} = 1}}")
    strides = _letter_strides(tensor.plain(name), before, known)
    offset = tensor.offset + sum(index * strides[letter] for letter, index in at.items())
    joined = _axis_strides(after, known, strides)
    if joined is not None:
        return Tensor.view(tensor.dtype, shape_of(after, known), tensor.storage, joined, offset)
    split_shape, split_strides = tuple(known[letter] for letter in letters), tuple(strides[letter] for letter in letters)
    view = Tensor.view(tensor.dtype, split_shape, tensor.storage, split_strides, offset)
    return Tensor.whole(tensor.dtype, shape_of(after, known), view.elements())


def _letter_strides(tensor: Tensor, axes: Axes, sizes: Sizes) -> dict[str, int]:
    """The stride of each letter: an axis of several letters is split."""
    strides = {}
    for letters, stride in zip(axes, tensor.strides, strict=True):
        for letter in reversed(letters):
            strides[letter] = stride
            stride *= sizes[letter]
    return strides


def _axis_strides(axes: Axes, sizes: Sizes, strides: Mapping[str, int]) -> tuple[int, ...] | None:
    """The stride of each axis; None where the letters of an axis do not follow each other in steps of one length."""
    result = []
    for letters in axes:
        long = [letter for letter in letters if sizes[letter] != 1]
        if any(strides[outer] != strides[inner] * sizes[inner] for outer, inner in pairwise(long)):
            return None
        result.append(strides[long[-1]] if long else 1)
    return tuple(result)


def shown(axes: Axes) -> str:
    """Return the axes as text that `parse` parses."""
    return "".join("1" if not letters else letters if len(letters) == 1 else f"({letters})" for letters in axes)
