"""What a rule calls by name with arguments in brackets: its name, its parameters, and what is documented of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, get_args, get_origin

from ..errors import UsageError, did_you_mean
from .distribution import Distribution
from .target import Target


class Filling(Protocol):
    """A scheme with its arguments, as the argument of another scheme. In a rule, it is written as a rule's right side is."""

    def distribution(self, target: Target) -> Distribution:
        """Return what the scheme says for this target."""


# annotation → its name in messages, and the Python types it accepts
_TYPES: dict[Any, tuple[str, tuple[type, ...]]] = {
    float: ("a number", (int, float)),
    complex: ("a number", (bool, int, float, complex)),
    int: ("a whole number", (int,)),
    str: ("text", (str,)),
    bool: ("True or False", (bool,)),
    Filling: ("a scheme", (str,)),
}
_SPELLED = {"true": True, "false": False}  # as TOML and JSON spell them


class Signature:
    """The name and the parameters of a function. A function is documented by its docstring: the formula, a blank line, the source.

    Attributes:
        name: what a rule calls it.
        family: the framework or kind that it comes from, such as `keras` or `warm start`.
        parameters: what may be given in brackets, by name.
    """

    def __init__(self, name: str, family: str, function: Callable[..., object], parameters: Iterable[inspect.Parameter]) -> None:
        self.name, self.family = name, family
        self.parameters: Mapping[str, inspect.Parameter] = {p.name: p for p in parameters}
        self.doc = inspect.getdoc(function) or ""  # without its indentation

    @property
    def formula(self) -> str:
        """The first line of the docstring."""
        return self.doc.partition("\n")[0]

    @property
    def signature(self) -> str:
        """The name and parameters as a user writes them: `normal(mean=0.0, std=1.0)`."""
        return f"{self.name}({', '.join(str(p.replace(annotation=p.empty)) for p in self.parameters.values())})"

    @property
    def any_keyword(self) -> inspect.Parameter | None:
        """The parameter that takes the arguments of any other name; None where there is none."""
        return next((p for p in self.parameters.values() if p.kind is p.VAR_KEYWORD), None)

    def takes_scheme(self, key: str) -> bool:
        """Return whether the argument of that name is a scheme itself."""
        parameter = self.parameters.get(key, self.any_keyword)
        return parameter is not None and parameter.annotation is Filling

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by parameter name.

        Raises:
            UsageError: they do not fit the signature: too many, unknown, given twice, missing, or of the wrong type.
        """
        args = list(args)
        most = len(self.parameters) - (self.any_keyword is not None)
        if len(args) > most:
            raise self._refuse(f"takes at most {most} {'arguments' if most != 1 else 'argument without a name'}, not {len(args)}")
        bound = dict(zip(self.parameters, args, strict=False))
        for key, value in kwargs.items():
            self._require_known(key, bound)
            takes_bool = key in self.parameters and self.parameters[key].annotation is bool
            bound[key] = _SPELLED.get(value, value) if takes_bool and isinstance(value, str) else value
        named, others = {key: p for key, p in self.parameters.items() if p is not self.any_keyword}, self.any_keyword
        for key in named | bound:
            self._require_fit(key, named.get(key) or others, bound)
        return bound

    def _require_known(self, key: str, bound: Mapping[str, Any]) -> None:
        if key in bound:
            raise self._refuse(f"was given {key} twice")
        if key not in self.parameters and not self.any_keyword:
            takes = ", ".join(self.parameters) or "no arguments"
            raise UsageError(f"{self.name}() takes {takes}, not {key}", did_you_mean(key, self.parameters) or self._see)

    def _require_fit(self, key: str, parameter: inspect.Parameter | None, bound: Mapping[str, Any]) -> None:
        if parameter is None:
            return
        if key not in bound:
            if parameter.default is parameter.empty:
                raise self._refuse(f"needs {key}")
            return
        value, wanted = bound[key], _described(parameter.annotation)
        if wanted and not _fits(value, parameter.annotation):
            raise self._refuse(f"takes {wanted} for {key}, not {value!r}")

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
