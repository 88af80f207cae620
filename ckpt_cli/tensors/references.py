"""References: `NAME` or `NAME[index]`, one tensor or a part of it. An index is one of numpy's basic ones, without new axes."""

from __future__ import annotations

import re
from types import EllipsisType

from ..errors import UsageError
from ..numbers.shapes import show_shape
from .checkpoint import Checkpoint
from .selection import LONGEST, Layers, matches, names_matching, no_layers
from .tensor import Tensor

Index = tuple["int | slice | EllipsisType", ...]


def refer(checkpoint: Checkpoint, reference: str, layers: Layers = no_layers) -> tuple[str, Tensor]:
    """Return the name and the tensor, or the part of it, that a reference means.

    Raises:
        NoMatch: it means no tensor.
        UsageError: it means several, or the index is out of range.
    """
    if reference in checkpoint:
        return reference, checkpoint[reference]
    pattern, index = split_index(checkpoint, reference, layers)
    name = only_match(checkpoint, pattern, layers)
    return name, checkpoint[name] if index is None else indexed(checkpoint[name].decoded(name), index, name)


def split_index(checkpoint: Checkpoint, reference: str, layers: Layers = no_layers) -> tuple[str, Index | None]:
    """Split `NAME[0, :5]` into NAME and its index. A reference that is a name or a pattern as it stands is returned whole, with None."""
    base, _, text = reference.rpartition("[")
    unnamed = not base and "" in checkpoint  # an array that has no name: '[0, :5]'
    if reference in checkpoint or not (base or unnamed) or not text.endswith("]") or not _is_index(text[:-1]):
        return reference, None
    if base not in checkpoint and _is_pattern(checkpoint, reference, layers):
        return reference, None
    return base, parse_index(text[:-1])


def _is_pattern(checkpoint: Checkpoint, reference: str, layers: Layers) -> bool:
    try:
        return bool(names_matching(checkpoint, reference, layers))
    except UsageError:  # [::-1] is no class
        return False


def only_match(checkpoint: Checkpoint, pattern: str, layers: Layers = no_layers) -> str:
    """Return the one name that `pattern` picks. Raises NoMatch, or UsageError where it picks several."""
    names = matches(checkpoint, pattern, layers)
    if len(names) > 1:
        listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        raise UsageError(f"{pattern!r} means {len(names):,} tensors: {listed}", "name one of them")
    return names[0]


_INDEX_PART = re.compile(r"\s*(?:\.\.\.|-?\d+|(?:-?\d+)?\s*:\s*(?:-?\d+)?\s*(?::\s*(?:-?\d+)?)?)\s*")


def _is_index(text: str) -> bool:
    return len(text) < LONGEST and all(_INDEX_PART.fullmatch(part) for part in text.rstrip().removesuffix(",").split(","))


def parse_index(text: str) -> Index:
    """Return the index that `0, 1:3, ...` (without its brackets) means: integers, slices with steps, `...`."""
    parts: list[int | slice | EllipsisType] = []
    for part in text.rstrip().removesuffix(",").split(","):
        part = part.strip()
        if part == "...":
            parts.append(...)
        elif ":" in part:
            parts.append(slice(*(int(bound) if bound.strip() else None for bound in part.split(":"))))
        else:
            parts.append(int(part))
    return tuple(parts)


def indexed(tensor: Tensor, index: Index, name: str = "the tensor") -> Tensor:
    """Return the view that `tensor[index]` is in numpy. It is of the same storage, so the part can be read and written alone.

    Raises:
        UsageError: the index does not fit the tensor's shape.
    """
    if index.count(...) > 1:
        raise UsageError("an index has at most one '...'")
    given = len(index) - index.count(...)
    if given > len(tensor.shape):
        raise UsageError(f"{name} has shape {show_shape(tensor.shape)}: an index of {given} is too deep")
    at = index.index(...) if ... in index else len(index)
    full = (*index[:at], *[slice(None)] * (len(tensor.shape) - given), *index[at + 1 :])
    shape, strides, offset = [], [], tensor.offset
    for part, n, stride in zip(full, tensor.shape, tensor.strides, strict=True):
        if isinstance(part, EllipsisType):
            continue
        if isinstance(part, slice):
            offset, n, stride = _sliced(part, n, stride, offset)
            shape.append(n)
            strides.append(stride)
        elif -n <= part < n:
            offset += (part % n) * stride
        else:
            raise UsageError(f"{name} has shape {show_shape(tensor.shape)}: index {part} is out of range")
    return Tensor.view(tensor.dtype, tuple(shape), tensor.storage, tuple(strides), offset)


def _sliced(part: slice, n: int, stride: int, offset: int) -> tuple[int, int, int]:
    """The offset, size and stride of an axis of `n` elements once it is sliced."""
    if part.step == 0:
        raise UsageError("the step of a slice cannot be 0")
    taken = range(*part.indices(n))
    return offset + (taken.start * stride if len(taken) else 0), len(taken), stride * taken.step
