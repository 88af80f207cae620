"""Models of packed weights, to be decoded: the plain model of each has `size` bytes as bfloat16, in weights of 4096 × 4096."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy
from streams import BLOCK, Blocks, Tensor, cut

WIDTH = 4096


def uniform(low: int, high: int, dtype: str) -> Blocks:
    """Numbers of [low, high) in a dtype of numpy, drawn once and repeated."""
    pool = numpy.random.default_rng(0).integers(low, high, BLOCK).astype(dtype).tobytes()

    def blocks(size: int) -> Iterator[bytes]:
        while size:
            block = pool[: min(size, len(pool))]
            size -= len(block)
            yield block

    return blocks


def scales(dtype: str) -> Blocks:
    """Scales between a thousandth and a fiftieth."""
    pool = (numpy.random.default_rng(1).random(BLOCK // 4) * 0.019 + 0.001).astype(dtype).tobytes()
    return lambda size: (pool[: min(len(pool), size - at)] for at in range(0, size, len(pool)))


def gptq(stem: str) -> dict[str, Tensor]:
    """4 bits, a scale and a zero point for 128 rows, as AutoGPTQ writes them."""
    order = (numpy.arange(WIDTH) // 128).astype("i4").tobytes()
    return {
        f"{stem}.qweight": Tensor((WIDTH // 8, WIDTH), "int32", uniform(0, 2**31, "i4")),
        f"{stem}.qzeros": Tensor((WIDTH // 128, WIDTH // 8), "int32", uniform(0, 2**31, "i4")),
        f"{stem}.scales": Tensor((WIDTH // 128, WIDTH), "float16", scales("f2")),
        f"{stem}.g_idx": Tensor((WIDTH,), "int32", cut(order)),
    }


def nf4(stem: str) -> dict[str, Tensor]:
    """4 bits by a table, a scale for 64 elements, as bitsandbytes writes them."""
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [WIDTH, WIDTH]}).encode()
    table = numpy.linspace(-1, 1, 16, dtype="f4").tobytes()
    return {
        f"{stem}.weight": Tensor((WIDTH * WIDTH // 2, 1), "uint8", uniform(0, 256, "u1")),
        f"{stem}.weight.absmax": Tensor((WIDTH * WIDTH // 64,), "float32", scales("f4")),
        f"{stem}.weight.quant_map": Tensor((16,), "float32", cut(table)),
        f"{stem}.weight.quant_state.bitsandbytes__nf4": Tensor((len(state),), "uint8", cut(state)),
    }


def fp8(stem: str) -> dict[str, Tensor]:
    """float8_e4m3fn with a scale for each block of 128 × 128, as DeepSeek-V3 has them."""
    return {
        f"{stem}.weight": Tensor((WIDTH, WIDTH), "float8_e4m3fn", uniform(0, 0x7F, "u1")),
        f"{stem}.weight_scale_inv": Tensor((WIDTH // 128, WIDTH // 128), "float32", scales("f4")),
    }


def packed(one: Callable[[str], dict[str, Tensor]]) -> Callable[[int], dict[str, Tensor]]:
    """As many packed weights as make `size` bytes of bfloat16."""
    return lambda size: {name: tensor for at in range(max(1, size // (2 * WIDTH * WIDTH))) for name, tensor in one(f"layers.{at}").items()}
