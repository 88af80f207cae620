"""optimum-quanto: X._data of 8 bits, and X._scale for each row or for all; a value is stored × scale, in the dtype of the scales.

Source: QBytesTensor.dequantize in optimum/quanto/tensor/weights/qbytes.py.
"""

from __future__ import annotations

from typing import Any

from .headers import Headers
from .matrices import FLOATS, Matrix, affine, decoded, laid_over, storages
from .packed import Packed, Packing, packings

_STORED = "int8 float8_e4m3fn float8_e5m2"


class Quanto(Packing):
    """Data beside a scale of the same parameter."""

    name = "quanto"
    leaves = ("_data",)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The parameter whose data `name` is."""
        main = name.removesuffix("._data")
        if main == name or not headers.is_a(name, _STORED) or f"{main}._scale" not in headers.kinds:
            return None
        stored, scale = headers.checkpoint[name], headers.need(f"{main}._scale", FLOATS, name)
        if not stored.shape:
            return None
        scales, matrix = laid_over(main, f"{main}._scale", scale, stored.shape), Matrix.of(stored)

        def compute(first: int, last: int) -> Any:
            return affine(matrix.window((first, last)), None, scales, first, last)

        parts = (name, f"{main}._scale")
        title = f"quanto {stored.dtype.name}"
        return Packed(main, title, stored.shape, parts, lambda: decoded(scale.dtype, stored.shape, storages(matrix, scales), compute))


packings.add(Quanto.name, Quanto())
