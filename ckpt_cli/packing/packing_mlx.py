"""MLX: weight (uint32), scales and biases, with bits and group size in the config's `quantization`, of a layer or of all.

Integers lie from the lowest bit upwards, over the ends of words; weight = scale × stored + bias, each rounded to the dtype of the scales.
The modes mxfp4, mxfp8 and nvfp4 have no biases: floats of 4 or 8 bits and scales that are bytes: powers of two for each 32, or E4M3 for
each 16. They are decoded to bfloat16.

Sources: affine_dequantize and fp_dequantize in mlx/backend/cpu/quantized.cpp; mlx/nn/layers/quantized.py.
"""

from __future__ import annotations

from typing import Any

from ..errors import Malformed
from ..numbers.dtypes import to_numpy
from ..tensors.tensor import Tensor
from .headers import Headers, check_shape
from .integers import fields
from .matrices import FLOATS, Blocks, Matrix, decoded, storages
from .mx import float_blocks
from .packed import Packed, Packing, packings

_BITS = (2, 3, 4, 5, 6, 8)
_FLOATS = {"mxfp4": (4, 32), "nvfp4": (4, 16), "mxfp8": (8, 32)}  # bits and group size of a mode


class MLX(Packing):
    """Words of 32 bits beside scales."""

    name = "mlx"
    leaves = ("scales",)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The layer that `name` is the scales of."""
        stem = name.removesuffix("scales")
        main, biases = f"{stem}weight", f"{stem}biases"
        if not headers.is_a(main, "uint32"):
            return None
        words, scale = headers.checkpoint[main], headers.checkpoint[name]
        if len(words.shape) < 2 or scale.shape[:-1] != words.shape[:-1]:
            raise Malformed(f"{main}: its part {name} has other rows")
        if scale.dtype.name == "uint8":
            return _floats(headers, main, name, stem)
        headers.need(name, FLOATS, main)
        bias = headers.need(biases, scale.dtype.name, main)
        check_shape(main, biases, bias.shape, scale.shape)
        bits, size = _bits_and_group(headers, main, stem, words.shape[-1], scale.shape[-1])
        shape = (*words.shape[:-1], scale.shape[-1] * size)
        title = f"MLX {bits} bit, group {size}"
        return Packed(main, title, shape, (main, name, biases), lambda: _affine(words, scale, bias, shape, bits, size))


def _said(headers: Headers, stem: str) -> dict[str, Any]:
    """What the config says of a layer: entries of its own, else those for all."""
    own = headers.config.get(stem.removesuffix("."))
    return headers.config | (own if isinstance(own, dict) else {})


def _bits_and_group(headers: Headers, main: str, stem: str, words: int, groups: int) -> tuple[int, int]:
    said = _said(headers, stem)
    bits, size = said.get("bits"), said.get("group_size")
    if bits is None and size is None:
        raise Malformed(f"{main}: neither its bits nor its group size are known", "put the config.json of the model beside it")
    bits, size = 4 if bits is None else bits, 64 if size is None else size  # the defaults of mlx.core.quantize
    if type(bits) is not int or bits not in _BITS or type(size) is not int or size < 1 or groups * size * bits != words * 32:
        raise Malformed(
            f"{main}: {words:,} words and {groups:,} scales a row do not fit {bits} bit, group {size}", "is config.json its own?"
        )
    return bits, size


def _affine(words: Tensor, scale: Tensor, bias: Tensor, shape: tuple[int, ...], bits: int, size: int) -> Tensor:
    packed, scales, biases = Matrix.of(words), Blocks(scale, shape, 1, size), Blocks(bias, shape, 1, size)

    def compute(first: int, last: int) -> Any:
        import numpy

        rounded = to_numpy(scale.dtype)
        values = fields(packed.raw((first, last)), bits, shape[-1]).astype("f4")
        scales.apply(numpy.multiply, values, first, last)
        values = values.astype(rounded, copy=False).astype("f4", copy=False)
        return biases.apply(numpy.add, values, first, last)

    return decoded(scale.dtype, shape, storages(packed, scales, biases), compute)


def _floats(headers: Headers, main: str, name: str, stem: str) -> Packed:
    words, scale = headers.checkpoint[main], headers.checkpoint[name]
    across, groups = words.shape[-1], scale.shape[-1]
    said = _said(headers, stem).get("mode")
    fitting = [mode for mode, (bits, size) in _FLOATS.items() if across * 32 == groups * size * bits and said in (None, mode)]
    if not fitting:
        raise Malformed(f"{main}: {across:,} words and {groups:,} scales a row are of no mode that is known")
    mode = fitting[0]
    size = _FLOATS[mode][1]
    shape = (*words.shape[:-1], groups * size)
    return Packed(main, f"MLX {mode}, group {size}", shape, (main, name), lambda: float_blocks(words, scale, shape, mode, size))


packings.add(MLX.name, MLX())
