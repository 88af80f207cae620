"""Recorded operations done again: the values that a tensor has without chance, computed on the CPU within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..numbers.shapes import span
from .recorded_graph import Operation, Read, State, found_reads, with_reads

if TYPE_CHECKING:
    from torch import Tensor

MOST = 1 << 24  # elements of a value
_DEEPEST = 300  # operations on the results of operations


class Unexplained(Exception):
    """What happened to a tensor cannot be told; the text says why."""


_UNKNOWN = {
    "empty": "a part of it is never initialised",
    "unseen": "it depends on values that were not seen when they were made",
}


def is_random(read: Read) -> bool:
    """Return whether what a read holds depends on chance."""
    return _depends(read, lambda operation: operation.random)


def require_known(read: Read) -> None:
    """Refuse a read that depends on something that was not seen, or not written.

    Raises:
        Unexplained: it does.
    """
    for name, why in _UNKNOWN.items():
        if _depends(read, lambda operation, name=name: operation.name == name):  # type: ignore[misc]
            raise Unexplained(why)


def _depends(read: Read, test: Callable[[Operation], bool]) -> bool:
    """Whether an operation that passes the test is among those that a read depends on."""
    waiting = list(read.state.chain())
    seen: set[int] = set()
    while waiting:
        state = waiting.pop()
        if id(state) in seen:
            continue
        seen.add(id(state))
        if test(state.operation):
            return True
        for each in state.operation.reads():
            waiting += [] if _is_overwritten(state.operation, each) else each.state.chain()
    return False


def _is_overwritten(operation: Operation, read: Read) -> bool:
    """Whether an operation overwrites what it was given, without a look at it."""
    return operation.name in OVERWRITING and operation.args[:1] == (read,)


OVERWRITING = frozenset(
    {"copy", "fill", "zero", "normal", "uniform", "bernoulli", "exponential", "log_normal", "cauchy", "geometric", "random", "trunc_normal",
     "new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like"}
)  # fmt: skip


def computed(read: Read, depth: int = 0) -> Tensor:
    """Return the values of a read, on the CPU.

    Raises:
        Unexplained: they are random, too many, or not known.
    """
    try:
        result: Tensor = _storage(read.state, depth).view(read.dtype).as_strided(*read.place)
    except RuntimeError as error:
        raise Unexplained(f"it cannot be computed on the CPU: {str(error).splitlines()[0]}") from None
    return result


def _storage(state: State, depth: int) -> Tensor:
    """The values of a whole storage, as a tensor of one axis. They are kept with the state."""
    import torch

    if "values" in state.cache:
        kept: Tensor = state.cache["values"]
        return kept
    first, size = state.first.operation, span(*state.first.place)[1]
    if size > MOST:
        raise Unexplained(f"a value of {size} elements is too large to be computed")
    values = torch.empty(size, dtype=first.dtype)
    for each in reversed(state.chain()):
        values.view(each.operation.dtype).as_strided(*each.place).copy_(_result(each.operation, depth))
    state.cache["values"] = values
    return values


def _result(operation: Operation, depth: int) -> Tensor:
    if operation.random or operation.call is None or depth > _DEEPEST:
        raise Unexplained("it depends on chance" if operation.random else f"it depends on a value that was not seen ({operation.name})")
    import torch

    overwritten = operation.args[:1] if operation.name in OVERWRITING else ()

    def of(read: Read) -> Tensor:
        if overwritten and read is overwritten[0]:
            return torch.empty(read.place.shape, dtype=read.dtype)
        return computed(read, depth + 1).clone()

    if any(read.place.size > MOST for read in found_reads(operation.args)):
        raise Unexplained("a value on the way is too large to be computed")
    args, kwargs = with_reads(operation.args, of), {key: with_reads(value, of) for key, value in operation.kwargs.items()}
    if operation.written == "tensor":
        tensor = torch.empty(operation.shape, dtype=operation.dtype)
        operation.call(tensor, *args)
        return tensor
    result = operation.call(*args, **kwargs)
    if operation.written is not None:
        result = args[operation.written] if isinstance(operation.written, int) else kwargs[operation.written]
    outputs = result if isinstance(result, (tuple, list)) else (result,)
    output: Tensor = outputs[operation.output]
    return output
