"""Sampling: from a Distribution to the bytes of a tensor's elements, chunk by chunk.

The bytes equal torch.nn.init.SCHEME_(torch.empty(shape, dtype=dtype), generator=generator) bit for bit. Chunks do not change that:
uniform_ draws its elements one after another, and normal_ draws them by 16, so chunks are multiples of 16 and the last has at least 16.
dtypes that torch cannot draw (float8; half types in a QR decomposition) are drawn in float32 and cast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import astuple
from math import isfinite, isnan, prod
from typing import TYPE_CHECKING, Any

from ..errors import EditError, UsageError
from ..numbers.dtypes import named
from ..numbers.floats import FLOATS
from ..numbers.values import element, item
from .distribution import Computed, Constant, Distribution, InPlace, Normal, Rows, Uniform

if TYPE_CHECKING:
    from torch import Generator, Tensor

CHUNK = 1 << 18  # elements
_MOST_IN_A_WORKER = 64 << 20  # bytes
_NATIVE = {"float32", "float64"}
_HALVES = {"float16", "bfloat16"}
_COMPLEX = {"complex64", "complex128"}
_FLOAT8 = {name for name, facts in FLOATS.items() if facts.cast_to}
_FLOATS = _NATIVE | _HALVES | _FLOAT8


def blocks(distribution: Distribution, dtype: str, shape: tuple[int, ...], generator: Generator | None = None) -> Iterator[bytes]:
    """Return the elements in blocks, C-contiguous and little-endian.

    Args:
        distribution: how the elements come about.
        dtype: the dtype's name in numpy or ml_dtypes.
        shape: the size of each axis.
        generator: the source of random numbers; Constant and Computed need none.

    Raises:
        EditError: the distribution cannot be drawn in this dtype.
    """
    require_drawable(distribution, dtype)
    return _SAMPLERS[type(distribution)](distribution, dtype, shape, generator)


def require_drawable(distribution: Distribution, dtype: str) -> None:
    """Refuse a distribution whose parameters make no sense, or that cannot be drawn in `dtype`.

    Raises:
        UsageError: a parameter is infinite or NaN.
        EditError: it is one of the others.
    """
    if isinstance(distribution, Constant):
        constant_bytes(distribution.value, dtype)
    elif isinstance(distribution, Uniform | Normal):
        _require_dtype(distribution, dtype, _FLOATS | _COMPLEX)
        if not all(map(isfinite, astuple(distribution))):
            raise UsageError(f"{distribution} cannot be drawn", "a mean, a std and a bound are finite numbers")
        if not (distribution.low <= distribution.high if isinstance(distribution, Uniform) else distribution.std >= 0):
            raise EditError(f"{distribution} makes no sense", "the lower bound comes first, and a std is not negative")
    elif isinstance(distribution, InPlace) and distribution.random:
        _require_dtype(distribution, dtype, _FLOATS)
    elif isinstance(distribution, Rows):
        for part in (distribution.base, *distribution.rows.values()):
            require_drawable(part, dtype)


def _require_dtype(distribution: Distribution, dtype: str, possible: set[str]) -> None:
    if dtype not in possible:
        raise EditError(f"{distribution} cannot be drawn in {dtype}", "use zeros, ones or constant, or `ckpt cast` it to a float first")


def constant_bytes(value: complex, dtype: str) -> bytes:
    """Return one element of this value, rounded as torch rounds: to floats below 32 bits through float32.

    Raises:
        EditError: `dtype` cannot hold the value.
    """
    kind = named(dtype)
    if kind.kind in "fc" and isinstance(value, int) and value.bit_length() > 1024:
        raise EditError(f"{dtype} cannot hold an integer of {value.bit_length()} bits", "choose another value")
    if kind.kind == "f" and kind.nbytes < 4 and not isinstance(value, complex):
        raw = element(kind, item(named("float32"), element(named("float32"), value)))
    else:
        raw = element(kind, value)
    if kind.kind in "fc" and not all(map(_differs_by_rounding, _parts(value), _parts(item(kind, raw)))):
        raise EditError(f"{dtype} cannot hold {value}", "choose another value, or `ckpt cast` the tensor first")
    return raw


def _parts(value: complex) -> tuple[float, float]:
    """The real and the imaginary part."""
    return complex(value).real, complex(value).imag


def _differs_by_rounding(given: float, stored: float) -> bool:
    """Whether nothing but rounding lies between the two: neither became NaN, infinite or zero."""
    return isnan(given) == isnan(stored) and isfinite(given) == isfinite(stored) and (stored == 0 or given != 0)


def _constant(distribution: Constant, dtype: str, shape: tuple[int, ...], generator: Generator | None) -> Iterator[bytes]:
    one, left = constant_bytes(distribution.value, dtype), prod(shape)
    while left:
        count = min(CHUNK, left)
        yield one * count
        left -= count


def _computed(distribution: Computed, dtype: str, shape: tuple[int, ...], generator: Generator | None) -> Iterator[bytes]:
    if prod(shape):
        yield distribution.elements()


def _independent(distribution: Uniform | Normal, dtype: str, shape: tuple[int, ...], generator: Generator | None) -> Iterator[bytes]:
    import torch

    wanted = getattr(torch, dtype)
    drawn = torch.float32 if dtype in _FLOAT8 else wanted
    for count in chunks(prod(shape)):
        chunk = torch.empty(count, dtype=drawn)
        with torch_errors(distribution, dtype):
            if isinstance(distribution, Uniform):
                chunk.uniform_(distribution.low, distribution.high, generator=generator)
            else:
                chunk.normal_(distribution.mean, distribution.std, generator=generator)
        yield _bytes(chunk.to(wanted))


@contextmanager
def torch_errors(distribution: Distribution, dtype: str) -> Iterator[None]:
    """Turn what torch refuses (bounds beyond the dtype, say) into an EditError of one line."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise EditError(f"{distribution} cannot be drawn in {dtype}: {reason}", "check its arguments") from error


