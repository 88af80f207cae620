"""From what was recorded of a tensor to a scheme: the plainest that draws the same."""

from __future__ import annotations

from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from .recorded_formulas import formula_text
from .recorded_graph import Read
from .recorded_laws import Law, constant
from .recorded_literals import raw
from .recorded_rows import rows_text, runs_of
from .recorded_values import MOST, Unexplained, computed, is_random, require_known

if TYPE_CHECKING:
    from torch import Tensor

_MOST_LISTED = 16_384  # bytes

__all__ = ["Unexplained", "scheme_text"]


def scheme_text(read: Read) -> str:
    """Return the scheme that draws what a read holds, as the right side of a rule.

    Raises:
        Unexplained: none does; the text says why.
    """
    from ..schemes.rules import parse_call

    return str(parse_call(_scheme(read)))


def _scheme(read: Read) -> str:
    if not read.place.size:
        return "zeros"
    runs = runs_of(read)
    told = rows_text(runs, read.place.shape, _law_text) if runs else None
    if told:
        return told
    require_known(read)
    if is_random(read) or read.place.size > MOST:
        return f"formula({formula_text(read)!r})"
    return _fixed(read, computed(read))


def _law_text(law: Law, shape: tuple[int, ...]) -> str:
    if law.kind == "empty":
        raise Unexplained("the library leaves it uninitialised")
    if law.kind.startswith("part of") or law.kind == "probit":
        raise Unexplained(f"it is {law.kind}")
    if law.shape is not None and _as_matrix(law.shape) != _as_matrix(shape):
        raise Unexplained(f"it is a {law.kind} matrix of another shape, {law.shape}")
    return law.text


def _as_matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the matrix as which torch.nn.init takes a tensor."""
    return (*shape[:1], prod(shape[1:]))


def _fixed(read: Read, values: Tensor) -> str:
    """The scheme of values without chance: a constant, a formula that gives the same bits, or a list."""
    if values.numel() and bool((values == values.reshape(-1)[0]).all()):
        law = constant(values.reshape(-1)[0].item(), values.dtype)
        if law and all(map(isfinite, law.numbers)):
            return law.text
    if values.isnan().any():  # recorded_alone.py
        raise Unexplained("it is computed outside of torch from values that are drawn")
    try:
        text = formula_text(read)
        if _gives(text, values):
            return f"formula({text!r})"
        raise Unexplained("its formula does not give the same values")
    except Unexplained:
        if values.numel() * values.element_size() > _MOST_LISTED:
            raise
    return _listed(values)


def _gives(text: str, values: Tensor) -> bool:
    """Whether a formula gives these values, bit for bit."""
    import torch

    from ..errors import CkptError
    from ..schemes.formula_evaluation import evaluated
    from ..schemes.formula_syntax import parsed

    try:
        value: Any = evaluated(parsed(text), tuple(values.shape), "cpu")
    except CkptError as error:
        raise Unexplained(str(error)) from None
    return torch.equal(torch.empty_like(values).copy_(value), values)


def _listed(values: Tensor) -> str:
    from ..schemes.packed_values import packed

    return f"values('{packed(raw(values))}', {str(values.dtype).removeprefix('torch.')})"
