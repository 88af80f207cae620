"""Laws: what is known of independent elements, and how operations change it. One table by operation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .recorded_graph import Operation, Read, found_reads, with_reads

if TYPE_CHECKING:
    from torch import dtype


class Law(NamedTuple):
    """How elements come about, each on its own.

    Attributes:
        kind: a scheme: `normal`, `uniform`, `constant`; `empty` where nothing was written; `probit` where normal numbers are made of
            uniform ones, mean + scale · erfinv(U(low, high)).
        numbers: the scheme's arguments.
        shape: for schemes of whole matrices (`orthogonal`), the shape of the matrix.
    """

    kind: str
    numbers: tuple[float, ...] = ()
    shape: tuple[int, ...] | None = None

    @property
    def text(self) -> str:
        """The law as a scheme."""
        return _NAMED.get(self) or f"{self.kind}({', '.join(map(repr, self.numbers))})"


EMPTY = Law("empty")
_NAMED = {Law("constant", (0.0,)): "zeros", Law("constant", (1.0,)): "ones"}
Arguments = list[Any]  # of an operation: Laws in place of reads, and plain values


def law_of(operation: Operation, laws: list[Law | None]) -> Law | None:
    """Return the law of an operation's result; None where it has none that is known.

    Args:
        operation: what torch did.
        laws: the law of each of its reads, in order; None for one that has none, or whose elements are not independent.
    """
    remaining = iter(laws)
    args = with_reads(operation.args, lambda read: next(remaining))
    kwargs = {key: with_reads(value, lambda read: next(remaining)) for key, value in operation.kwargs.items()}
    rule = _RULES.get(operation.name)
    return (rule(operation, list(args), kwargs) if rule else None) or _of_constants(operation, laws)


def _of_constants(operation: Operation, laws: list[Law | None]) -> Law | None:
    """The law of an operation, element by element, on constants alone: it is done on one element."""
    if operation.name not in _BY_ELEMENT or operation.call is None or not laws:
        return None
    if not all(law and law.kind == "constant" for law in laws):
        return None
    import torch

    numbers = {id(read): law.numbers[0] for read, law in zip(_reads(operation), laws, strict=True) if law}

    def one(read: Read) -> Any:
        return torch.full((1,) if read.place.shape else (), numbers[id(read)], dtype=read.dtype)

    args = with_reads(operation.args, one)
    kwargs = {key: with_reads(value, one) for key, value in operation.kwargs.items()}
    result = operation.call(*args, **kwargs)
    if operation.written is not None:
        result = args[operation.written] if isinstance(operation.written, int) else kwargs[operation.written]
    return constant(result.reshape(-1)[0].item(), operation.dtype)


def _reads(operation: Operation) -> list[Read]:
    return list(found_reads((operation.args, tuple(operation.kwargs.values()))))


def constant(value: complex, kind: dtype) -> Law | None:
    """Return the law of a constant: the shortest number that is the same in the dtype."""
    import torch

    if isinstance(value, complex):
        return None
    if isinstance(value, (bool, int)) or not math.isfinite(value):
        return Law("constant", (float(value) if isinstance(value, bool) else value,))
    for digits in range(1, 17):
        short = float(f"{value:.{digits}g}")
        if torch.tensor(short, dtype=kind).item() == value:
            return Law("constant", (short,))
    return Law("constant", (value,))


def _rounded(law: Law | None, operation: Operation) -> Law | None:
    """A law after a cast: constants are rounded, random numbers must stay floats."""
    import torch

    if law is None or law.kind == "constant":
        return law and constant(torch.tensor(law.numbers[0], dtype=operation.dtype).item(), operation.dtype)
    return law if operation.dtype.is_floating_point or law is EMPTY else None


def _number(value: Any) -> float | None:
    """The number that every element of an argument is."""
    if isinstance(value, Law):
        return value.numbers[0] if value.kind == "constant" else None
    return value if isinstance(value, (int, float)) else None


def _scaled(law: Law, factor: float) -> Law | None:
    mean, *rest = law.numbers
    if law.kind in ("normal", "probit"):
        scale, *bounds = rest
        return Law(law.kind, (mean * factor, scale * abs(factor), *(bounds if factor > 0 else [-b for b in reversed(bounds)])))
    if law.kind == "trunc_normal":
        return Law(law.kind, (mean * factor, rest[0] * abs(factor), *sorted(bound * factor for bound in rest[1:])))
    if law.kind == "uniform":
        return Law(law.kind, tuple(sorted((mean * factor, rest[0] * factor))))
    return Law(law.kind, (mean * factor,), law.shape) if law.kind == "orthogonal" else None


def _moved(law: Law, by: float) -> Law | None:
    first, *rest = law.numbers
    if law.kind in ("normal", "probit"):
        return Law(law.kind, (first + by, *rest))
    if law.kind == "trunc_normal":
        return Law(law.kind, (first + by, rest[0], rest[1] + by, rest[2] + by))
    return Law(law.kind, (first + by, rest[0] + by)) if law.kind == "uniform" else None


def _product(operation: Operation, args: Arguments, kwargs: dict[str, Any]) -> Law | None:
    one, other = args[0], args[1]
    law, factor = (one, _number(other)) if _number(one) is None else (other, _number(one))
    return _scaled(law, factor) if isinstance(law, Law) and factor and law.kind in _RANDOM else None


def _quotient(operation: Operation, args: Arguments, kwargs: dict[str, Any]) -> Law | None:
    law, by = args[0], _number(args[1])
    if kwargs.get("rounding_mode") or not isinstance(law, Law) or law.kind not in _RANDOM or not by:
        return None
    scaled = _scaled(law, 1 / by)
    # a quotient and a product with the reciprocal differ in the last digit; where there is one positive divisor, divide
    return Law(law.kind, tuple(n / by for n in law.numbers), law.shape) if scaled and by > 0 and law.kind != "probit" else scaled


def _sum(sign: int) -> Callable[[Operation, Arguments, dict[str, Any]], Law | None]:
    def rule(operation: Operation, args: Arguments, kwargs: dict[str, Any]) -> Law | None:
        one, other = args[:2]
        alpha = sign * (_number(kwargs.get("alpha", args[2] if len(args) > 2 else 1)) or 0)
        first, second = _number(one), _number(other)
        if isinstance(one, Law) and one.kind in _RANDOM and second is not None:
            return _moved(one, alpha * second)
        if isinstance(other, Law) and other.kind in _RANDOM and first is not None:
            scaled = _scaled(other, alpha)
            return scaled and _moved(scaled, first)
        return None

    return rule


def _reverse_difference(operation: Operation, args: Arguments, kwargs: dict[str, Any]) -> Law | None:
    return _sum(-1)(operation, [args[1], args[0]], kwargs)


def _inverse_erf(operation: Operation, args: Arguments, kwargs: dict[str, Any]) -> Law | None:
    law = args[0]
    return Law("probit", (0.0, 1.0, *law.numbers)) if isinstance(law, Law) and law.kind == "uniform" else None


def _clamped(operation: Operation, args: Arguments, kwargs: dict[str, Any]) -> Law | None:
    """The last step of truncated normal numbers that are made by the inverse of their distribution, as timm does."""
    law, low, high = [*args, None, None][:3]
    low, high = kwargs.get("min", low), kwargs.get("max", high)
    if not isinstance(law, Law) or law.kind != "probit" or low is None or high is None:
        return None
    mean, scale, *uniform = law.numbers
    std = _without_root(scale)
    expected = [math.erf((bound - mean) / scale) for bound in (low, high)]
    if any(abs(have - want) > 1e-5 for have, want in zip(uniform, expected, strict=True)):
        return None
    return Law("trunc_normal", (mean, std, low, high))


def _without_root(scale: float) -> float:
    """The std whose product with √2 is `scale`: the shortest number that gives the same product."""
    std = scale / math.sqrt(2)
    return next((short for digits in range(1, 17) if (short := float(f"{std:.{digits}g}")) * math.sqrt(2) == scale), std)


def _given(kind: str, *defaults: float) -> Callable[[Operation, Arguments, dict[str, Any]], Law | None]:
    """The rule of an operation that draws in place: its arguments follow the tensor."""

    def rule(operation: Operation, args: Arguments, kwargs: dict[str, Any]) -> Law | None:
        numbers = [n for n in args[1 : len(defaults) + 1] if isinstance(n, (int, float))]
        return Law(kind, (*map(float, numbers), *defaults[len(numbers) :])) if operation.dtype.is_floating_point else None

    return rule


def _of_matrix(kind: str) -> Callable[[Operation, Arguments, dict[str, Any]], Law | None]:
    return lambda operation, args, kwargs: Law(kind, tuple(args), operation.shape)


def _filled(at: int) -> Callable[[Operation, Arguments, dict[str, Any]], Law | None]:
    def rule(operation: Operation, args: Arguments, kwargs: dict[str, Any]) -> Law | None:
        value = _number(args[at])
        import torch

        return None if value is None else constant(torch.tensor(value, dtype=operation.dtype).item(), operation.dtype)

    return rule


_RANDOM = frozenset({"normal", "uniform", "trunc_normal", "probit", "orthogonal"})
_Rule = Callable[[Operation, Arguments, dict[str, Any]], Law | None]
_ZEROS: _Rule = lambda operation, args, kwargs: Law("constant", (0.0,))  # noqa: E731
_ONES: _Rule = lambda operation, args, kwargs: Law("constant", (1.0,))  # noqa: E731
_RULES: dict[str, _Rule] = {
    "empty": lambda operation, args, kwargs: EMPTY,
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros", "zero"), _ZEROS),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), _ONES),
    **dict.fromkeys(("full", "full_like", "fill"), _filled(1)),
    "new_full": _filled(2),
    "scalar_tensor": _filled(0),
    "eye": lambda operation, args, kwargs: Law("eye", (), operation.shape),
    **dict.fromkeys(("rand", "rand_like"), lambda operation, args, kwargs: Law("uniform", (0.0, 1.0))),
    **dict.fromkeys(("randn", "randn_like"), lambda operation, args, kwargs: Law("normal", (0.0, 1.0))),
    "normal": _given("normal", 0.0, 1.0),
    "uniform": _given("uniform", 0.0, 1.0),
    "trunc_normal": lambda operation, args, kwargs: Law("trunc_normal", tuple(map(float, args))),
    "orthogonal": _of_matrix("orthogonal"),
    "dirac": _of_matrix("dirac"),
    "sparse": _of_matrix("sparse"),
    "_to_copy": lambda operation, args, kwargs: _rounded(args[0], operation),
    "copy": lambda operation, args, kwargs: _rounded(args[1], operation),
    **dict.fromkeys(("clone", "lift_fresh_copy", "contiguous"), lambda operation, args, kwargs: args[0]),
    "mul": _product,
    "div": _quotient,
    "neg": lambda operation, args, kwargs: _scaled(args[0], -1.0) if args[0] and args[0].kind in _RANDOM else None,
    "add": _sum(1),
    "sub": _sum(-1),
    "rsub": _reverse_difference,
    "erfinv": _inverse_erf,
    "clamp": _clamped,
}
_BY_ELEMENT = frozenset(
    {"add", "sub", "mul", "div", "neg", "rsub", "pow", "exp", "log", "sqrt", "rsqrt", "reciprocal", "square", "abs", "sin", "cos", "tanh",
     "sigmoid", "expm1", "log1p", "softplus", "floor", "ceil", "round", "clamp", "clamp_min", "clamp_max", "maximum", "minimum", "where",
     "remainder", "fmod", "eq", "ne", "lt", "le", "gt", "ge", "logical_not", "bitwise_not", "erfinv", "lerp", "masked_fill", "sign"}
)  # fmt: skip
