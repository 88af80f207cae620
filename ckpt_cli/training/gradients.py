"""Forward and backward: the gradient of the loss with respect to each parameter, and, where one is used several times, the terms of it.

A parameter's gradient is the sum over its uses. A use is a call of an operation of torch's that takes the parameter; each is given an alias
of its own (`view_as`), whose gradient is that use's term.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UsageError
from .network import all_tensors, running

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


class Use(NamedTuple):
    """One use of a parameter: the operation (`linear`), and the term that it adds to the gradient."""

    by: str
    term: Tensor


class Gradient(NamedTuple):
    """What a backward leaves in a parameter or a buffer: None where nothing flows. `tied_to`: the first name of it, or nothing."""

    name: str
    shape: tuple[int, ...]
    value: Tensor | None
    tied_to: str = ""
    uses: tuple[Use, ...] = ()


class Figures(NamedTuple):
    """Of a gradient, in float64: its L2 norm, its extremes (None where there are no elements). NaN stays NaN."""

    norm: float
    min: float | None
    max: float | None


def figures(value: Tensor) -> Figures:
    import torch

    wide = value.detach().to(torch.complex128).abs() if value.is_complex() else value.detach().double()
    norm = float(torch.linalg.vector_norm(wide))
    return Figures(norm, float(wide.min()), float(wide.max())) if wide.numel() else Figures(norm, None, None)


def gradients(
    module: Module, data: Tensor, measure: Callable[[Any], Tensor], *, backward: bool = True, by_use: bool = False
) -> tuple[float, list[Gradient]]:
    """The loss, and a Gradient for each parameter and buffer. `measure` makes the loss of what the module gives."""
    known = all_tensors(module)
    uses: dict[int, list[Use]] = {}
    with running("the network does not take this input"):
        output, note = watched(module, data) if by_use and backward else (module(data), lambda: uses)
    loss = measure(output)
    if backward:
        backpropagate(loss)
        uses = note()
    first: dict[int, str] = {}
    found = []
    for name, value in known.items():
        tied_to = first.setdefault(id(value), name)
        gradient = value.grad.to_dense() if value.grad is not None and value.grad.is_sparse else value.grad
        found.append(Gradient(name, tuple(value.shape), gradient, "" if tied_to == name else tied_to, tuple(uses.get(id(value), ()))))
    return float(loss.detach()), found


def backpropagate(loss: Tensor) -> None:
    if not loss.requires_grad:
        raise UsageError("the loss does not depend on any parameter that asks for a gradient")
    with running("the backward pass fails"):
        loss.backward()  # type: ignore[no-untyped-call]


def watched(module: Module, data: Tensor) -> tuple[Any, Callable[[], dict[int, list[Use]]]]:
    """What the module gives, and a function that tells, after the backward, the uses of each parameter by its id."""
    from torch import Tensor
    from torch.overrides import TorchFunctionMode, resolve_name
    from torch.utils._pytree import tree_map

    wanted = {id(parameter) for parameter in module.parameters()}
    seen: list[tuple[int, str, Tensor]] = []

    class Aliases(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            def alias(value: Any) -> Any:
                if not isinstance(value, Tensor) or id(value) not in wanted:
                    return value
                other = value.view_as(value)
                if other.requires_grad:
                    other.retain_grad()
                    seen.append((id(value), operation(resolve_name(function)), other))
                return other

            args, kwargs = tree_map(alias, (args, kwargs or {}))
            return function(*args, **kwargs)

    with Aliases():
        output = module(data)

    def uses() -> dict[int, list[Use]]:
        found: dict[int, list[Use]] = {}
        for key, name, alias in seen:
            if alias.grad is not None:
                found.setdefault(key, []).append(Use(name, alias.grad))
        return found

    return output, uses


def operation(path: str | None) -> str:
    """`torch.nn.functional.linear` → `linear`, `torch.Tensor.T.__get__` → `T`."""
    return (path or "").removesuffix(".__get__").rpartition(".")[2]
