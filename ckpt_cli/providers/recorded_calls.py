"""Functions that are watched above the operations of torch.

Some of torch.nn.init do nothing on the meta device, or loop over single elements. They are noted by name, wherever a library holds
them: their code is exchanged while recording, not the names under which they were imported. Functions that take or give plain Python
values (`torch.tensor`, `Tensor.item`) are no operations, and are watched, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any

from .recorded_graph import Operation

if TYPE_CHECKING:
    from .recording import Record

# functions of torch.nn.init → the operation's name, and whether it is random
_NAMED = {
    "_no_grad_trunc_normal_": ("trunc_normal", True),
    "orthogonal_": ("orthogonal", True),
    "sparse_": ("sparse", True),
    "dirac_": ("dirac", False),
}


@contextmanager
def named_functions(record: Record) -> Iterator[None]:
    """Note calls of some functions of torch.nn.init by name in the block."""
    from torch.nn import init

    exchanged = []
    try:
        for function_name, (name, random) in _NAMED.items():
            function = getattr(init, function_name)
            exchanged.append((function, function.__code__, function.__kwdefaults__))
            _exchange(function, _noting(record, name, random, _copy(function)))
        yield
    finally:
        for function, code, defaults in exchanged:
            function.__code__, function.__kwdefaults__ = code, defaults


def _copy(function: FunctionType) -> FunctionType:
    return FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)


def _exchange(function: FunctionType, replacement: Callable[..., Any]) -> None:
    """Make `function` call another one. It stays the same object, under whatever names it was imported."""

    def calling(*args: Any, _replacement: Callable[..., Any], **kwargs: Any) -> Any:
        return _replacement(*args, **kwargs)

    function.__code__, function.__kwdefaults__ = calling.__code__, {"_replacement": replacement}


def _noting(record: Record, name: str, random: bool, function: FunctionType) -> Callable[..., Any]:
    """The function, which also notes that it was called."""
    signature = inspect.signature(function)

    def noting(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        tensor, *rest = bound.arguments.values()
        with record.pause():
            result = function(*args, **kwargs)
        if not record.asleep:
            numbers = tuple(number for key, number in zip(list(bound.arguments)[1:], rest, strict=True) if key != "generator")
            record.write(tensor, Operation(name, function, numbers, {}, tuple(tensor.shape), tensor.dtype, random, written="tensor"))
        return result

    return noting


def watching_functions(record: Record) -> Any:
    """A mode in which values that pass from Python to tensors on the meta device and back are followed."""
    import torch
    from torch.overrides import TorchFunctionMode

    def literal(func: Any, args: Any, kwargs: Any) -> Any:
        tensor = func(*args, **kwargs)
        if tensor.is_meta:
            first = next(iter(args), None)
            data = args[1] if isinstance(first, torch.Tensor) and func is torch.Tensor.new_tensor else kwargs.get("data", first)
            with record.pause():
                values = torch.tensor(data, dtype=tensor.dtype, device="cpu")
            record.write(tensor, Operation("literal", values.clone, (), {}, tuple(tensor.shape), tensor.dtype))
        return tensor

    def valued(func: Any, args: Any, kwargs: Any) -> Any:
        tensor = args[0]
        if not isinstance(tensor, torch.Tensor) or not tensor.is_meta:
            return func(*args, **kwargs)
        return func(record.values_of(tensor), *args[1:], **kwargs)

    kinds = torch.Tensor
    watched = dict.fromkeys((torch.tensor, kinds.new_tensor), literal)
    for name in ("item", "tolist", "numpy", "__array__", "__float__", "__int__", "__bool__", "__index__", "__complex__", "__contains__"):
        watched[getattr(kinds, name)] = valued

    class Watching(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            watch = None if record.asleep else watched.get(func)
            return watch(func, args, kwargs or {}) if watch else func(*args, **(kwargs or {}))

    return Watching()
