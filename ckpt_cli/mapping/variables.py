"""The variables of a layer, made of those that it has in another framework: whole, in parts, as sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import EditError
from ..numbers.dtypes import named
from ..numbers.shapes import show_shape
from ..storage.tiles import tiled
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .axes import Axes, Sizes, rearranged, shape_of, shown, spatial, spatial_count, without
from .kinds import Candidate, Cell, Variable
from .matching import Pair
from .sums import filled, sum_of


class Made(NamedTuple):
    """A variable there: its key, the tensor, and lines for the user about sums."""

    key: str
    tensor: Tensor
    notes: list[str]


class Place(NamedTuple):
    """Where a cell lies here: the variable, its tensor's name, the index along the axes of cells."""

    variable: Variable
    name: str
    at: dict[str, int]


def made_there(checkpoint: Checkpoint, pair: Pair) -> Iterator[Made]:
    """Return the variables there, each made of what is here.

    Raises:
        EditError: nothing tells the size of an axis, or two biases cannot be added.
    """
    maker = _Maker(checkpoint, pair)
    for key, name in pair.there.tensors.items():
        maker.notes = []
        tensor = maker.variable(pair.there.kind.variables[key], name)
        if tensor is not None:
            yield Made(key, tensor, list(dict.fromkeys(maker.notes)))


class _Maker:
    """The cells that a layer has here, and the sizes of both sides."""

    def __init__(self, checkpoint: Checkpoint, pair: Pair) -> None:
        self.checkpoint, self.pair = checkpoint, pair
        self.cells: dict[Cell, Place] = {}
        self.notes: list[str] = []
        for key, name in pair.here.tensors.items():
            variable = pair.here.kind.variables[key]
            for cell, at in zip(variable.cells, variable.places(), strict=True):
                self.cells[tuple(sorted(cell))] = Place(variable, name, at)

    def variable(self, there: Variable, name: str) -> Tensor | None:
        """Return a variable there; None where nothing here becomes it."""
        places = [self.cells.get(tuple(sorted(cell))) for cell in there.cells]
        first, axes = places[0], _axes(there, self.pair.sizes)
        if first is not None and (first.variable.cells, first.variable.counts) == (there.cells, there.counts):
            return self._taken(first._replace(at={}), axes, there.counts)
        pieces = [self._cell(cell, there, without(axes, list(there.counts)), name) for cell in there.cells]
        found = [piece for piece in pieces if piece is not None]
        return self._joined(found, there, axes) if len(found) == len(pieces) else None

    def _joined(self, pieces: Sequence[Tensor], there: Variable, axes: Axes) -> Tensor:
        """Cells one after another, each contiguous along the axes of cells."""
        if not there.counts:
            return pieces[0]
        sizes = self.pair.sizes | there.counts
        letters = "".join(axes)
        boxes = [
            (piece.elements(), [(at[letter], 1) if letter in at else (0, sizes[letter]) for letter in letters])
            for piece, at in zip(pieces, there.places(), strict=True)
        ]
        dtype = pieces[0].dtype
        storage = tiled(dtype.nbytes, tuple(sizes[letter] for letter in letters), boxes)
        return Tensor.whole(dtype, shape_of(axes, sizes), storage)

    def _cell(self, cell: Cell, there: Variable, axes: Axes, name: str) -> Tensor | None:
        """A cell there: itself, the sum of its terms, the first term of a sum here, or filled."""
        place = self.cells.get(tuple(sorted(cell)))
        if place is not None:
            return self._taken(place, axes, place.variable.counts)
        parts = [self.cells.get((term,)) for term in cell]
        terms = [part for part in parts if part is not None]
        if len(cell) > 1 and len(terms) == len(cell):
            self.notes.append(f"{name} is the sum of {' and '.join(dict.fromkeys(part.name for part in terms))}")
            return sum_of([(part.name, self._taken(part, axes, part.variable.counts)) for part in terms])
        whole = next((known for known in self.cells if len(known) > 1 and set(cell) <= set(known)), None)
        if whole is not None:
            return self._part_of_sum(whole, cell, axes, name)
        if there.fill is None:
            return None
        dtype = named(there.dtype) if there.dtype else self.checkpoint[next(iter(self.pair.here.tensors.values()))].dtype
        return filled(dtype, shape_of(axes, self.pair.sizes), there.fill)

    def _part_of_sum(self, whole: Cell, cell: Cell, axes: Axes, name: str) -> Tensor:
        """The first term of a sum is all of it, the others are 0."""
        place = self.cells[whole]
        tensor = self._taken(place, axes, place.variable.counts)
        if cell[0] == whole[0]:
            others = [there for key, there in self.pair.there.tensors.items() if set(whole[1:]) & self.pair.there.kind.variables[key].terms]
            zero = f"{', '.join(others)} is 0" + " there" * (name in others)
            self.notes.append(f"{place.name} becomes {name}, and {zero}: there, their sum is what counts")
            return tensor
        return filled(tensor.dtype, tensor.shape, 0)

    def _taken(self, place: Place, after: Axes, counts: Sizes) -> Tensor:
        """A variable here, or one cell of it, with other axes."""
        sizes, tensor = self.pair.sizes | counts, self.checkpoint[place.name]
        before = _axes(place.variable, self.pair.sizes)
        unknown = [letter for letter in "".join(before) if letter not in sizes]
        if unknown:
            what = f"{place.name} of {show_shape(tensor.shape)}: nothing tells the size of {unknown[0]} in {shown(before)}"
            raise EditError(what, "name a checkpoint that it is to be like")
        fixed = self.checkpoint.fixed.get(self.checkpoint.sources.get(place.name, place.name))
        if fixed is not None:
            self.notes.append(f"{place.name} counts as {fixed:g}, as the graph beside it says")
            tensor = filled(tensor.dtype, tensor.shape, fixed)
        return rearranged(tensor, place.name, before, after, sizes, place.at)


def _axes(variable: Variable, sizes: Sizes) -> Axes:
    return spatial(variable.axes, spatial_count(sizes))


def has_place(key: str, here: Candidate, there: Candidate) -> bool:
    """Return whether a layer there has a variable for this one here."""
    return bool(here.kind.variables[key].terms & there.terms)
