"""The graph of what a library did while it initialised a model: operations, and what they wrote where.

A storage is followed as a chain of states. A state is one write: of the whole storage, or of a part of it over the state before. An
operation keeps the states that it read, so it can be told, or done again, long after the tensors were overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from ..numbers.shapes import contiguous_strides, span

if TYPE_CHECKING:
    from torch import Tensor, dtype

_MOST_WATCHED = 1 << 26  # elements of a storage of which it is known which writes hide which


class Place(NamedTuple):
    """The elements of a storage that a tensor shows: torch's shape, strides and offset, counted in elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def is_plain(self) -> bool:
        """Whether the elements lie one after another in C order, from the first on."""
        return not self.offset and self.is_row

    @property
    def is_row(self) -> bool:
        """Whether the elements lie one after another in C order."""
        expected = contiguous_strides(self.shape)
        return all(n == 1 or have == want for n, have, want in zip(self.shape, self.strides, expected, strict=True))

    @property
    def repeats(self) -> bool:
        """Whether several elements are one in the storage, as `expand` makes them."""
        return any(n > 1 and not step for n, step in zip(self.shape, self.strides, strict=True))


@dataclass(frozen=True, eq=False)
class Operation:
    """What torch did.

    Attributes:
        name: the operator's name without `aten::` and without a final `_`, or the function of torch.nn.init.
        call: does it again, on tensors in place of the reads; None where that makes no sense.
        args: its arguments; tensors are Reads.
        kwargs: its arguments by name, without device and generator.
        shape: the shape of the result.
        dtype: the dtype of the result.
        random: whether it draws numbers itself.
        output: which of the results this is.
        written: the index of the argument that `call` writes to; None where it returns the result.
    """

    name: str
    call: Callable[..., Any] | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shape: tuple[int, ...]
    dtype: dtype
    random: bool = False
    output: int = 0
    written: int | str | None = None

    def reads(self) -> Iterator[Read]:
        """Yield what it read."""
        yield from found_reads((self.args, tuple(self.kwargs.values())))


@dataclass(frozen=True, eq=False)
class State:
    """A storage after a write.

    Attributes:
        operation: gives the written elements.
        place: where they are.
        before: the state that the write left elsewhere; None where it wrote the whole storage.
    """

    operation: Operation
    place: Place
    before: State | None = None
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> State:
        """The write of the whole storage with which this state began."""
        state = self
        while state.before:
            state = state.before
        return state

    def chain(self) -> list[State]:
        """Return the writes of which something is left, the last one first. The write of the whole is missing where others hide it."""
        if "chain" not in self.cache:
            self.cache["chain"] = [self] if self.before is None else self._left()
        chain: list[State] = self.cache["chain"]
        return chain

    def _left(self) -> list[State]:
        import numpy

        size = span(*self.first.place)[1]
        hidden = numpy.zeros(size if size <= _MOST_WATCHED and self._is_uniform(size) else 0, bool)
        kept, state = [], self
        while state.before and not (len(hidden) and hidden.all()):
            kept.append(state)
            if len(hidden):
                numpy.lib.stride_tricks.as_strided(hidden[state.place.offset :], state.place.shape, state.place.strides)[...] = True
            state = state.before
        return kept if len(hidden) and hidden.all() else [*kept, state]

    def _is_uniform(self, size: int) -> bool:
        """Whether all writes count in elements of one dtype, within the first `size` of them."""
        state: State | None = self
        while state:
            if state.operation.dtype != self.operation.dtype or span(*state.place)[1] > size:
                return False
            state = state.before
        return True


class Read(NamedTuple):
    """A tensor as an operation saw it."""

    state: State
    place: Place
    dtype: dtype


def found_reads(value: Any) -> Iterator[Read]:
    """Yield the reads in nested arguments."""
    if isinstance(value, Read):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from found_reads(each)


def with_reads(value: Any, change: Callable[[Any], Any], kind: type = Read) -> Any:
    """Return nested arguments in which everything of `kind` is changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)([with_reads(each, change, kind) for each in value])
    return value


def place_of(tensor: Tensor) -> Place:
    """Return where a tensor lies in its storage."""
    return Place(tuple(tensor.shape), tuple(tensor.stride()), int(tensor.storage_offset()))
