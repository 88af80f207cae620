"""Recorded operations done again: the values that a tensor has without chance, computed on the CPU within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .recorded_graph import Operation, Read, State, found_reads, with_reads

if TYPE_CHECKING:
    from torch import Tensor

MOST = 1 << 24  # elements of a value
_DEEPEST = 300  # operations on the results of operations


class Unexplained(Exception):
    """What happened to a tensor cannot be told; the text says why."""


def is_random(read: Read) -> bool:
    """Return whether what a read holds depends on chance."""
    return _depends(read, "random", lambda operation: operation.random)


def is_known(read: Read) -> bool:
    """Return whether all that a read depends on was seen."""
    return not _depends(read, "unknown", lambda operation: operation.name in ("empty", "unseen"))


def _depends(read: Read, key: str, test: Any) -> bool:
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
    storage = _storage(read.state, depth)
    if storage.dtype != read.dtype:
        storage = storage.view(read.dtype)
    result: Tensor = storage.as_strided(*read.place)
    return result


def _storage(state: State, depth: int) -> Tensor:
    """The values of a whole storage, as a tensor of one axis. They are kept with the state."""
    import torch

    if "values" in state.cache:
        kept: Tensor = state.cache["values"]
        return kept
    if state.first.place.size > MOST:
        raise Unexplained(f"a value of {state.first.place.size} elements is too large to be computed")
    values = torch.empty(state.first.place.size, dtype=state.operation.dtype)
    for each in reversed(state.chain()):
        values.as_strided(*each.place).copy_(_result(each.operation, depth))
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
