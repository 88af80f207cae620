"""bitsandbytes: 4 bits (nf4, fp4) and 8 bits.

4 bits: X.weight holds two values a byte, the high one first, of the weight's elements one after another. Each block of them has a scale,
X.weight.absmax; X.weight.quant_map holds the 16 values. X.weight.quant_state.bitsandbytes__nf4 is a JSON text with shape and block size.
Double-quantised, absmax is a byte for each block: nested_quant_map[absmax] × nested_absmax + nested_offset.
8 bits: X.weight holds int8, X.SCB the largest modulus of each row: weight = stored × SCB / 127.

Sources: QuantState and dequantize_blockwise in bitsandbytes/functional.py, int8_vectorwise_dequant in bitsandbytes/backends/default/ops.py.
Values are float32, as the scales are; the library rounds these to the dtype that the weight had.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import Malformed
from ..formats.encodings import strict_json
from ..numbers.shapes import numel_of, show_shape
from ..tensors.tensor import Tensor
from .headers import Headers, check_shape
from .integers import table_pairs
from .matrices import FLOAT, Blocks, Matrix, decoded, storages
from .packed import Packed, Packing, packings

_INT8_STEP = 7.874015718698502e-3  # 1/127, as bitsandbytes writes it
_LARGEST_BLOCK = 1 << 20


class State(NamedTuple):
    """What quant_state says."""

    shape: tuple[int, ...]
    block: int
    nested_block: int
    offset: float


class BitsAndBytes(Packing):
    """Blocks of 4 bits, or rows of int8."""

    name = "bitsandbytes"
    leaves = ("bitsandbytes__nf4", "bitsandbytes__fp4", "SCB")

    def at(self, headers: Headers, name: str) -> Packed | None:
        """The weight whose state or scales `name` is."""
        stem, dot, leaf = name.rpartition(".")
        if leaf == "SCB":
            return _int8(headers, f"{stem}{dot}weight", name)
        main = stem.removesuffix(".quant_state")
        if main == stem:
            return None
        kind, state = leaf.removeprefix("bitsandbytes__"), _state(headers, name)
        if headers.get(main) is None:
            raise Malformed(f"{main}: not there, though {name} is", "download the checkpoint again")
        parts = {"absmax": 0, "quant_map": 16} | ({"nested_absmax": 0, "nested_quant_map": 256} if state.nested_block else {})
        for part, count in parts.items():
            headers.need(f"{main}.{part}", "uint8" if part == "absmax" and state.nested_block else "float32", main)
            want = count or -(-numel_of(state.shape) // (state.block * (state.nested_block if part == "nested_absmax" else 1)))
            check_shape(main, f"{main}.{part}", headers.checkpoint[f"{main}.{part}"].shape, (want,))
        if headers.checkpoint[main].nbytes != -(-numel_of(state.shape) // 2):
            raise Malformed(f"{main}: {headers.checkpoint[main].nbytes:,} bytes for {show_shape(state.shape)} of 4 bits")
        title = f"bitsandbytes {kind}, block {state.block}" + (", double-quantised" if state.nested_block else "")
        names = (main, *(f"{main}.{part}" for part in parts), name)
        return Packed(main, title, state.shape, names, lambda: _four_bits(headers, main, state))


def _state(headers: Headers, name: str) -> State:
    """Read quant_state. Raises Malformed where it is not what bitsandbytes writes."""
    try:
        document = strict_json.loads(headers.bytes_of(name))
    except Malformed as error:
        raise Malformed(f"{name}: {error.what}", error.mend) from None
    state = document if isinstance(document, dict) else {}
    shape, block, nested, offset = (state.get(key) for key in ("shape", "blocksize", "nested_blocksize", "nested_offset"))
    sizes = isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int and 0 <= n < 2**40 for n in shape)
    blocks = all(type(n) is int and 0 < n <= _LARGEST_BLOCK for n in (block, nested or 1))
    if not (sizes and blocks and (nested is None or isinstance(offset, (int, float)))):
        raise Malformed(f"{name}: not the state of a quantised weight", "download the checkpoint again")
    return State(tuple(shape or ()), block or 1, nested or 0, float(offset or 0))


def _four_bits(headers: Headers, main: str, state: State) -> Tensor:
    checkpoint = headers.checkpoint
    packed, absmax = checkpoint[main].elements(), Matrix(checkpoint[f"{main}.absmax"], 1, checkpoint[f"{main}.absmax"].numel)
    nested = _Nested(headers, main, state) if state.nested_block else None
    width, total = (state.shape[-1] if state.shape else 1), numel_of(state.shape)
    table: list[Any] = []

    def compute(first: int, last: int) -> Any:
        import numpy

        if not table:
            table.append(checkpoint[f"{main}.quant_map"].array())
        start, stop = first * width, min(last * width, total)  # a slab begins at an even element
        data = numpy.frombuffer(packed.read(start // 2, -(-stop // 2)), "u1")
        values = table_pairs(table[0], data, high_first=True)[: stop - start]
        low, high = start // state.block, -(-stop // state.block)
        scales = absmax.window((0, 1), (low, high))[0]
        scales = nested.scales(scales, low) if nested else scales
        each = numpy.repeat(scales, state.block)[start - low * state.block :][: stop - start]
        return numpy.multiply(values, each, out=values).reshape(last - first, width)

    return decoded(FLOAT, state.shape, [packed, absmax.elements, *(nested.storages if nested else ())], compute)


class _Nested:
    """Scales that are quantised themselves."""

    def __init__(self, headers: Headers, main: str, state: State) -> None:
        self._table, tensor = headers.checkpoint[f"{main}.nested_quant_map"], headers.checkpoint[f"{main}.nested_absmax"]
        self._absmax, self._state = Matrix(tensor, 1, tensor.numel), state
        self.storages = [self._table.elements(), self._absmax.elements]

    def scales(self, codes: Any, low: int) -> Any:
        """Return the scales that are kept as `codes`, the first of which is the scale of block `low`."""
        import numpy

        size, stop = self._state.nested_block, low + len(codes)
        of = self._absmax.window((0, 1), (low // size, -(-stop // size)))[0]
        each = numpy.repeat(of, size)[low % size :][: len(codes)]
        return self._table.array()[codes] * each + numpy.float32(self._state.offset)


def _int8(headers: Headers, main: str, name: str) -> Packed | None:
    if not headers.is_a(main, "int8"):
        return None
    weight, scale = headers.checkpoint[main], headers.need(name, "float32", main)
    if len(weight.shape) != 2:
        raise Malformed(f"{main}: {show_shape(weight.shape)}, where a matrix is needed")
    check_shape(main, name, scale.shape, weight.shape[:1])
    form = f"{main}_format"
    if form in headers.kinds and headers.integers(form) not in ([0], [0] * 8):
        raise Malformed(f"{main}: its int8 are laid out for a GPU of old, which is not undone", "save it again with a newer bitsandbytes")
    scales, matrix = Blocks(scale, weight.shape, 1, max(weight.shape[1], 1)), Matrix.of(weight)

    def compute(first: int, last: int) -> Any:
        import numpy

        values = scales.apply(numpy.multiply, matrix.window((first, last)).astype("f4"), first, last)
        return numpy.multiply(values, numpy.float32(_INT8_STEP), out=values)

    parts = (main, name, *([form] if form in headers.kinds else ()))
    return Packed(
        main,
        "bitsandbytes int8, scale per row",
        weight.shape,
        parts,
        lambda: decoded(FLOAT, weight.shape, storages(matrix, scales), compute),
    )


packings.add(BitsAndBytes.name, BitsAndBytes())
