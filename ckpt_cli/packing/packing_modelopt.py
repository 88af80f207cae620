"""NVFP4 as NVIDIA's ModelOpt writes it.

X.weight is bytes of two E2M1 with the low one first; X.weight_scale, E4M3 for each 16 of a row;
X.weight_scale_2, one float32 for all. A value is stored × (weight_scale × weight_scale_2), computed in float32.

Source: NVFP4QTensor.dequantize in modelopt/torch/quantization/qtensor/nvfp4_tensor.py.
"""

from __future__ import annotations

from ..errors import Malformed
from ..numbers.shapes import show_shape
from .headers import Headers, check_shape
from .matrices import FLOAT
from .mx import float4_blocks
from .packed import Packed, Packing, packings
from .packing_fp8 import beside


class ModelOpt(Packing):
    """Bytes with two kinds of scales."""

    name = "modelopt"
    leaves = ("weight_scale_2",)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The weight whose scales `name` scales."""
        main = name.removesuffix("_scale_2")
        if not headers.is_a(main, "uint8"):
            return None
        comfy = "_quantization_metadata" in headers.checkpoint.metadata or f"{main.removesuffix('weight')}comfy_quant" in headers.kinds
        if comfy:
            raise Malformed(f"{main}: ComfyUI keeps the scales of NVFP4 in the order of a GPU's tensor cores, which is not undone")
        packed, whole = headers.checkpoint[main], headers.need(name, "float32", main)
        scale = headers.need(f"{main}_scale", "float8_e4m3fn", main)
        if len(packed.shape) < 2 or whole.numel != 1 or len(scale.shape) < 2 or not scale.shape[-1]:
            raise Malformed(f"{main}: {show_shape(packed.shape)} and scales of {show_shape(scale.shape)} do not fit")
        shape = (*packed.shape[:-1], packed.shape[-1] * 2)
        size = shape[-1] // scale.shape[-1]
        check_shape(main, f"{main}_scale", scale.shape, (*shape[:-1], -(-shape[-1] // max(size, 1))))
        if shape[-1] % max(size, 1):
            raise Malformed(f"{main}: groups of {size} do not make up {shape[-1]:,} columns")
        parts = (main, f"{main}_scale", name, *beside(headers, main))
        return Packed(main, f"NVFP4, group {size}", shape, parts, lambda: float4_blocks(packed, scale, whole, shape, size, FLOAT))


packings.add(ModelOpt.name, ModelOpt())
