"""Drawing: from a Draw to the bytes of its elements, chunk by chunk.

What comes out equals torch.nn.init.SCHEME_(torch.empty(shape, dtype=dtype), generator=generator) bit for bit. Chunks do not change that:
uniform_ takes its elements one after another, and normal_ takes them by 16, so its chunks are multiples of 16 and the last has at least 16.
Types that torch cannot draw (float8; half types in a QR decomposition) are drawn in float32 and cast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from math import isfinite, isnan, prod
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from ..numbers.dtypes import named
from ..numbers.values import element, item
from .distribution import Draw, Fill, Normal, Uniform, Values, Whole

if TYPE_CHECKING:
    from torch import Generator, Tensor

CHUNK = 1 << 18
_LARGE = 64 << 20
_NATIVE = {"float32", "float64"}
_HALVES = {"float16", "bfloat16"}
_COMPLEX = {"complex64", "complex128"}
_FLOAT8 = {"float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"}
_FLOATS = _NATIVE | _HALVES | _FLOAT8


def blocks(draw: Draw, dtype: str, shape: tuple[int, ...], generator: Generator | None = None) -> Iterator[bytes]:
    """The elements, C-contiguous and little-endian. Fill and Values need no generator. Raises EditError where dtype does not suit."""
    check(draw, dtype)
    return _WAYS[type(draw)](draw, dtype, shape, generator)


def check(draw: Draw, dtype: str) -> None:
    """Raises EditError where elements of `dtype` cannot be drawn so."""
    if isinstance(draw, Fill):
        constant(draw.value, dtype)
    elif isinstance(draw, Uniform | Normal):
        _floats(draw, dtype, _FLOATS | _COMPLEX)
        if not (draw.low <= draw.high if isinstance(draw, Uniform) else draw.std >= 0):
            raise EditError(f"{draw} makes no sense", "the lower bound comes first, and a std is not negative")
    elif isinstance(draw, Whole) and draw.random:
        _floats(draw, dtype, _FLOATS)


def _floats(draw: Draw, dtype: str, possible: set[str]) -> None:
    if dtype not in possible:
        raise EditError(f"{draw} cannot be drawn in {dtype}", "use zeros, ones or constant, or `ckpt cast` it to a float first")


def constant(value: complex, dtype: str) -> bytes:
    """One element, rounded as torch does: to the smaller floats through float32. Raises EditError where `dtype` cannot hold `value`."""
    kind = named(dtype)
    if kind.kind in "fc" and isinstance(value, int) and value.bit_length() > 1024:
        raise EditError(f"{dtype} cannot hold an integer of {value.bit_length()} bits", "choose another value")
    if kind.kind == "f" and kind.nbytes < 4 and not isinstance(value, complex):
        raw = element(kind, item(named("float32"), element(named("float32"), value)))
    else:
        raw = element(kind, value)
    if kind.kind in "fc" and not all(map(_held, _parts(value), _parts(item(kind, raw)))):
        raise EditError(f"{dtype} cannot hold {value}", "choose another value, or `ckpt cast` the tensor first")
    return raw


def _parts(value: complex) -> tuple[float, float]:
    return complex(value).real, complex(value).imag


def _held(given: float, held: float) -> bool:
    """True where nothing but rounding lies between the two."""
    return isnan(given) == isnan(held) and isfinite(given) == isfinite(held) and (held == 0 or given != 0)


def _fill(draw: Fill, dtype: str, shape: tuple[int, ...], generator: Generator | None) -> Iterator[bytes]:
    one, left = constant(draw.value, dtype), prod(shape)
    while left:
        count = min(CHUNK, left)
        yield one * count
        left -= count


def _values(draw: Values, dtype: str, shape: tuple[int, ...], generator: Generator | None) -> Iterator[bytes]:
    if prod(shape):
        yield draw.elements()


def _independent(draw: Uniform | Normal, dtype: str, shape: tuple[int, ...], generator: Generator | None) -> Iterator[bytes]:
    import torch

    wanted = getattr(torch, dtype)
    drawn = torch.float32 if dtype in _FLOAT8 else wanted
    for count in chunks(prod(shape)):
        chunk = torch.empty(count, dtype=drawn)
        with refusing(draw, dtype):
            if isinstance(draw, Uniform):
                chunk.uniform_(draw.low, draw.high, generator=generator)
            else:
                chunk.normal_(draw.mean, draw.std, generator=generator)
        yield _bytes(chunk.to(wanted))


@contextmanager
def refusing(draw: Draw, dtype: str) -> Iterator[None]:
    """What torch refuses (bounds beyond the dtype, say) as one line of ours."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise EditError(f"{draw} cannot be drawn in {dtype}: {reason}", "check its arguments") from error


def chunks(count: int) -> Iterator[int]:
    """The sizes in which `count` elements are drawn: CHUNK each, and a last one that is never short of 16 unless it is all."""
    while count >= CHUNK + 16:
        yield CHUNK
        count -= CHUNK
    if count:
        yield count


def _whole(draw: Whole, dtype: str, shape: tuple[int, ...], generator: Generator | None) -> Iterator[bytes]:
    import torch

    if not prod(shape):
        return
    wanted = getattr(torch, dtype)
    through = dtype.startswith("float8") or (dtype in _HALVES and not draw.halves)
    tensor = torch.empty(shape, dtype=torch.float32 if through else wanted)
    with refusing(draw, dtype), torch.no_grad(), _one_thread() if draw.elementwise else nullcontext():
        draw.function(tensor, generator or torch.Generator())
    flat = tensor.to(wanted).reshape(-1)
    for start in range(0, len(flat), CHUNK):
        yield _bytes(flat[start : start + CHUNK])


@contextmanager
def _one_thread() -> Iterator[None]:
    """In a forked worker torch would wait for ever for the threads of the process that it was forked from."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def portable(draw: Draw, dtype: str, nbytes: int) -> bool:
    """Whether a forked worker may draw it: it needs no threads, nothing but its generator, and little memory."""
    if isinstance(draw, Uniform | Normal):
        return dtype not in _FLOAT8
    return isinstance(draw, Whole) and draw.elementwise and dtype not in _FLOAT8 and nbytes <= _LARGE


def _bytes(flat: Tensor) -> bytes:
    import torch

    raw: bytes = flat.contiguous().view(torch.uint8).numpy().tobytes()
    return raw


_WAYS: dict[type, Callable[[Any, str, tuple[int, ...], Generator | None], Iterator[bytes]]] = {
    Fill: _fill, Values: _values, Uniform: _independent, Normal: _independent, Whole: _whole,
}  # fmt: skip
