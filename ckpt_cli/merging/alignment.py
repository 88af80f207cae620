"""The same tensor in several checkpoints: by its name, or by the name of one that it is tied to, where a file keeps that one alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import NamedTuple

from ..errors import EditError, first_few
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint
from ..tensors.prefix import prefixes
from ..tensors.tensor import Tensor

_SHOWN = 10  # names in an error


class Source(NamedTuple):
    """A checkpoint that is merged, and what messages call it: its path."""

    label: str
    checkpoint: Checkpoint


def sources_of(checkpoints: Sequence[Checkpoint]) -> list[Source]:
    """Name checkpoints for messages."""
    return [Source(each.origin.path if each.origin else f"checkpoint {n}", each) for n, each in enumerate(checkpoints, 1)]


class Aligned(NamedTuple):
    """The tensors of the first checkpoint in all of them.

    Attributes:
        tensors: By their names in the first: the tensor in each checkpoint. Only those that are in all.
        missing: By checkpoint: the names of the first that it lacks.
        besides: By checkpoint: its names that the first lacks.
    """

    tensors: dict[str, tuple[Tensor, ...]]
    missing: dict[str, list[str]]
    besides: dict[str, list[str]]


def align(first: Source, others: Sequence[Source]) -> Aligned:
    """Find each tensor of the first checkpoint in the others."""
    found = [_in_other(first.checkpoint, other.checkpoint) for other in others]
    tensors = {
        name: (tensor, *(names[name] for names in found))
        for name, tensor in first.checkpoint.items()
        if all(name in names for names in found)
    }
    missing = {other.label: [name for name in first.checkpoint if name not in names] for other, names in zip(others, found, strict=True)}
    besides = {other.label: _besides(first.checkpoint, other.checkpoint) for other in others}
    return Aligned(tensors, _filled(missing), _filled(besides))


def _filled(names: dict[str, list[str]]) -> dict[str, list[str]]:
    return {label: each for label, each in names.items() if each}


def _in_other(first: Checkpoint, other: Checkpoint) -> dict[str, Tensor]:
    """The tensors of `other` by their names in `first`."""
    names = {name: name for name in first if name in other}
    for group in first.ties() if len(names) < len(first) else ():
        there = next((name for name in group if name in other), None)
        names |= {name: there for name in group if name not in names and there is not None}
    return {name: other[there] for name, there in names.items()}


def _besides(first: Checkpoint, other: Checkpoint) -> list[str]:
    """The names of `other` that are not in `first`, but for those that are tied to one that is."""
    known = {name for group in other.ties() if any(name in first for name in group) for name in group}
    return [name for name in other if name not in first and name not in known]


def refuse_names(first: Source, others: Sequence[Source], aligned: Aligned) -> None:
    """Check that all checkpoints have the same tensors.

    Raises:
        EditError: Their names differ. The error lists them, and says how to make them agree.
    """
    if not aligned.missing and not aligned.besides:
        return
    lacks = [(label, names) for label, names in aligned.missing.items()] + [(first.label, _all(aligned.besides))] * bool(aligned.besides)
    left, said = _SHOWN, []
    for label, names in lacks:
        shown = max(left, 1)
        left -= min(shown, len(names))
        said.append(f"{label} lacks {first_few(names, shown)}")
    hints = (hint for other in others if (hint := _prefix_hint(first, other)))
    mend = f"--common merges the other {len(aligned.tensors):,}, and keeps the rest as in {first.label}"
    mend = mend if aligned.tensors else "they have no name in common; an adapter is folded in by --lora"
    raise EditError(f"not all checkpoints have the same tensors: {'; '.join(said)}", next(hints, mend))


def _all(names: dict[str, list[str]]) -> list[str]:
    return list(dict.fromkeys(name for each in names.values() for name in each))


def _prefix_hint(first: Source, other: Source) -> str:
    """How to make the names of two checkpoints agree, where a prefix is all that tells them apart."""
    found = prefixes(first.checkpoint.kinds(), other.checkpoint.kinds())
    if len(found) != 1:
        return ""
    (one,) = found
    longer, rule = (first, one.rule) if one.old and not one.new else (other, one.back.rule)
    return f"{one.between(first.label, other.label)}: ckpt rename {longer.label} {quote(rule)} -o OUT"


def refuse_shapes(sources: Sequence[Source], tensors: dict[str, tuple[Tensor, ...]]) -> None:
    """Check that each tensor has the same shape in all checkpoints. Raises EditError, which lists those that differ."""
    different = [name for name, each in tensors.items() if any(tensor.shape != each[0].shape for tensor in each[1:])]
    if different:
        shown = [f"{name} ({'; '.join(_shapes(sources, tensors[name]))})" for name in different]
        raise EditError(f"shapes differ: {first_few(shown, _SHOWN)}", "`ckpt resize` changes them, `ckpt drop` leaves them out")


def _shapes(sources: Sequence[Source], tensors: Sequence[Tensor]) -> Iterator[str]:
    """The shapes of a tensor, each with the first checkpoint that has it."""
    labels: dict[str, str] = {}
    for source, tensor in zip(sources, tensors, strict=True):
        labels.setdefault(show_shape(tensor.shape), source.label)
    return (f"{shape} in {label}" for shape, label in labels.items())
