"""Values that a library computes outside of torch, by numpy or in loops of Python: a formula of the same bits, or a list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .recorded_values import Unexplained

if TYPE_CHECKING:
    from torch import Tensor

_MOST_LISTED = 16_384  # bytes
_FEW = 16  # elements that are listed as numbers
_LONGEST_PERIOD = 16


def literal_text(values: Tensor | None) -> str:
    """Return a formula that gives these values bit for bit.

    Raises:
        Unexplained: they are not known, or too many to be listed.
    """
    from ..schemes.packed_values import packed

    if values is None:
        raise Unexplained("its values were not seen when they were made")
    if values.isnan().any():  # recorded_alone.py
        raise Unexplained("it is computed outside of torch from values that are drawn")
    kind, shape = str(values.dtype).removeprefix("torch."), tuple(values.shape)
    if values.numel() <= _FEW:
        return f"tensor({_nested(values.tolist())}, {kind})"
    for guess in _guesses(values):
        if _gives(guess, values):
            return guess
    if values.numel() * values.element_size() > _MOST_LISTED:
        raise Unexplained(f"it holds {values.numel()} values that the library lists")
    return f"values('{packed(raw(values))}', {kind}, {shape})"


def raw(values: Tensor) -> bytes:
    """Return the elements of a tensor, in C order."""
    import torch

    data: bytes = values.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return data


def _nested(values: Any) -> str:
    return f"({', '.join(map(_nested, values))},)" if isinstance(values, list) else repr(values)


def _gives(text: str, values: Tensor) -> bool:
    import torch

    from ..errors import CkptError
    from ..schemes.formula_evaluation import evaluated
    from ..schemes.formula_syntax import parsed

    try:
        value = evaluated(parsed(text), tuple(values.shape), "cpu")
    except CkptError:
        return False
    return value.dtype == values.dtype and torch.equal(value, values)


def _guesses(values: Tensor) -> Iterator[str]:
    """Yield formulas that may give these values."""
    if values.is_complex() or not values.isfinite().all():
        return
    kind, shape = str(values.dtype).removeprefix("torch."), tuple(values.shape)
    long = [n for n in shape if n > 1]
    for guess in _GUESSES[len(long)] if len(long) < 3 else ():
        for text in guess(values.reshape(long)):
            whole = f"to({text}, {kind})"
            yield whole if len(long) == len(shape) else f"reshape({whole}, {shape})"


def _periodic(values: Tensor) -> Iterator[str]:
    """A short row of numbers again and again."""
    n = len(values)
    for period in range(1, min(_LONGEST_PERIOD, n // 2) + 1):
        if (values[period:] == values[:-period]).all():
            text = f"repeat(tensor({_nested(values[:period].tolist())}), ({-(-n // period)},))"
            yield text if n % period == 0 else f"{text}[:{n}]"
            return


def _powers(values: Tensor) -> Iterator[str]:
    """A + b · (i / d)^p: equal steps, and the decays of RWKV. p is any number that gives these bits."""
    n = len(values)
    if not values.is_floating_point():
        return
    first, second, last = (float(f"{values[at].item():.7g}") for at in (0, 1, -1))
    for divisor, width in ((n - 1, last - first), (n, (second - first) * n), (n, 1.0)):
        width = float(f"{width:.7g}")
        steps = f"arange({n}, dtype=float64) / {divisor}"
        for power in _powers_of(values, first, width, divisor):
            rising = f"({steps})" if power == 1 else f"({steps}) ** {power!r}"
            yield f"{first!r} + {width!r} * {rising}" if (first, width) != (0, 1) else rising.strip("()") if power == 1 else rising


def _powers_of(values: Tensor, first: float, width: float, divisor: int) -> Iterator[float]:
    """The shortest power by which all elements are within half a step of their dtype."""
    import numpy

    given = values.numpy()[1:-1]
    reached = [(numpy.nextafter(given, side).astype("float64") + given) / 2 for side in (-numpy.inf, numpy.inf)]
    steps = numpy.log(numpy.arange(1, len(values) - 1) / divisor)
    with numpy.errstate(all="ignore"):
        ends = [numpy.log((side - first) / width) / steps for side in reached]
    low, high = numpy.minimum(*ends).max(), numpy.maximum(*ends).min()
    if not low <= high:
        return
    for digits in range(1, 17):
        power = float(f"{(low + high) / 2:.{digits}g}")
        if low <= power <= high:
            yield power
            return


def _sinusoids(values: Tensor) -> Iterator[str]:
    """A table of sin(p / 10000^(2j / d)) and cos, side by side, in turns, or one of the two."""
    n, m = values.shape
    if not values.is_floating_point():
        return
    for first in (0, 1, 2):
        position = f"arange({first}, {n + first}, dtype=float64)[:, None]"
        for function, width in (("sin", 2 * m), ("cos", 2 * m)):
            yield f"{function}({position} / {_frequencies(m, width)})"
        if m % 2 == 0:
            angles = f"{position} / {_frequencies(m // 2, m)}"
            yield f"cat((sin({angles}), cos({angles})), 1)"
            yield f"reshape(stack((sin({angles}), cos({angles})), 2), ({n}, {m}))"


def _frequencies(count: int, width: int) -> str:
    return f"10000 ** (2 * arange({count}, dtype=float64) / {width})"


_GUESSES: dict[int, tuple[Callable[[Tensor], Iterator[str]], ...]] = {0: (), 1: (_periodic, _powers), 2: (_sinusoids,)}
