"""The operations that a formula writes otherwise than torch calls them: one function for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..schemes.formula_functions import DTYPES
from .recorded_graph import Operation, Read
from .recorded_literals import literal_text
from .recorded_values import Unexplained

if TYPE_CHECKING:
    from torch import dtype

    from .recorded_formulas import Writing

ATOM = 9  # of the precedences of texts: nothing binds closer
FRESH = {"rand": "uniform", "rand_like": "uniform", "randn": "normal", "randn_like": "normal"}
Special = Callable[["Writing", Operation, int], tuple[str, int]]


def dtype_text(kind: dtype) -> str:
    """Return the name of a dtype in formulas.

    Raises:
        Unexplained: formulas do not have it.
    """
    name = str(kind).removeprefix("torch.")
    if name not in DTYPES:
        raise Unexplained(f"it is computed in {name}, which formulas do not have")
    return name


def _made(writing: Writing, operation: Operation, value: str) -> tuple[str, int]:
    """A tensor that is filled with one value."""
    return f"full({operation.shape}, {value}, dtype={dtype_text(operation.dtype)})", ATOM


def _filled(at: int) -> Special:
    def special(writing: Writing, operation: Operation, depth: int) -> tuple[str, int]:
        value = operation.args[at]
        if isinstance(value, Read):
            return f"expand({writing.read(value, depth)[0]}, {operation.shape})", ATOM
        return _made(writing, operation, repr(value))

    return special


def _cast(at: int) -> Special:
    """A copy, of another dtype where that of the source differs, and of another shape where that does."""

    def special(writing: Writing, operation: Operation, depth: int) -> tuple[str, int]:
        source = operation.args[at]
        literal = source.state.operation
        if literal.name == "literal" and literal.call and source.place == source.state.place and literal.shape == operation.shape:
            return literal_text(literal.call().to(operation.dtype)), ATOM
        text, level = writing.read(source, depth)
        if source.dtype != operation.dtype:
            text, level = f"to({text}, {dtype_text(operation.dtype)})", ATOM
        if source.place.shape != operation.shape:
            text, level = f"expand({text}, {operation.shape})", ATOM
        return text, level

    return special


def _literal(writing: Writing, operation: Operation, depth: int) -> tuple[str, int]:
    """Values that were there before."""
    return literal_text(operation.call() if operation.call else None), ATOM


def _unknown(writing: Writing, operation: Operation, depth: int) -> tuple[str, int]:
    raise Unexplained("a part of it is never initialised" if operation.name == "empty" else "its values were not seen when they were made")


def _fresh(writing: Writing, operation: Operation, depth: int) -> tuple[str, int]:
    return writing.draw(FRESH[operation.name], (), operation), ATOM


def _between(writing: Writing, operation: Operation, depth: int) -> tuple[str, int]:
    """Whole numbers; torch takes `high, size` or `low, high, size`."""
    low, high = (0, operation.args[0]) if not isinstance(operation.args[1], int) else operation.args[:2]
    return f"randint({low}, {high}, size={operation.shape}, dtype={dtype_text(operation.dtype)})", ATOM


def _negative(writing: Writing, operation: Operation, depth: int) -> tuple[str, int]:
    text, level = writing.read(operation.args[0], depth)
    return f"-{text if level > 6 else f'({text})'}", 7


def _extreme(writing: Writing, operation: Operation, depth: int) -> tuple[str, int]:
    """The greatest or the least along an axis, or where it is."""
    name = f"{'arg' if operation.output else 'a'}{operation.name}"
    return f"{name}({writing.arguments(operation.args, operation.kwargs, depth)})", ATOM


SPECIAL: dict[str, Special] = {
    **dict.fromkeys(("max", "min"), _extreme),
    "neg": _negative,
    **dict.fromkeys(("zeros_like", "new_zeros", "zero"), lambda writing, operation, depth: _made(writing, operation, "0")),
    **dict.fromkeys(("ones_like", "new_ones"), lambda writing, operation, depth: _made(writing, operation, "1")),
    **dict.fromkeys(("full_like", "fill"), _filled(1)),
    "new_full": _filled(2),
    "scalar_tensor": _filled(0),
    "_to_copy": _cast(0),
    "copy": _cast(1),
    "literal": _literal,
    **dict.fromkeys(("empty", "unseen"), _unknown),
    **dict.fromkeys(FRESH, _fresh),
    "randint": _between,
}
