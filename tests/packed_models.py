"""Models with packed parameters, made by hand, and what their weights are by the formulas that the writing libraries publish.

Nothing of ckpt is used. Integers are packed bit by bit; weights are computed with torch, in the dtype in which the library computes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]


class Model(NamedTuple):
    """Tensors of a file, the config beside it, and the plain model: the weights and nothing else that was packed."""

    title: str
    packed: Tensors
    plain: Tensors
    config_name: str = ""
    config: Any = None


def ints(generator: np.random.Generator, low: int, high: int, *shape: int) -> Any:
    return generator.integers(low, high, shape)


def dense(values: Any, bits: int) -> torch.Tensor:
    """Integers of each row one after another, from the lowest bit of an int32 upwards."""
    rows = len(values)
    stream = ((values.astype("u8")[:, :, None] >> np.arange(bits, dtype="u8")) & 1).reshape(rows, -1)
    stream = np.pad(stream, ((0, 0), (0, -stream.shape[1] % 32)))
    words = (stream.reshape(rows, -1, 32) << np.arange(32, dtype="u8")).sum(-1)
    return torch.from_numpy(words.astype("u4").view("i4"))


def gptq(bits: int, act_order: bool, second: bool, dtype: torch.dtype = torch.float16, sizes: tuple[int, int, int] = (64, 96, 16)) -> Model:
    """QuantLinear.pack of AutoGPTQ: `qweight` along in, `qzeros` less 1 along out."""
    columns, out, group = sizes
    random, groups = np.random.default_rng(bits), columns // group
    stored, zero = ints(random, 0, 2**bits, columns, out), ints(random, 1, 2**bits, groups, out)
    scale = torch.from_numpy(random.random((groups, out)).astype("f4")).to(dtype)
    order = np.arange(columns) // group
    order = random.permutation(order) if act_order else order
    packed = {
        "l.qweight": dense(stored.T, bits).T.contiguous(),
        "l.qzeros": dense(zero - (not second), bits),
        "l.scales": scale,
        "l.g_idx": torch.from_numpy(order.astype("i4")),
        "l.bias": torch.ones(out),
    }
    weight = scale[torch.from_numpy(order)] * torch.from_numpy(stored - zero[order]).to(dtype)
    config = {"bits": bits, "group_size": group, "checkpoint_format": "gptq_v2" if second else "gptq"}
    plain = {"l.weight": weight.T.contiguous(), "l.bias": torch.ones(out)}
    return Model(f"GPTQ {bits} bit, group {group}", packed, plain, "quantize_config.json", config)


def awq(by_rows: bool, group: int = 32) -> Model:
    """from_linear of WQLinear_GEMM and WQLinear_GEMV."""
    columns, out, random = 256, 40, np.random.default_rng(group)
    stored, zero = ints(random, 0, 16, columns, out), ints(random, 0, 16, columns // group, out)
    scale = torch.from_numpy(random.random(zero.shape).astype("f4")).half()

    def words(values: Any, order: tuple[int, ...]) -> torch.Tensor:
        made = np.zeros((values.shape[0], values.shape[1] // 8), "u4")
        for column in range(made.shape[1]):
            for place, of in enumerate(order):
                made[:, column] |= values[:, column * 8 + of].astype("u4") << np.uint32(4 * place)
        return torch.from_numpy(made.view("i4"))

    if by_rows:
        width = -(-zero.shape[0] // 32) * 32  # as calculate_zeros_width has it for groups of 32
        wide_zero, wide_scale = np.zeros((out, width), "i8"), torch.zeros(out, width).half()
        wide_zero[:, : zero.shape[0]], wide_scale[:, : zero.shape[0]] = zero.T, scale.T
        packed = {"qweight": words(stored.T, tuple(range(8))), "qzeros": words(wide_zero, tuple(range(8))), "scales": wide_scale}
    else:
        order = (0, 2, 4, 6, 1, 3, 5, 7)
        packed = {"qweight": words(stored, order), "qzeros": words(zero, order), "scales": scale}
    at = np.arange(columns) // group
    weight = (torch.from_numpy(stored - zero[at]).half() * scale[torch.from_numpy(at)]).T.contiguous()
    config = {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": group}}
    return Model(
        f"AWQ 4 bit, group {group}", {f"l.{key}": value for key, value in packed.items()}, {"l.weight": weight}, "config.json", config
    )


def float8(
    suffix: str, scale_shape: tuple[int, ...], block: tuple[int, int], title: str, dtype: torch.dtype = torch.float32, config: Any = None
) -> Model:
    """A scale for each block of a matrix of 64 x 96, whose last blocks may be cut off."""
    torch.manual_seed(len(scale_shape))
    stored, scale = torch.randn(64, 96).to(torch.float8_e4m3fn), (torch.rand(scale_shape) + 0.5).to(dtype)
    over = scale.reshape((*scale_shape, 1)[:2] if len(scale_shape) else (1, 1))
    over = over.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[:64, :96]
    name = "l.scale_weight" if suffix == "scale_weight" else f"l.{suffix}"
    packed = {"l.weight": stored, name: scale, "l.input_scale": torch.ones(()), "scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}
    weight = (stored.to(dtype) * over).contiguous()
    return Model(f"float8_e4m3fn, scale {title}", packed, {"l.weight": weight}, "config.json" if config else "", config)


def experts_of_float8() -> Model:
    """A stack of matrices with a scale for each block of each, as transformers keeps the experts of DeepSeek."""
    torch.manual_seed(2)
    stored, scale = torch.randn(3, 40, 96).to(torch.float8_e4m3fn), torch.rand(3, 2, 3)
    over = scale.repeat_interleave(32, 1).repeat_interleave(32, 2)[:, :40]
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [32, 32]}}
    packed = {"experts.down_proj": stored, "experts.down_proj_scale_inv": scale}
    return Model("float8_e4m3fn, scale per block of 32x32", packed, {"experts.down_proj": stored.float() * over}, "config.json", config)


NF4 = [
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334),
    *(-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
]


def bitsandbytes(kind: str, shape: tuple[int, int], nested: bool) -> Model:
    """QuantState.as_dict(packed=True), and dequantize_4bit in float32; the blocks run over the ends of rows."""
    torch.manual_seed(shape[1])
    count, block = shape[0] * shape[1], 64
    blocks = -(-count // block)
    stored, table = torch.randint(0, 256, (-(-count // 2), 1), dtype=torch.uint8), torch.tensor(NF4)
    state: dict[str, Any] = {"quant_type": kind, "blocksize": block, "dtype": "bfloat16", "shape": list(shape)}
    packed = {"l.weight": stored, "l.weight.quant_map": table}
    if nested:
        inner, codes = torch.linspace(0, 1, 256), torch.randint(0, 256, (blocks,), dtype=torch.uint8)
        outer = torch.rand(-(-blocks // 256))
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.03125}
        packed |= {"l.weight.absmax": codes, "l.weight.nested_absmax": outer, "l.weight.nested_quant_map": inner}
        absmax = inner[codes.long()] * outer.repeat_interleave(256)[:blocks] + 0.03125
    else:
        absmax = packed["l.weight.absmax"] = torch.rand(blocks)
    text = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    codes4 = torch.stack([stored.view(-1) >> 4, stored.view(-1) & 15], 1).view(-1)[:count].long()
    weight = (table[codes4] * absmax.repeat_interleave(block)[:count]).view(shape)
    title = f"bitsandbytes {kind}, block 64" + (", double-quantised" if nested else "")
    return Model(title, packed | {f"l.weight.quant_state.bitsandbytes__{kind}": text}, {"l.weight": weight})


def bitsandbytes_int8() -> Model:
    """int8_vectorwise_dequant."""
    stored, scale = torch.randint(-127, 128, (24, 40), dtype=torch.int8), torch.rand(24)
    packed = {"l.weight": stored, "l.SCB": scale, "l.weight_format": torch.zeros((), dtype=torch.uint8)}
    return Model("bitsandbytes int8, scale per row", packed, {"l.weight": stored * scale.view(-1, 1) * 7.874015718698502e-3})


def compressed(bits: int, group: int | None, zeros: bool, dtype: torch.dtype = torch.bfloat16) -> Model:
    """PackedQuantizationCompressor, and _dequantize in the dtype of the scales."""
    random, out, columns = np.random.default_rng(bits), 70, 96
    groups, half = columns // (group or columns), 2 ** (bits - 1)
    stored, zero = (
        ints(random, -half, half, out, columns),
        ints(random, -half, half, out, groups) if zeros else np.zeros((out, groups), "i8"),
    )
    scale = torch.from_numpy(random.random((out, groups)).astype("f4")).to(dtype)
    packed = {"weight_packed": dense(stored + half, bits), "weight_scale": scale, "weight_shape": torch.tensor([out, columns])}
    if zeros:
        packed["weight_zero_point"] = dense((zero + half).T, bits).T.contiguous()
    at = np.arange(columns) // (group or columns)
    weight = (torch.from_numpy(stored).to(dtype) - torch.from_numpy(zero[:, at]).to(dtype)) * scale[:, torch.from_numpy(at)]
    title = f"compressed-tensors {bits} bit, " + (f"group {group}" if group else "scale per row")
    return Model(title, {f"l.{key}": value for key, value in packed.items()}, {"l.weight": weight})


E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def halves(stored: torch.Tensor) -> torch.Tensor:
    """The E2M1 values of bytes, the low one first."""
    return E2M1[torch.stack([stored & 15, stored >> 4], -1).long()].flatten(-2)


def nvfp4(by: str) -> Model:
    """NVFP4PackedCompressor (the global scale divides, rounded to bfloat16) or ModelOpt's (it multiplies, float32)."""
    torch.manual_seed(4)
    stored, scale, whole = (
        torch.randint(0, 256, (24, 40), dtype=torch.uint8),
        torch.rand(24, 5).to(torch.float8_e4m3fn),
        torch.tensor([3.7]),
    )
    values = halves(stored).view(24, 5, 16)
    if by == "modelopt":
        weight = (values * (scale.float() * whole)[:, :, None]).view(24, 80)
        return Model("NVFP4, group 16", {"l.weight": stored, "l.weight_scale": scale, "l.weight_scale_2": whole}, {"l.weight": weight})
    weight = (values * (scale.float() / whole)[:, :, None]).view(24, 80).bfloat16()
    packed = {"l.weight_packed": stored, "l.weight_scale": scale, "l.weight_global_scale": whole}
    return Model("NVFP4, group 16", packed, {"l.weight": weight})


