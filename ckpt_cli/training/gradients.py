"""Forward and backward: the gradient of the loss with respect to each parameter, and its terms where a parameter is used several times.

A parameter's gradient is the sum over its uses. A use is a call of a torch operation that takes the parameter; each is given an alias of
its own (`view_as`), whose gradient is that use's term.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UsageError
from .network import all_tensors, usage_errors

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


class Use(NamedTuple):
    """One use of a parameter: the operation (`linear`), and the term that it adds to the gradient."""

    by: str
    term: Tensor


class Gradient(NamedTuple):
    """The gradient of a parameter or buffer.

    Attributes:
        name: its name in the module.
        shape: its shape.
        value: the gradient, of the same shape; None where no gradient flows.
        tied_to: the first name of the same parameter; empty for the first itself.
        uses: the terms of the gradient, if they were asked for.
    """

    name: str
    shape: tuple[int, ...]
    value: Tensor | None
    tied_to: str = ""
    uses: tuple[Use, ...] = ()


class Figures(NamedTuple):
    """The L2 norm and the extremes of a tensor, in float64; extremes are None where there are no elements. NaN stays NaN."""

    norm: float
    min: float | None
    max: float | None


def figures(value: Tensor) -> Figures:
    """Return the norm and the extremes of a tensor; of its absolute values where it is complex."""
    import torch

    wide = value.detach().to(torch.complex128).abs() if value.is_complex() else value.detach().double()
    norm = float(torch.linalg.vector_norm(wide))
    return Figures(norm, float(wide.min()), float(wide.max())) if wide.numel() else Figures(norm, None, None)


def gradients(
    module: Module, data: Tensor, measure: Callable[[Any], Tensor], *, backward: bool = True, by_use: bool = False
) -> tuple[float, list[Gradient]]:
    """Run the module, and return the loss and a Gradient for each parameter and buffer.

    Args:
        module: the network; the gradients are left in its parameters, too.
        data: what goes in.
        measure: makes the loss, a tensor of one element, of what the module returns.
        backward: whether there is a backward pass; without it every gradient is None.
        by_use: whether the terms of each gradient are kept.

    Raises:
        UsageError: the network does not take the data, or the loss depends on no parameter.
    """
    tensors = all_tensors(module)
    uses: dict[int, list[Use]] = {}
    with usage_errors("the network does not take this input"):
        output, recorded = run_recording_uses(module, data) if by_use and backward else (module(data), lambda: uses)
    loss = measure(output)
    if backward:
        backpropagate(loss)
        uses = recorded()
    first: dict[int, str] = {}
    result = []
    for name, value in tensors.items():
        tied_to = first.setdefault(id(value), name)
        gradient = value.grad.to_dense() if value.grad is not None and value.grad.is_sparse else value.grad
        result.append(Gradient(name, tuple(value.shape), gradient, "" if tied_to == name else tied_to, tuple(uses.get(id(value), ()))))
    return float(loss.detach()), result


def backpropagate(loss: Tensor) -> None:
    """Leave the gradient of the loss in each parameter.

    Raises:
        UsageError: the loss depends on no parameter that requires a gradient, or the backward pass fails.
    """
    if not loss.requires_grad:
        raise UsageError("the loss does not depend on any parameter that asks for a gradient")
    with usage_errors("the backward pass fails"):
        loss.backward()  # type: ignore[no-untyped-call]


def run_recording_uses(module: Module, data: Tensor) -> tuple[Any, Callable[[], dict[int, list[Use]]]]:
    """Return what the module returns, and a function that gives, after the backward pass, the uses of each parameter by its id."""
    from torch import Tensor
    from torch.overrides import TorchFunctionMode, resolve_name
    from torch.utils._pytree import tree_map

    parameters = {id(parameter) for parameter in module.parameters()}
    seen: list[tuple[int, str, Tensor]] = []  # the parameter's id, the operation, the alias

    class Aliases(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            def alias(value: Any) -> Any:
                if not isinstance(value, Tensor) or id(value) not in parameters:
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
        by_parameter: dict[int, list[Use]] = {}
        for key, name, alias in seen:
            if alias.grad is not None:
                by_parameter.setdefault(key, []).append(Use(name, alias.grad))
        return by_parameter

    return output, uses


def operation(path: str | None) -> str:
    """Return the last part of an operation's path: `torch.nn.functional.linear` → `linear`, `torch.Tensor.T.__get__` → `T`."""
    return (path or "").removesuffix(".__get__").rpartition(".")[2]
