"""The decorator that makes a scheme of a function, and the registry of schemes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, Generic, Literal, ParamSpec, get_args, get_origin

from ..errors import UsageError, did_you_mean
from ..registry import Registry
from .distribution import Distribution
from .target import Target

P = ParamSpec("P")

# annotation → its name in messages, and the Python types it accepts
_TYPES: dict[Any, tuple[str, tuple[type, ...]]] = {
    float: ("a number", (int, float)),
    complex: ("a number", (bool, int, float, complex)),
    int: ("a whole number", (int,)),
    str: ("text", (str,)),
    bool: ("True or False", (bool,)),
}


class Scheme(Generic[P]):
    """A named function from a Target and parameters to a Distribution.

    Attributes:
        name: what a rule calls it.
        family: the framework or kind that it comes from, such as `keras` or `warm start`.
        function: the function itself.
        parameters: what may be given in brackets, by name; the Target is not among them.
    """

    def __init__(
        self, name: str, family: str, function: Callable[Concatenate[Target, P], Distribution], parameters: Iterable[inspect.Parameter]
    ) -> None:
        self.name, self.family, self.function = name, family, function
        self.parameters: Mapping[str, inspect.Parameter] = {p.name: p for p in parameters}

    def __call__(self, target: Target, *args: P.args, **kwargs: P.kwargs) -> Distribution:
        """Return what the scheme says for this target."""
        return self.function(target, *args, **kwargs)

    @property
    def doc(self) -> str:
        """The whole docstring, without its indentation."""
        return inspect.getdoc(self.function) or ""

    @property
    def formula(self) -> str:
        """The first line of the docstring."""
        return self.doc.partition("\n")[0]

    @property
    def signature(self) -> str:
        """The name and parameters as a user writes them: `normal(mean=0.0, std=1.0)`."""
        written = (p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in self.parameters.values())
        return f"{self.name}({', '.join(written)})"

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by parameter name.

        Raises:
            UsageError: they do not fit the signature: too many, unknown, given twice, missing, or of the wrong type.
        """
        args = list(args)
        if len(args) > len(self.parameters):
            raise self._refuse(f"takes at most {len(self.parameters)} arguments, not {len(args)}")
        bound = dict(zip(self.parameters, args, strict=False))
        for key, value in kwargs.items():
            self._require_known(key, bound)
            bound[key] = value
        for parameter in self.parameters.values():
            self._require_fit(parameter, bound)
        return bound

    def _require_known(self, key: str, bound: Mapping[str, Any]) -> None:
        if key in bound:
            raise self._refuse(f"was given {key} twice")
        if key not in self.parameters:
            takes = ", ".join(self.parameters) or "no arguments"
            raise UsageError(f"{self.name}() takes {takes}, not {key}", did_you_mean(key, self.parameters) or self._see)

    def _require_fit(self, parameter: inspect.Parameter, bound: Mapping[str, Any]) -> None:
        if parameter.name not in bound:
            if parameter.default is parameter.empty:
                raise self._refuse(f"needs {parameter.name}")
            return
        value, wanted = bound[parameter.name], _described(parameter.annotation)
        if wanted and not _fits(value, parameter.annotation):
            raise self._refuse(f"takes {wanted} for {parameter.name}, not {value!r}")

    @property
    def _see(self) -> str:
        return f"see `ckpt schemes {self.name}`" if self.family != "user" else f"it is {self.signature}"

    def _refuse(self, what: str) -> UsageError:
        return UsageError(f"{self.name}() {what}", self._see)


def _described(annotation: Any) -> str:
    """What a parameter with this annotation takes, in words; empty where every value is allowed."""
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    return _TYPES[annotation][0] if annotation in _TYPES else ""


def _fits(value: Any, annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    types = _TYPES[annotation][1]
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


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