def mxfp4(by: str) -> Model:
    """MXFP4 of compressed-tensors, and of gpt-oss, whose experts are transposed."""
    torch.manual_seed(5)
    power = torch.randint(110, 140, (2, 24, 3), dtype=torch.uint8)
    stored = torch.randint(0, 256, (2, 24, 3, 16), dtype=torch.uint8)
    values = (halves(stored) * 2.0 ** (power.float() - 127)[..., None]).view(2, 24, 96).bfloat16()
    if by == "gpt-oss":
        packed = {"experts.down_proj_blocks": stored, "experts.down_proj_scales": power, "experts.down_proj_bias": torch.ones(2, 24)}
        plain = {"experts.down_proj": values.transpose(1, 2).contiguous(), "experts.down_proj_bias": torch.ones(2, 24)}
        return Model("MXFP4, group 32", packed, plain)
    return Model("MXFP4, group 32", {"l.weight_packed": stored[0].view(24, 48), "l.weight_scale": power[0]}, {"l.weight": values[0]})


def mlx(bits: int, group: int, dtype: torch.dtype) -> Model:
    """affine_dequantize of MLX: the product is rounded, then the sum."""
    random, out, columns = np.random.default_rng(bits), 24, 256
    stored = ints(random, 0, 2**bits, out, columns)
    scale, bias = (torch.from_numpy(random.normal(size=(out, columns // group)).astype("f4")).to(dtype) for _ in range(2))
    packed = {"l.weight": dense(stored, bits).view(torch.uint32), "l.scales": scale, "l.biases": bias}
    weight = torch.from_numpy(stored).to(dtype) * scale.repeat_interleave(group, 1) + bias.repeat_interleave(group, 1)
    config = {"quantization": {"group_size": 64, "bits": 4, "l": {"group_size": group, "bits": bits}}}
    return Model(f"MLX {bits} bit, group {group}", packed, {"l.weight": weight}, "config.json", config)


def torchao(
    stored: torch.dtype,
    groups: int,
    zeros: bool,
    dtype: torch.dtype,
    names: tuple[str, str, str] = ("l.weight.qdata", "l.weight.scale", "l.weight.zero_point"),
) -> Model:
    """dequantize_affine of torchao."""
    torch.manual_seed(groups)
    data = torch.randint(-100, 100, (24, 64)).to(torch.float32 if stored.is_floating_point else stored).to(stored)
    scale, zero = torch.rand(24, groups).to(dtype), torch.randint(-8, 8, (24, groups))
    packed = dict(zip(names, (data, scale, zero) if zeros else (data, scale), strict=False))
    width = 64 // groups
    values = data.to(dtype) - zero.to(dtype).repeat_interleave(width, 1) if zeros else data.to(dtype)
    kind = str(stored).removeprefix("torch.")
    how = "scale per row" if groups == 1 else f"group {width}"
    return Model(f"torchao {kind}, {how}", packed, {"l.weight": values * scale.repeat_interleave(width, 1)})


def quanto() -> Model:
    """QBytesTensor.dequantize."""
    stored, scale = torch.randint(-127, 128, (24, 40), dtype=torch.int8), torch.rand(24, 1).bfloat16()
    return Model("quanto int8", {"l.weight._data": stored, "l.weight._scale": scale}, {"l.weight": scale * stored})


def models() -> Iterator[tuple[str, Callable[[], Model]]]:
    """A name and a model, each made when it is asked for."""
    for bits in (2, 3, 4, 8):
        yield f"gptq-{bits}", lambda bits=bits: gptq(bits, False, bits == 4)
        yield f"gptq-{bits}-act-order", lambda bits=bits: gptq(bits, True, bits == 3)
    yield "gptq-bfloat16", lambda: gptq(4, False, False, torch.bfloat16)
    yield "gptq-several-slabs", lambda: gptq(4, False, False, sizes=(4096, 560, 128))
    yield "awq-gemm", lambda: awq(False)
    yield "awq-gemv", lambda: awq(True)
    blocks = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [32, 40]}}
    yield "fp8-comfy", lambda: float8("scale_weight", (), (64, 96), "per tensor")
    yield "fp8-diffusers", lambda: float8("weight_scale", (1,), (64, 96), "per tensor")
    yield "fp8-rows", lambda: float8("weight_scale", (64, 1), (1, 96), "per row", torch.bfloat16)
    yield "fp8-rows-flat", lambda: float8("weight_scale", (64,), (1, 96), "per row")
    yield "fp8-groups", lambda: float8("weight_scale", (64, 3), (1, 32), "per group of 32", torch.float16)
    yield "fp8-blocks", lambda: float8("weight_scale_inv", (2, 3), (32, 40), "per block of 32x40", config=blocks)
    yield "fp8-deepseek", lambda: float8("weight_scale_inv", (1, 1), (64, 96), "per tensor")
    yield "fp8-experts", experts_of_float8
    for kind in ("nf4", "fp4"):
        yield f"{kind}", lambda kind=kind: bitsandbytes(kind, (24, 64), False)
        yield f"{kind}-odd", lambda kind=kind: bitsandbytes(kind, (33, 65), False)
        yield f"{kind}-nested", lambda kind=kind: bitsandbytes(kind, (300, 1030), True)
    yield "bitsandbytes-int8", bitsandbytes_int8
    for bits in (2, 3, 4, 5, 8):
        yield f"compressed-{bits}", lambda bits=bits: compressed(bits, None, False)
        yield f"compressed-{bits}-zeros", lambda bits=bits: compressed(bits, 32, True, torch.float16)
    yield "nvfp4-compressed", lambda: nvfp4("compressed-tensors")
    yield "nvfp4-modelopt", lambda: nvfp4("modelopt")
    yield "mxfp4-compressed", lambda: mxfp4("compressed-tensors")
    yield "mxfp4-gpt-oss", lambda: mxfp4("gpt-oss")
    for bits in (2, 3, 4, 5, 6, 8):
        yield f"mlx-{bits}", lambda bits=bits: mlx(bits, 32 if bits < 5 else 64, torch.bfloat16)
    yield "mlx-float16", lambda: mlx(4, 128, torch.float16)
    yield "mlx-float32", lambda: mlx(6, 64, torch.float32)
    yield "torchao-int8", lambda: torchao(torch.int8, 1, True, torch.float32)
    yield "torchao-groups", lambda: torchao(torch.int8, 2, True, torch.bfloat16)
    yield "torchao-fp8", lambda: torchao(torch.float8_e4m3fn, 1, False, torch.float32)
    old = ("l.weight.tensor_impl.int_data", "l.weight.tensor_impl.scale", "l.weight.tensor_impl.zero_point")
    yield "torchao-tensor-impl", lambda: torchao(torch.int8, 4, True, torch.bfloat16, old)
    flat = ("l._weight_qdata", "l._weight_scale", "l._weight_zero_point")
    yield "torchao-safetensors", lambda: torchao(torch.int8, 1, True, torch.float32, flat)
    yield "quanto", quanto