def chunks(count: int) -> Iterator[int]:
    """Yield the sizes in which `count` elements are drawn: CHUNK each; the last has 16 or more, unless `count` is less than that."""
    while count >= CHUNK + 16:
        yield CHUNK
        count -= CHUNK
    if count:
        yield count


def _in_place(distribution: InPlace, dtype: str, shape: tuple[int, ...], generator: Generator | None) -> Iterator[bytes]:
    import torch

    if not prod(shape):
        return
    wanted = getattr(torch, dtype)
    through_float32 = dtype in _FLOAT8 or (dtype in _HALVES and not distribution.halves)
    tensor = torch.empty(shape, dtype=torch.float32 if through_float32 else wanted)
    with torch_errors(distribution, dtype), torch.no_grad(), _one_thread() if distribution.elementwise else nullcontext():
        distribution.function(tensor, generator or torch.Generator())
    flat = tensor.to(wanted).reshape(-1)
    for start in range(0, len(flat), CHUNK):
        yield _bytes(flat[start : start + CHUNK])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in this thread alone: in a forked worker it would wait for ever for the parent's threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def portable(distribution: Distribution, dtype: str, nbytes: int) -> bool:
    """Return whether a forked worker may draw it: it needs no threads, nothing but its generator, and little memory."""
    if isinstance(distribution, Uniform | Normal):
        return dtype not in _FLOAT8
    if isinstance(distribution, Rows):
        return all(isinstance(part, Constant) or portable(part, dtype, nbytes) for part in (distribution.base, *distribution.rows.values()))
    return isinstance(distribution, InPlace) and distribution.elementwise and dtype not in _FLOAT8 and nbytes <= _MOST_IN_A_WORKER


def _rows(distribution: Rows, dtype: str, shape: tuple[int, ...], generator: Generator | None) -> Iterator[bytes]:
    from .drawing_rows import drawn_rows

    return drawn_rows(distribution, dtype, shape, generator, blocks)


def _bytes(flat: Tensor) -> bytes:
    """The elements of a tensor of one axis, little-endian."""
    import torch

    raw: bytes = flat.contiguous().view(torch.uint8).numpy().tobytes()
    return raw


_SAMPLERS: dict[type, Callable[[Any, str, tuple[int, ...], Generator | None], Iterator[bytes]]] = {
    Constant: _constant, Computed: _computed, Uniform: _independent, Normal: _independent, InPlace: _in_place, Rows: _rows,
}  # fmt: skip
