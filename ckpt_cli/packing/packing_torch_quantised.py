"""torch's own quantised tensors (qint8, quint8, qint32): one tensor, whose scale and zero point are arguments of the call that makes it.

Per tensor: (stored - zero point) × scale in float32. Per channel: the same in float64, with a scale and a zero point for each index of an
axis, rounded to float32. Per channel with float parameters, which embeddings have: stored × scale + zero point, where the zero point is a
float. Sources: dequantize_tensor_per_tensor_affine_cpu and dequantize_tensor_per_channel_affine_cpu in
aten/src/ATen/native/quantized/cpu/kernels/QuantizedOpKernels.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import Malformed
from ..numbers.dtypes import DTYPES
from ..numbers.shapes import numel_of
from ..storage.rows import Rows
from ..storage.storage import Memory
from ..tensors.tensor import Layout, Tensor
from .headers import Headers
from .matrices import FLOAT
from .packed import Packed, Packing, packings

_STORED = {"qint8": "int8", "quint8": "uint8", "qint32": "int32"}
_SLAB = 1 << 17  # elements
_MOST_CHANNELS = 1 << 20  # their scales are read for each slab


class TorchQuantised(Packing):
    """Tensors of the layout QUANTISED."""

    name = "torch-quantised"

    def candidates(self, headers: Headers) -> Iterable[str]:
        """Every tensor of that layout."""
        return (name for name, kind in headers.kinds.items() if kind.layout is Layout.QUANTISED)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The tensor itself."""
        tensor = headers.checkpoint[name]
        scheme = str(tensor.parts[0]).removeprefix("torch.") if tensor.parts else ""
        stored = _STORED.get(tensor.dtype.name)
        if stored is None:
            raise Malformed(f"{name}: {tensor.dtype.name} is not decoded", "dequantise it with torch")
        integers = Tensor(DTYPES[stored], tensor.shape, tensor.storage, tensor.strides, tensor.offset, Layout.PLAIN)
        if scheme == "per_tensor_affine" and len(tensor.parts) == 3:
            scale, zero = _number(name, tensor.parts[1], float), _number(name, tensor.parts[2], int)
            if abs(zero) >= 2**40:
                raise Malformed(f"{name}: its zero point is out of range")
            return Packed(name, f"{tensor.dtype.name}, per tensor", tensor.shape, (name,), lambda: _per_tensor(integers, scale, int(zero)))
        if scheme in ("per_channel_affine", "per_channel_affine_float_qparams") and len(tensor.parts) == 4:
            scales, zeros, axis = tensor.parts[1], tensor.parts[2], int(_number(name, tensor.parts[3], int))
            if not 0 <= axis < len(tensor.shape) or tensor.shape[axis] > _MOST_CHANNELS or not _fit(scales, zeros, tensor.shape[axis]):
                raise Malformed(f"{name}: its scales do not fit axis {axis}")
            floats = scheme != "per_channel_affine"
            title = f"{tensor.dtype.name}, per channel of axis {axis}"
            return Packed(name, title, tensor.shape, (name,), lambda: _per_channel(integers, scales, zeros, axis, floats))  # type: ignore[arg-type]
        raise Malformed(f"{name}: quantised in an unknown way")


def _number(name: str, part: Tensor | str, kind: type[float]) -> float:
    """A number among the arguments, which are kept as text."""
    try:
        return kind(str(part))
    except ValueError:
        raise Malformed(f"{name}: its scale or zero point is no number") from None


def _fit(scales: Tensor | str, zeros: Tensor | str, count: int) -> bool:
    return all(
        isinstance(part, Tensor) and not part.layout and part.shape == (count,) and part.dtype.addressable for part in (scales, zeros)
    )


def _per_tensor(integers: Tensor, scale: float, zero: int) -> Tensor:
    def formula(values: Any, first: int) -> Any:
        import numpy

        return (values.astype("i8") - zero).astype("f4") * numpy.float32(scale)

    return _decoded(integers, formula)


def _per_channel(integers: Tensor, scales: Tensor, zeros: Tensor, axis: int, floats: bool) -> Tensor:
    inner = numel_of(integers.shape[axis + 1 :])

    def formula(values: Any, first: int) -> Any:
        import numpy

        channel = numpy.arange(first, first + values.size) // max(inner, 1) % integers.shape[axis]
        scale, zero = scales.array()[channel], zeros.array()[channel]
        if floats:
            return values.astype("f4") * scale.astype("f4") + zero.astype("f4")
        return ((values.astype("f4") - zero.astype("f4")) * scale.astype("f8")).astype("f4")

    return _decoded(integers, formula)


def _decoded(integers: Tensor, formula: Any) -> Tensor:
    """Return float32 elements, computed from runs of integers and the index of the first of them."""
    elements, size = integers.elements(), integers.dtype.nbytes

    def compute(first: int, last: int) -> memoryview:
        import numpy

        with numpy.errstate(all="ignore"):
            values = numpy.frombuffer(elements.read(first * size, last * size), integers.dtype.name)
            return numpy.ascontiguousarray(formula(values, first), "<f4").view("u1").data

    if not integers.numel:
        return Tensor.whole(FLOAT, integers.shape, Memory(b""))
    return Tensor.whole(FLOAT, integers.shape, Rows([elements], integers.numel, FLOAT.nbytes, _SLAB, compute))


packings.add(TorchQuantised.name, TorchQuantised())
