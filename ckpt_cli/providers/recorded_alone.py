"""One module initialised alone, on the CPU, for code that the meta device cannot run because it needs values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .recorded_graph import Operation
from .recorded_values import MOST, Unexplained

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from .recording import Record


@contextmanager
def alone(record: Record, module: Module) -> Iterator[None]:
    """Put a module's tensors on the CPU for the block, in which it is initialised and recorded.

    with alone(record, layer):
        layer.reset_parameters()

    The tensors have the values that were recorded. Where these are random they are NaN, so nothing that is computed from them by other
    means than torch's operations is taken for a fixed value. After the block the tensors are on the meta device again, and the record
    knows what was written.

    Args:
        record: the record of the model.
        module: a part of the model; it may hold up to 2²⁴ elements.

    Raises:
        Unexplained: the module is too large.
    """
    tables = [table for each in module.modules() for table in (each._parameters, each._buffers)]
    own = {id(tensor): tensor for table in tables for tensor in table.values() if tensor is not None and tensor.is_meta}
    if sum(tensor.numel() for tensor in own.values()) > MOST:
        raise Unexplained(f"{type(module).__name__} is too large to be initialised on the CPU")
    copies = {at: _on_cpu(record, tensor) for at, tensor in own.items()}
    before = {at: record.read(copy) for at, copy in copies.items()}
    _exchange(tables, copies)
    try:
        yield
    finally:
        _exchange(tables, {id(copy): own[at] for at, copy in copies.items()})
        for at, copy in copies.items():
            if record.read(copy) != before[at]:
                _hand_over(record, copy, own[at])


def _on_cpu(record: Record, tensor: Tensor) -> Any:
    """A copy of a tensor on the CPU, which the record takes for the same."""
    import torch

    with record.computing(), torch.no_grad():
        copy = torch.empty_like(tensor, device="cpu", requires_grad=tensor.requires_grad)
        try:
            copy.copy_(record.values_of(tensor))
        except Unexplained:
            copy.fill_(torch.nan if copy.is_floating_point() else 0)
        copy = torch.nn.Parameter(copy, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else copy
    _hand_over(record, tensor, copy)
    return copy


def _hand_over(record: Record, source: Tensor, target: Tensor) -> None:
    """Note that a tensor has what another one has."""
    import torch

    operation = Operation("clone", torch.ops.aten.clone.default, (record.read(source),), {}, tuple(source.shape), source.dtype)
    record.write(target, operation)


def _exchange(tables: list[dict[str, Any]], others: dict[int, Any]) -> None:
    for table in tables:
        table.update({name: others[id(tensor)] for name, tensor in table.items() if id(tensor) in others})
