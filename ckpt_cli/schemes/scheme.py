"""The decorator that makes a scheme of a function, and the registry of schemes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, Generic, ParamSpec

from ..registry import Registry
from .distribution import Distribution
from .signature import Signature
from .target import Target

P = ParamSpec("P")


class Scheme(Signature, Generic[P]):
    """A named function from a Target and parameters to a Distribution; the Target is not among its `parameters`.

    Attributes:
        function: the function itself.
    """

    def __init__(
        self, name: str, family: str, function: Callable[Concatenate[Target, P], Distribution], parameters: Iterable[inspect.Parameter]
    ) -> None:
        super().__init__(name, family, function, parameters)
        self.function = function

    def __call__(self, target: Target, *args: P.args, **kwargs: P.kwargs) -> Distribution:
        """Return what the scheme says for this target."""
        return self.function(target, *args, **kwargs)


schemes: Registry[Scheme[Any]] = Registry("scheme", "ckpt_cli.schemes")


def scheme(family: str, name: str = "") -> Callable[[Callable[Concatenate[Target, P], Distribution]], Scheme[P]]:
    """Register a function as a scheme: `@scheme("keras")`.

    Args:
        family: the framework or kind of the scheme.
        name: what rules call it; by default the function's own name.

    Raises:
        ValueError: another scheme has that name.
    """

    def register(function: Callable[Concatenate[Target, P], Distribution]) -> Scheme[P]:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        made = Scheme(name or function.__name__, family, function, parameters)
        schemes.add(made.name, made)
        return made

    return register
