"""MXFP4 of gpt-oss: NAME_blocks, bytes of two E2M1 with the low one first, stacked by experts, and NAME_scales, powers of two of 32 each.

The blocks are experts × out × groups × 16. In the plain model, NAME is experts × in × out: each matrix is transposed. Values are bfloat16.
Source: convert_moe_packed_tensors in transformers/integrations/mxfp4.py.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ..errors import Malformed
from ..numbers.shapes import numel_of, show_shape
from ..tensors.tensor import Tensor
from .headers import Headers, check_shape
from .integers import E2M1, table_pairs
from .matrices import BRAIN, Matrix, as_powers, decoded, storages
from .packed import Packed, Packing, packings

_GROUP = 32


class FP4Experts(Packing):
    """Blocks beside scales of the same name."""

    name = "fp4-experts"
    leaves = ("_blocks",)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The stack of experts that `name` is the blocks of."""
        plain = name.removesuffix("_blocks")
        scales = f"{plain}_scales"
        if not headers.is_a(name, "uint8") or scales not in headers.kinds:
            return None
        blocks, scale = headers.checkpoint[name], headers.need(scales, "uint8 float8_e8m0fnu", name)
        if len(blocks.shape) < 3 or blocks.shape[-1] != _GROUP // 2:
            raise Malformed(f"{name}: {show_shape(blocks.shape)}, where blocks of {_GROUP // 2} bytes are needed")
        check_shape(name, scales, scale.shape, blocks.shape[:-1])
        out, columns = blocks.shape[-3], blocks.shape[-2] * _GROUP
        shape = (*blocks.shape[:-3], columns, out)
        return Packed(plain, f"MXFP4, group {_GROUP}", shape, (name, scales), lambda: _decoded(blocks, scale, shape))


def _decoded(blocks: Tensor, scale: Tensor, shape: tuple[int, ...]) -> Tensor:
    columns, out = shape[-2:]
    groups, rows = columns // _GROUP, numel_of(shape[:-2]) * out
    packed, scales = Matrix(blocks, rows, groups * _GROUP // 2), Matrix(as_powers(scale), rows, groups)

    def of_one(expert: int, first: int, last: int) -> Any:
        """The rows [first, last) of the transposed matrix of an expert: columns of its own."""
        low, high = first // _GROUP, -(-last // _GROUP)
        mine = (expert * out, (expert + 1) * out)
        values = table_pairs(E2M1, packed.raw(mine, (low * _GROUP // 2, high * _GROUP // 2))).reshape(out, -1, _GROUP)
        values *= scales.window(mine, (low, high))[:, :, None]
        return values.reshape(out, -1)[:, first - low * _GROUP : last - low * _GROUP].T

    def compute(first: int, last: int) -> Any:
        import numpy

        cuts = [first, *range((first // columns + 1) * columns, last, columns), last]
        ranges = ((low // columns, low % columns, high - low) for low, high in pairwise(cuts))
        parts = [of_one(expert, low, low + length) for expert, low, length in ranges]
        return numpy.concatenate(parts)

    return decoded(BRAIN, shape, storages(packed, scales), compute, by_columns=True)


packings.add(FP4Experts.name, FP4Experts())
