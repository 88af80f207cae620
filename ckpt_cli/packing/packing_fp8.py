"""Floats of 8 bits with scales: weight = stored × scale.

The scales are called X.weight_scale (diffusers, compressed-tensors float-quantized and mxfp8, ModelOpt), X.scale_weight (ComfyUI),
X.weight_scale_inv (DeepSeek-V3: a scale for each 128 x 128 block; a multiplier, in spite of its name) or EXPERTS_scale_inv (transformers'
stacks of experts). There is one for the tensor, or one for each row, group of a row, or block. Scales that are bytes, or float8_e8m0fnu,
are powers of two (OCP Microscaling Formats 1.0).

Sources: dequantize in compressed_tensors/quantization/lifecycle/forward.py; weight_dequant in DeepSeek-V3's inference/kernel.py;
comfy/ops.py. The product has the dtype of the scales; bfloat16 where these are powers of two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..numbers.shapes import show_shape
from .headers import Headers
from .matrices import BRAIN, FLOATS, Blocks, Matrix, affine, as_powers, decoded, laid_over, storages
from .packed import Packed, Packing, packings

if TYPE_CHECKING:
    from ..tensors.checkpoint import Checkpoint
    from ..tensors.tensor import Tensor

_FLOAT8 = "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz"
_POWERS = "uint8 float8_e8m0fnu"
# What else lies beside a weight and goes with its scales: scales of activations, and what says how the layer is quantised.
BESIDE = (
    "input_scale", "scale_input", "output_scale", "scale_output", "activation_scale", "input_global_scale", "input_zero_point",
    "output_zero_point", "weight_format", "comfy_quant", "weight_zero_point",
)  # fmt: skip


class Float8(Packing):
    """Floats of 8 bits with scales."""

    name = "fp8"
    leaves = ("weight_scale", "scale_weight", "weight_scale_inv", "_scale_inv", "_scale")
    markers = ("scaled_fp8",)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The tensor that the scales `name` belong to."""
        main = scaled_by(name)
        if main is None or not headers.is_a(main, _FLOAT8):
            return None
        weight, scale = headers.checkpoint[main], headers.need(name, f"{FLOATS} {_POWERS}", main)
        scale = as_powers(scale) if scale.dtype.name in _POWERS.split() else scale
        scales = laid_over(main, name, scale, weight.shape, block_size(headers))
        how = "by powers of two" if scale.dtype.name == "float8_e8m0fnu" else described(scales, weight.shape)
        zero_name = f"{main}_zero_point"
        zero = headers.need(zero_name, f"{FLOATS} {_FLOAT8} int8", main) if zero_name in headers.kinds else None
        zeros = laid_over(main, zero_name, zero, weight.shape, block_size(headers)) if zero is not None else None
        return Packed(
            main,
            f"{weight.dtype.name}, scale {how}",
            weight.shape,
            (main, name, *beside(headers, main)),
            lambda: _decoded(weight, scale, scales, zeros),
        )

    def settled(self, checkpoint: Checkpoint) -> Checkpoint:
        """Without the metadata by which ComfyUI knows its layers."""
        kept = {key: value for key, value in checkpoint.metadata.items() if key != "_quantization_metadata"}
        return checkpoint.replacing(metadata=kept)


def scaled_by(name: str) -> str | None:
    """Return the name of the tensor that scales of that name belong to."""
    stem, dot, leaf = name.rpartition(".")
    if leaf == "scale_weight":
        return f"{stem}{dot}weight"
    return next((name.removesuffix(end) for end in ("_scale_inv", "_scale") if leaf.endswith(end) and leaf != end), None)


def beside(headers: Headers, main: str) -> tuple[str, ...]:
    """Return the names of what lies beside the weight `main` and goes with its scales."""
    stem, dot, leaf = main.rpartition(".")
    return tuple(f"{stem}{dot}{other}" for other in BESIDE if leaf == "weight" and f"{stem}{dot}{other}" in headers.kinds)


def block_size(headers: Headers) -> tuple[int, int]:
    """Return the size of a block that the config says, 128 x 128 without one."""
    size = headers.config.get("weight_block_size")
    if isinstance(size, list) and len(size) == 2 and all(type(n) is int and n > 0 for n in size):
        return size[0], size[1]
    return 128, 128


def described(scales: Blocks, shape: tuple[int, ...]) -> str:
    """Return what each scale holds for, in words."""
    if scales.width >= shape[-1]:
        return "per row" if scales.height == 1 else "per tensor"
    return f"per group of {scales.width}" if scales.height == 1 else f"per block of {show_shape((scales.height, scales.width))}"


def _decoded(weight: Tensor, scale: Tensor, scales: Blocks, zeros: Blocks | None) -> Tensor:
    matrix = Matrix.of(weight)

    def compute(first: int, last: int) -> Any:
        return affine(matrix.window((first, last)), zeros, scales, first, last)

    dtype = BRAIN if scale.dtype.name == "float8_e8m0fnu" else scale.dtype
    return decoded(dtype, weight.shape, storages(matrix, scales, zeros), compute)


packings.add(Float8.name, Float8())
