"""Axes as letters: `io` is in×out, `HWio` a kernel's height, width, in, out; `(cm)` one axis of two, `1` one of a single element.

The same letter is the same size wherever it stands. `*` is one to three axes in space: W, HW or DHW.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from math import prod

from ..errors import EditError, UsageError
from ..numbers.shapes import show_shape
from ..tensors.tensor import Tensor

Axes = tuple[str, ...]  # the letters of each axis; none for a single element
Sizes = dict[str, int]  # of a letter, or of letters whose product alone is known: {"cm": 8}

_TOKEN = re.compile(r"\(([A-Za-z]+)\)|([A-Za-z1*])")
_SPACE = "DHW"


def parse(text: str) -> Axes:
    """`(cm)1HW` → `("cm", "", "H", "W")`. Raises UsageError."""
    axes = tuple("" if one == "1" else many or one for many, one in _TOKEN.findall(text))
    letters = "".join(axes)
    if _TOKEN.sub("", text) or len(set(letters)) < len(letters):
        raise UsageError(
            f"{text!r} says no axes", "a letter each, none twice, as in io or HWIO; (cm) for one axis of two, 1 for a single element"
        )
    return axes


def spatial(axes: Axes, count: int) -> Axes:
    """With `count` axes in space for its `*`."""
    if "*" not in axes:
        return axes
    at = axes.index("*")
    return (*axes[:at], *_SPACE[len(_SPACE) - count :], *axes[at + 1 :])


def fitted(axes: Axes, shape: tuple[int, ...]) -> Axes | None:
    """The axes of a tensor of that shape, `*` written out; None where it has too many or too few."""
    count = len(shape) - len(axes) + 1
    if "*" in axes:
        return spatial(axes, count) if 1 <= count <= len(_SPACE) else None
    return axes if len(axes) == len(shape) else None


def bound(axes: Axes, shape: tuple[int, ...], sizes: Sizes) -> Sizes | None:
    """`sizes`, and those that `shape` tells; None where it does not agree."""
    found = dict(sizes)
    for letters, size in zip(axes, shape, strict=True):
        unknown = [letter for letter in letters if letter not in found]
        known = prod(found[letter] for letter in letters if letter in found)
        if len(unknown) > 1:
            if found.setdefault(letters, size) != size:
                return None
        elif unknown and known and size % known == 0:
            found[unknown[0]] = size // known
        elif unknown or known != size:
            return None
    return found


def agreed(one: Sizes, two: Sizes) -> Sizes | None:
    """Both together; None where they contradict each other."""
    both = one | two
    if any(one[letters] != both[letters] for letters in one):
        return None
    products = ((letters, size) for letters, size in both.items() if len(letters) > 1 and all(letter in both for letter in letters))
    return both if all(prod(both[letter] for letter in letters) == size for letters, size in products) else None


def shape_of(axes: Axes, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(prod(sizes[letter] for letter in letters) for letters in axes)


def moved(tensor: Tensor, name: str, before: Axes, after: Axes, sizes: Sizes) -> Tensor:
    """The tensor with its axes as `after` has them: a view of its storage; where strides cannot say that, its elements gathered when read.

    Raises EditError where its shape is not what `before` says, or where nothing tells the size of a letter.
    """
    if before == after:
        return tensor
    known = bound(before, tensor.shape, sizes) if len(before) == len(tensor.shape) else None
    if known is None:
        raise EditError(f"{name} has shape {show_shape(tensor.shape)}, which axes {shown(before)} do not have")
    letters = "".join(after)
    unsaid = [letter for letter in "".join(before) if letter not in known]
    if unsaid:
        raise EditError(f"{name}: nothing tells the size of {unsaid[0]}", f"say it: sizes = {{{unsaid[0]} = 1}}")
    apart = _strides(tensor.plain(name), before, known)
    strides = [(known[letter], apart[letter]) for letter in letters]
    joined = _joined(after, known, apart)
    if joined is not None:
        return Tensor.view(tensor.dtype, shape_of(after, known), tensor.storage, joined, tensor.offset)
    view = Tensor.view(tensor.dtype, tuple(n for n, _ in strides), tensor.storage, tuple(step for _, step in strides), tensor.offset)
    return Tensor.whole(tensor.dtype, shape_of(after, known), view.elements())


def _strides(tensor: Tensor, axes: Axes, sizes: Sizes) -> dict[str, int]:
    """The stride of each letter, axes of several taken apart."""
    found = {}
    for letters, stride in zip(axes, tensor.strides, strict=True):
        for letter in reversed(letters):
            found[letter] = stride
            stride *= sizes[letter]
    return found


def _joined(axes: Axes, sizes: Sizes, strides: Mapping[str, int]) -> tuple[int, ...] | None:
    """The stride of each axis; None where the letters of one do not follow each other in steps of one length."""
    found = []
    for letters in axes:
        long = [letter for letter in letters if sizes[letter] != 1]
        if any(strides[one] != strides[two] * sizes[two] for one, two in pairwise(long)):
            return None
        found.append(strides[long[-1]] if long else 1)
    return tuple(found)


def shown(axes: Axes) -> str:
    return "".join("1" if not letters else letters if len(letters) == 1 else f"({letters})" for letters in axes)
