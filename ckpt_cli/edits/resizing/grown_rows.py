"""Fills of `resize` that go by the old rows of a table: `mean_rows` and `resized_embeddings`, without the `start` that they have elsewhere.

The old rows are read in blocks, whatever the size of the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import EditError, UsageError
from ...numbers.dtypes import to_numpy
from ...numbers.shapes import show_shape
from ...schemes.distribution import InPlace
from ...schemes.from_values import normal_rows
from ...schemes.plan import Planned
from ...schemes.rules import Call, parse_call
from ...schemes.sampling import blocks
from ...schemes.seeds import generator, subseed
from ...storage.rows import Rows
from ...storage.sequential import Drawn
from ...storage.storage import Storage
from ...tensors.tensor import Tensor

if TYPE_CHECKING:
    import numpy
    from torch import Generator
    from torch import Tensor as TorchTensor

_BLOCK = 1 << 20  # bytes of old rows that are read at once
_BY_ROWS = ("mean_rows", "resized_embeddings")


class GrownRows(NamedTuple):
    """A fill that goes by the old rows."""

    call: Call

    def __str__(self) -> str:
        given = {key: value for key, value in self.call.arguments.items() if key != "start"}
        return str(self.call._replace(arguments=given))

    def check(self, name: str, old: Tensor, new: tuple[int, ...]) -> None:
        """Check that a tensor has old rows, and that new rows alone are added.

        Raises:
            EditError: The tensor is no table of floats, or its new shape is another one.
        """
        scheme, grows = self.call.scheme.name, f"{name} goes from {show_shape(old.shape)} to {show_shape(new)}"
        if len(new) > 2:
            raise EditError(f"{scheme} is for tables of rows and for biases, and {grows}", "--fill another scheme, such as zeros")
        if old.dtype.kind != "f":
            raise EditError(f"{scheme} cannot average {old.dtype.name}, which {name} is", "--fill another scheme, such as zeros")
        if new[0] <= old.shape[0] or new[1:] > old.shape[1:] or not old.shape[0]:
            raise EditError(f"{scheme} fills new rows from old ones, and {grows}", "--fill another scheme, or leave it out")

    def filled(self, name: str, old: Tensor, rank: int, count: int, seed: int) -> tuple[Storage, Planned]:
        """Return the new rows of a table, or the new elements of a bias, and how they are filled.

        Args:
            name: The name of the tensor.
            old: The old rows in the columns that stay, rows × columns, of a float dtype; of a bias, rows of one element.
            rank: How many axes the tensor has: 1 for a bias.
            count: How many new rows there are.
            seed: The seed of the command.

        Returns:
            The elements of count × columns in the dtype of the old ones (`schemes.from_values` has the formulas), and the line of the plan.
        """
        of = f"of the {old.shape[0]:,} old ones"
        new = f"{count:,} rows" if rank > 1 else f"{count:,} elements"
        if self.call.scheme.name == "mean_rows":
            return _mean_rows(old, count), Planned(name, "", f"{new} at the mean {of}", None, str(self))
        own, draw = subseed(seed, name), f"{new}, normal with mean and {'covariance' if rank > 1 else 'variance'} {of}"
        scale = self.call.arguments.get("scale", self.call.scheme.parameters["scale"].default)
        return _normal_rows(old, count, own, scale, draw), Planned(name, "", draw, own, str(self))


def parse_by_rows(text: str) -> GrownRows | None:
    """Return the fill that a text names, if it is one that goes by the old rows.

    Raises:
        UsageError: It is, and its arguments do not fit.
    """
    name, _, arguments = text.strip().partition("(")
    if name.strip() not in _BY_ROWS:
        return None
    try:
        parse_call(text)
    except UsageError as error:
        if "needs start" not in error.what:
            raise
        inner = arguments.strip().removesuffix(")").strip()
        return GrownRows(parse_call(f"{name.strip()}(start=1{', ' if inner else ''}{inner})"))
    raise UsageError(f"{text[:60]} says where the old rows end", "leave start out: resize knows it")


def _blocks_of_rows(old: Tensor) -> Iterator[numpy.ndarray[Any, Any]]:
    """The old rows as float64, some at a time, each behind a row that is free for a sum."""
    import numpy

    rows, width = old.shape
    storage, row = old.elements(), width * old.dtype.nbytes
    at_once = max(1, _BLOCK // max(row, 1))
    buffer = numpy.zeros((at_once + 1, width))
    for first in range(0, rows, at_once):
        count = min(at_once, rows - first)
        values = numpy.frombuffer(storage.read(first * row, (first + count) * row), to_numpy(old.dtype))
        buffer[1 : count + 1] = values.reshape(count, width)
        yield buffer[: count + 1]


def _mean(old: Tensor) -> numpy.ndarray[Any, Any]:
    """The mean of the rows in float64: their sum, row by row, as numpy adds along the first axis, by their number."""
    import numpy

    total = numpy.zeros(old.shape[1])
    for block in _blocks_of_rows(old):
        block[0] = total
        total = block.sum(axis=0)
    mean: numpy.ndarray[Any, Any] = total / old.shape[0]
    return mean


def _mean_rows(old: Tensor, count: int) -> Storage:
    """Rows that are all the mean of the old ones, which are read once, with the first new row."""
    row = old.shape[1] * old.dtype.nbytes

    @cache
    def mean() -> bytes:
        return bytes(_mean(old).astype(to_numpy(old.dtype)).tobytes())

    return Rows([old.storage], count, row, max(1, _BLOCK // max(row, 1)), lambda first, last: memoryview(mean() * (last - first)))


def _normal_rows(old: Tensor, count: int, seed: int, scale: float, text: str) -> Storage:
    """Rows from a normal distribution with the mean and the covariance of the old ones, which are read twice."""
    width = old.shape[1]

    def fill(tensor: TorchTensor, source: Generator) -> None:
        import torch

        mean = torch.from_numpy(_mean(old))
        covariance = torch.zeros(width, width, dtype=torch.float64)
        for block in _blocks_of_rows(old):
            centred = torch.from_numpy(block[1:]) - mean
            covariance.addmm_(centred.T, centred)
        tensor.copy_(normal_rows(mean, covariance / old.shape[0] * scale, count, source))

    draw = InPlace(text, fill)
    return Drawn(count * width * old.dtype.nbytes, lambda: blocks(draw, old.dtype.name, (count, width), generator(seed)))
