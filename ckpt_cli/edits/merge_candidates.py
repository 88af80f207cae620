"""Which tensors of a checkpoint are merged, and which stay as the first checkpoint has them: counters, text, what an optimizer keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..analysis.optimizer import kept_by_optimizers
from ..errors import EditError, Opaque, about, first_few, number_of
from ..merging.alignment import Source
from ..packing import find
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Layout, Tensor

_SHOWN = 3
_SIGNS = set("*?[{!@")  # of patterns
_SLOT = "/.OPTIMIZER_SLOT/"  # of TensorFlow, whose slots lie below their variables


class Staying(NamedTuple):
    """The names of the tensors that stay as the first checkpoint has them, by the reason."""

    optimizer: list[str]
    integers: list[str]
    others: list[str]

    @property
    def names(self) -> set[str]:
        """All of them."""
        return {*self.optimizer, *self.integers, *self.others}

    def notes(self, label: str, checkpoint: Checkpoint) -> Iterator[str]:
        """What is to be told of them, `label` being the first checkpoint."""
        told = [number_of(len(self.integers), "integer tensor")] if self.integers else []
        told += [f"{number_of(len(self.others), 'tensor')} without numbers"] if self.others else []
        if told:
            yield f"not merged, as in {label}: {', '.join(told)}"
        if self.optimizer:
            patterns = " ".join(f"'{pattern}'" for pattern in self._patterns_of_optimizer(checkpoint))
            drop = f" (they have no mean: `ckpt drop OUT {patterns}` leaves them out)" if patterns else ""
            yield f"not merged, as in {label}: {number_of(len(self.optimizer), 'tensor')} of the optimizer{drop}"

    def _patterns_of_optimizer(self, checkpoint: Checkpoint) -> list[str]:
        """Patterns for all that the optimizer keeps, and for nothing of the model; none where that takes many."""
        separator = checkpoint.separator
        below = Counter(group for name in checkpoint for group in _groups(name, separator))
        own = Counter(group for name in self.names for group in _groups(name, separator))
        patterns: dict[str, None] = {}
        for name in self.optimizer:
            alone = [group for group in _groups(name, separator) if own[group] == below[group] and not _SIGNS & set(group)]
            patterns[f"*{_SLOT}*" if _SLOT in name else f"{alone[0]}*" if alone else name] = None
        return list(patterns) if len(patterns) <= _SHOWN else []


def _groups(name: str, separator: str) -> list[str]:
    """The groups that a name lies in, from the outermost on, each with the separator behind it."""
    parts = name.split(separator)
    return [separator.join(parts[:at]) + separator for at in range(1, len(parts))]


def staying(checkpoint: Checkpoint, names: Collection[str]) -> Staying:
    """Find the tensors, among `names`, that are not merged."""
    optimizer = kept_by_optimizers(checkpoint)
    found = Staying([], [], [])
    for name in names:
        tensor = checkpoint[name]
        if name in optimizer:
            found.optimizer.append(name)
        elif tensor.layout in (Layout.OPAQUE, Layout.OBJECT) or tensor.dtype.kind == "O":
            found.others.append(name)
        elif not tensor.layout and tensor.dtype.kind in "biu":
            found.integers.append(name)
    return found


def refuse_packed(source: Source) -> None:
    """Check that a checkpoint has no packed parameters: integers mean nothing without their scales. Raises EditError, or Malformed."""
    with about(source.label):
        found = find(source.checkpoint)
        for error in (*found.broken.values(), *found.unknown):
            raise error
        if found.packed:
            shown = first_few([f"{name} ({packed.title})" for name, packed in found.packed.items()], _SHOWN)
            raise EditError(f"packed parameters are not merged: {shown}", _decode(source))


def numbers(name: str, sources: Sequence[Source], tensors: Sequence[Tensor], dtype_of: int) -> list[Tensor]:
    """Return a tensor in each checkpoint as plain floats.

    Args:
        name: Its name.
        sources: The checkpoints.
        tensors: The tensor in each.
        dtype_of: The index of the checkpoint whose dtype the result has.

    Raises:
        Opaque: It is sparse or quantised.
        EditError: It has integers in one of them, or complex values and the result has none.
    """
    plain = []
    for index, (source, tensor) in enumerate(zip(sources, tensors, strict=True)):
        with about(source.label), _with_mend(source, name, tensor):
            plain.append(tensor.plain(name) if index == dtype_of else tensor.decoded(name))
            if plain[-1].dtype.kind not in ("fc" if tensors[dtype_of].dtype.kind == "c" else "f"):
                raise EditError(f"{name} is {tensor.dtype.name}, and no float", f"cast it first: ckpt cast {source.label} float32 '{name}'")
    return plain


@contextmanager
def _with_mend(source: Source, name: str, tensor: Tensor) -> Iterator[None]:
    """Say which command decodes values, or leaves out those that nothing decodes."""
    try:
        yield
    except Opaque as error:
        known = tensor.numeric or tensor.layout == Layout.QUANTISED
        error.what = f"{name} is {tensor.layout or tensor.dtype.name}, and no plain numbers"
        error.mend = _decode(source) if known else f"leave it out: ckpt drop {source.label} '{name}' -o OUT"
        raise


def _decode(source: Source) -> str:
    return f"decode it first: ckpt cast {source.label} bfloat16 --dequantise -o OUT"
