"""Tensors that are put together from pieces which the files of a set hold. Only headers are read for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...errors import Malformed, Opaque, about
from ...numbers.shapes import numel_of, show_shape
from ...storage.file import File
from ...storage.storage import Storage
from ...storage.tiles import Box, Tiled, check_tiling, tiled
from ...tensors.checkpoint import Kind, Lazy
from ...tensors.tensor import Layout, Tensor


class Piece(NamedTuple):
    """A tensor of one file, and the box of the whole that it is."""

    file: File
    tensor: Tensor
    box: Box


class Whole(NamedTuple):
    """One tensor of the model.

    Attributes:
        kind: Its dtype and shape.
        frame: The shape that the boxes are counted in: its own, or one axis where the pieces are cut from a flat vector.
        pieces: What makes it up.
        copies: The same boxes, as other files hold them once more.
        agree: Whether a command that reads it compares the copies; `ckpt check` does in any case.
    """

    kind: Kind
    frame: tuple[int, ...]
    pieces: Sequence[Piece]
    copies: Sequence[Piece] = ()
    agree: bool = False

    def tied(self) -> tuple[Any, ...]:
        """Equal for names of the same elements of the same storages."""
        if not self.pieces:  # of no elements
            return (id(self),)
        return (self.kind.facts, *((piece.tensor.key, tuple(piece.box)) for piece in self.pieces))

    @property
    def single(self) -> bool:
        """Whether one file holds all of it."""
        return len(self.pieces) == 1


def whole_box(shape: tuple[int, ...]) -> Box:
    """The box that is all of `shape`."""
    return [(0, n) for n in shape]


def whole_of(name: str, shape: tuple[int, ...], held: Sequence[Piece], agree: bool = False) -> Whole:
    """Put pieces together; of those that several files hold, the first one counts and the others are copies.

    Raises:
        Malformed: They are of several dtypes, overlap, or do not make up `shape`.
    """
    first = held[0].tensor
    for piece in held:
        if (piece.tensor.dtype, piece.tensor.layout) != (first.dtype, first.layout):
            raise Malformed(
                f"{name} is {first.dtype.name} in {held[0].file.path} and {piece.tensor.dtype.name} in {piece.file.path}",
                "the parts are not of one checkpoint",
            )
    distinct: dict[tuple[tuple[int, int], ...], Piece] = {}
    copies = [piece for piece in held if distinct.setdefault(tuple(piece.box), piece) is not piece]
    pieces = list(distinct.values())
    try:
        check_tiling([piece.box for piece in pieces], shape)
    except Malformed as error:
        error.what = f"{name} of shape {show_shape(shape)}: {error.what}"
        error.mend = error.mend or "a part is missing, or of another checkpoint"
        raise
    return Whole(Kind(first.dtype, shape, first.layout), shape, pieces, copies, agree)


def same_on_all(name: str, held: Sequence[tuple[File, Tensor]]) -> Whole:
    """A tensor that each file holds whole. Raises Malformed where their shapes or dtypes differ."""
    file, first = held[0]
    for other, tensor in held:
        if tensor.shape != first.shape:
            raise Malformed(
                f"{name} is {show_shape(first.shape)} in {file.path} and {show_shape(tensor.shape)} in {other.path}",
                "the parts are not of one checkpoint",
            )
    return whole_of(name, first.shape, [Piece(file, tensor, whole_box(first.shape)) for file, tensor in held], agree=True)


class Wholes(Lazy):
    """The tensors of a set. Each is made of its pieces when it is asked for; `of` then finds it by its storage."""

    def __init__(self, wholes: Mapping[str, Whole]) -> None:
        groups: dict[Any, list[str]] = {}
        for name, whole in wholes.items():
            groups.setdefault(whole.tied(), []).append(name)
        self.groups = {name: group[0] for group in groups.values() for name in group}
        super().__init__({name: whole.kind for name, whole in wholes.items()}, [n for g in groups.values() if len(g) > 1 for n in g])
        self.wholes = wholes
        self.of: dict[Storage, Whole] = {}

    def make(self, name: str) -> Tensor:
        """The tensor of a name; what is tied has one storage. Raises Opaque where values of its kind cannot be put together."""
        if self.groups[name] != name:
            return self[self.groups[name]]
        whole = self.wholes[name]
        kind = whole.kind
        if kind.layout or kind.dtype.elements != 1:
            if not whole.single:
                raise Opaque(f"{name} is {kind.layout or kind.dtype.name} in several parts: its values cannot be put together")
            return whole.pieces[0].tensor
        storage: Storage = together(whole)
        if whole.agree and whole.copies and storage.nbytes:
            from .agreement import Agreed

            storage = Agreed(name, storage, whole.copies)
        self.of[storage] = whole
        return Tensor.whole(kind.dtype, kind.shape, storage)


def together(whole: Whole) -> Tiled:
    """The elements of a whole, C-contiguous."""
    return tiled(whole.kind.dtype.nbytes, whole.frame, [(piece.tensor.elements(), piece.box) for piece in whole.pieces])


def flat(name: str, dtype_of: Tensor, shape: tuple[int, ...], runs: Iterable[tuple[File, Tensor, int, int]]) -> Whole:
    """A tensor of `shape` whose elements are runs of flat vectors, one after another.

    Args:
        name: Its name.
        dtype_of: A vector of its dtype, for a tensor without elements.
        shape: Its shape.
        runs: File, vector, first element, and number of elements of each run.

    Raises:
        Malformed: The runs are not as many elements as the shape has.
    """
    pieces, at = [], 0
    for file, vector, start, count in runs:
        if vector.dtype != dtype_of.dtype or not is_plain(vector):
            raise Malformed(f"{name} is {dtype_of.dtype.name}, and a partition of it {vector.dtype.name}", where=file.path)
        if count:
            view = Tensor.view(vector.dtype, (count,), vector.storage, (1,), vector.offset + start)
            pieces.append(Piece(file, view, [(at, count)]))
            at += count
    if at != numel_of(shape):
        raise Malformed(f"{name} of shape {show_shape(shape)} has {numel_of(shape):,} elements, and the partitions hold {at:,} of them")
    return Whole(Kind(dtype_of.dtype, shape), (at,), pieces)


def narrowed(tensor: Tensor, box: Box) -> Tensor:
    """The part of a tensor that lies in `box`."""
    if all(start == 0 and n == size for (start, n), size in zip(box, tensor.shape, strict=True)):
        return tensor
    offset = tensor.offset + sum(start * stride for (start, _), stride in zip(box, tensor.strides, strict=True))
    return Tensor.view(tensor.dtype, tuple(n for _, n in box), tensor.storage, tensor.strides, offset, tensor.layout)


def by_name(parts: Sequence[tuple[File, Mapping[str, Tensor]]]) -> Iterator[tuple[str, list[tuple[File, Tensor]]]]:
    """Each name, in the order of the first part that has it, and the tensors of that name with their files."""
    held: dict[str, list[tuple[File, Tensor]]] = {}
    for file, tensors in parts:
        with about(file.path):
            for name in tensors:
                held.setdefault(name, []).append((file, tensors[name]))
    yield from held.items()


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor can be cut and put together."""
    return tensor.layout == Layout.PLAIN and tensor.dtype.elements == 1
