"""Tensors that tensor-parallel ranks hold a part of each: along which axis, which no file says.

A kind of sets knows it by the type of the layer. For other layers a file `ckpt-parts.toml` beside the parts says it:

    "*.mixer.in_proj.weight" = 0          # the parts follow each other along axis 0
    "*.mixer.gate.weight" = "same"        # every rank holds all of it
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from ...errors import Malformed, ReadError, about
from ...numbers.shapes import show_shape
from ...storage.file import File
from ...tensors.selection import names_matching, no_layers
from ...tensors.tensor import Tensor
from .copies import equal
from .wholes import Piece, Whole, is_plain, narrowed, same_on_all, whole_of

RULES = "ckpt-parts.toml"
_MOST = 1 << 20  # bytes of such a file
Held = Sequence[tuple[File, Tensor]]


class Cut(NamedTuple):
    """How a tensor lies on the ranks.

    Attributes:
        axis: The axis along which their parts follow each other; None where every rank holds all of it.
        blocks: How many tensors are joined in it (a gate and a value), each of which is cut by itself.
    """

    axis: int | None
    blocks: int = 1


SAME = Cut(None)


def by_layer(rules: Mapping[str, Cut], name: str) -> Cut | None:
    """The first rule whose regular expression is found in a name."""
    return next((cut for pattern, cut in rules.items() if re.search(pattern, name)), None)


def joined(name: str, held: Held, cut: Cut | None, folder: str) -> Whole:
    """The whole of what the ranks hold. Raises Malformed where it cannot be told, or the parts do not fit.

    Args:
        name: The name of the tensor.
        held: The tensor of each rank, in the order of the ranks.
        cut: How it lies on them; None where that is not known.
        folder: The folder that an error names.
    """
    if len(held) == 1 or cut == SAME:
        return same_on_all(name, held)
    if cut is None:
        if not _alike(held):
            mend = f'say it in {RULES} there: "{name}" = 0, or "same"'
            raise Malformed(f"along which axis {name} is cut is not known, and its ranks differ", mend, folder)
        return same_on_all(name, held)
    return _along(name, held, cut)


def _along(name: str, held: Held, cut: Cut) -> Whole:
    axis, blocks = cut.axis or 0, cut.blocks
    first = held[0][1]
    for file, tensor in held:
        other = [n for number, n in enumerate(tensor.shape) if number != axis]
        if axis >= len(tensor.shape) or other != [n for number, n in enumerate(first.shape) if number != axis] or not is_plain(tensor):
            raise Malformed(
                f"{name} is {show_shape(first.shape)} in {held[0][0].path} and {show_shape(tensor.shape)} in {file.path}: "
                f"that does not fit along axis {axis}",
                "the parts are not of one checkpoint",
            )
        if tensor.shape[axis] % blocks:
            raise Malformed(f"{name} is of {show_shape(tensor.shape)}, which are not {blocks} blocks along axis {axis}", where=file.path)
    sizes = [tensor.shape[axis] // blocks for _, tensor in held]
    pieces = []
    for block in range(blocks):
        starts = accumulate(sizes, initial=block * sum(sizes))
        for (file, tensor), size, start in zip(held, sizes, starts, strict=False):
            inside = [(block * size, size) if number == axis else (0, n) for number, n in enumerate(tensor.shape)]
            outside = [(start, size) if number == axis else (0, n) for number, n in enumerate(tensor.shape)]
            if size:
                pieces.append(Piece(file, narrowed(tensor, inside), outside))
    shape = tuple(blocks * sum(sizes) if number == axis else n for number, n in enumerate(first.shape))
    return whole_of(name, shape, pieces or [Piece(held[0][0], first, [(0, n) for n in first.shape])])


def _alike(held: Held) -> bool:
    """Whether all ranks hold the same bytes. They are read up to the first that differs."""
    first = held[0][1]
    if any((tensor.shape, tensor.dtype) != (first.shape, first.dtype) for _, tensor in held):
        return False
    return all(equal(first.elements(), tensor.elements()) for _, tensor in held[1:])


def rules_of(folders: Sequence[str]) -> dict[str, Cut]:
    """The rules that the user gives: by pattern, from the first of `folders` that has them. Raises ReadError."""
    import tomllib

    path = next((path for folder in folders if os.path.isfile(path := os.path.join(folder, RULES))), None)
    if path is None:
        return {}
    with about(path), open(path, "rb") as file:
        try:
            table = tomllib.loads(file.read(_MOST).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ReadError(f"this is no TOML: {error}") from None
        odd = next((key for key, value in table.items() if value != "same" and (type(value) is not int or not 0 <= value < 64)), None)
        if odd is not None:
            raise ReadError(f'{odd!r} is neither an axis nor "same"', '"PATTERN" = 0')
    return {pattern: Cut(None if value == "same" else value) for pattern, value in table.items()}


def told(rules: Mapping[str, Cut], name: str) -> Cut | None:
    """What the user's rules say of a name: the last one that matches it. Raises UsageError for a malformed pattern."""
    known = {name: None}
    return next((cut for pattern, cut in reversed(list(rules.items())) if name in names_matching(known, pattern, no_layers)), None)
