"""Which tensors of a checkpoint are merged, and which stay as the first checkpoint has them: counters, text, what an optimizer keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import NamedTuple

from ..analysis.optimizer import kept_by_optimizers
from ..errors import EditError, Opaque, about
from ..merging.alignment import Source
from ..packing import find
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Layout, Tensor

_SHOWN = 3


class Staying(NamedTuple):
    """The names of the tensors that stay as the first checkpoint has them, by why they do."""

    optimizer: list[str]
    integers: list[str]
    others: list[str]

    @property
    def names(self) -> set[str]:
        """All of them."""
        return {*self.optimizer, *self.integers, *self.others}

    def notes(self, label: str, separator: str) -> Iterator[str]:
        """What is to be told of them, `label` being the first checkpoint, in whose names `separator` stands between parts."""
        told = [
            f"{len(names):,} {one if len(names) == 1 else many}"
            for names, one, many in (
                (self.integers, "integer tensor", "integer tensors"),
                (self.others, "tensor without numbers", "tensors without numbers"),
            )
            if names
        ]
        if told:
            yield f"not merged, as in {label}: {', '.join(told)}"
        if self.optimizer:
            above = _above(self.optimizer, separator)
            drop = f" (they have no mean: `ckpt drop OUT '{above}{separator}*'` leaves them out)" if above else ""
            yield f"not merged, as in {label}: {len(self.optimizer):,} tensors of the optimizer{drop}"


def _above(names: Collection[str], separator: str) -> str:
    """What all names lie below, but for the `state` of an optimizer: its groups lie beside that."""
    parts = zip(*(name.split(separator)[:-1] for name in names), strict=False)
    same = [each[0] for each in takewhile(lambda each: len(set(each)) == 1, parts)]
    return separator.join(same[:-1] if same[-1:] == ["state"] else same)


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
            shown = ", ".join(f"{name} ({packed.title})" for name, packed in list(found.packed.items())[:_SHOWN])
            more = f" and {len(found.packed) - _SHOWN:,} more" if len(found.packed) > _SHOWN else ""
            raise EditError(f"packed parameters are not merged: {shown}{more}", _decode(source))


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
