"""Block-quantised elements decoded to float32, so that they can be read, compared and cast: one formula for each dtype.

A block is a scale (or a few), sometimes a minimum, and small integers packed into bytes. Formulas and layouts are those of
`dequantize_row_*` in ggml's ggml-quants.c (ggml-org/llama.cpp), computed in float32 in the same order. Fields of a byte are taken from its
low bits upwards. The types IQ1, IQ2 and IQ3 need tables that are not here: tensors of them are listed, copied and hashed, not decoded.

In the formulas, x holds the fields of many blocks, one block a row: d the scale, m the minimum, s packed scales, q packed integers,
h the high bits of these integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .dtypes import DTYPES, DType

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

FLOAT = DTYPES["float32"]

# The fields of a block (name, numpy type, and how many where there are several), and the formula from them to its elements.
Fields = list[tuple[str, str] | tuple[str, str, int]]
_DECODERS: dict[str, tuple[Fields, Callable[[Any], Any]]] = {}


def decodable(dtype: DType) -> bool:
    """Return whether blocks of `dtype` can be decoded to numbers."""
    return dtype.name in _DECODERS


def decoder(dtype: DType) -> Callable[[memoryview], memoryview]:
    """Return a function from blocks of a decodable `dtype` to their elements as little-endian float32."""
    fields, formula = _DECODERS[dtype.name]

    def change(data: memoryview) -> memoryview:
        import numpy

        blocks = numpy.frombuffer(data, numpy.dtype(fields))
        with numpy.errstate(all="ignore"):
            values = formula(blocks)
        return numpy.ascontiguousarray(values, "<f4").reshape(-1).view("u1").data

    return change


def way_out(dtype: DType, name: str) -> str:
    """Return the advice for a tensor `name` whose blocks a format cannot hold."""
    return f"decode it: --dtype float32, or leave it out: --drop '{name}'" if decodable(dtype) else f"leave it out: --drop '{name}'"


def _decodes(name: str, *fields: tuple[str, str] | tuple[str, str, int]) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    def add(formula: Callable[[Any], Any]) -> Callable[[Any], Any]:
        _DECODERS[name] = list(fields), formula
        return formula

    return add


def _parts(data: Array, bits: int, width: int) -> Array:
    """Unpack integers of `bits` bits (1, 2 or 4) from rows of bytes.

    Each run of `width` bytes gives `width` integers of its lowest bits, then `width` of the next ones, and so on.
    """
    import numpy

    shifts = numpy.arange(0, 8, bits, dtype="u1")[:, None]
    groups = data.reshape(len(data), data.shape[1] // width, 1, width)
    integers: Array = (groups >> shifts) & numpy.uint8((1 << bits) - 1)
    return integers.reshape(len(data), -1)


def _wide(values: Array) -> Array:
    """Convert to float32; one number a block becomes a column."""
    wide: Array = values.astype("f4")
    return wide[:, None] if wide.ndim == 1 else wide


def _scaled(scales: Array, values: Array) -> Array:
    """Multiply each scale of a block with its share of the values, which are as many for each."""
    shares = values.reshape(*scales.shape, -1)
    products: Array = scales[..., None] * shares
    return products


# Blocks of 32


@_decodes("Q4_0", ("d", "<f2"), ("q", "u1", 16))
def _q4_0(x: Any) -> Any:
    return _wide(x["d"]) * (_wide(_parts(x["q"], 4, 16)) - 8)


@_decodes("Q4_1", ("d", "<f2"), ("m", "<f2"), ("q", "u1", 16))
def _q4_1(x: Any) -> Any:
    return _wide(x["d"]) * _wide(_parts(x["q"], 4, 16)) + _wide(x["m"])


def _five_bits(x: Any) -> Array:
    return _wide(_parts(x["q"], 4, 16) | _parts(x["h"], 1, 1) << 4)


@_decodes("Q5_0", ("d", "<f2"), ("h", "u1", 4), ("q", "u1", 16))
def _q5_0(x: Any) -> Any:
    return _wide(x["d"]) * (_five_bits(x) - 16)


@_decodes("Q5_1", ("d", "<f2"), ("m", "<f2"), ("h", "u1", 4), ("q", "u1", 16))
def _q5_1(x: Any) -> Any:
    return _wide(x["d"]) * _five_bits(x) + _wide(x["m"])


@_decodes("Q8_K", ("d", "<f4"), ("q", "i1", 256), ("sums", "<i2", 16))
@_decodes("Q8_1", ("d", "<f2"), ("s", "<f2"), ("q", "i1", 32))
@_decodes("Q8_0", ("d", "<f2"), ("q", "i1", 32))
def _q8(x: Any) -> Any:
    return _wide(x["d"]) * _wide(x["q"])


# Blocks of 256


@_decodes("Q2_K", ("s", "u1", 16), ("q", "u1", 64), ("d", "<f2"), ("m", "<f2"))
def _q2_k(x: Any) -> Any:
    scales, least = _wide(x["d"]) * _wide(x["s"] & 15), _wide(x["m"]) * _wide(x["s"] >> 4)
    return _scaled(scales, _wide(_parts(x["q"], 2, 32))) - least[..., None]


@_decodes("Q3_K", ("h", "u1", 32), ("q", "u1", 64), ("s", "u1", 12), ("d", "<f2"))
def _q3_k(x: Any) -> Any:
    scales = _wide(_parts(x["s"][:, :8], 4, 8) | _parts(x["s"][:, 8:], 2, 4) << 4) - 32
    values = _wide(_parts(x["q"], 2, 32) | _parts(x["h"], 1, 32) << 2) - 4  # without the high bit, 4 less
    return _scaled(_wide(x["d"]) * scales, values)


def _six_bits(s: Array) -> tuple[Array, Array]:
    """Unpack eight scales and eight minima of 6 bits from 12 bytes: the first four of each are whole, the others lie in two places."""
    import numpy

    low, high, both = s[:, :4], s[:, 4:8], s[:, 8:]
    scales = numpy.concatenate([low & 63, both & 15 | low >> 6 << 4], 1)
    least = numpy.concatenate([high & 63, both >> 4 | high >> 6 << 4], 1)
    return _wide(scales), _wide(least)


@_decodes("Q4_K", ("d", "<f2"), ("m", "<f2"), ("s", "u1", 12), ("q", "u1", 128))
def _q4_k(x: Any) -> Any:
    scales, least = _six_bits(x["s"])
    return _scaled(_wide(x["d"]) * scales, _wide(_parts(x["q"], 4, 32))) - (_wide(x["m"]) * least)[..., None]


@_decodes("Q5_K", ("d", "<f2"), ("m", "<f2"), ("s", "u1", 12), ("h", "u1", 32), ("q", "u1", 128))
def _q5_k(x: Any) -> Any:
    scales, least = _six_bits(x["s"])
    values = _wide(_parts(x["q"], 4, 32) | _parts(x["h"], 1, 32) << 4)
    return _scaled(_wide(x["d"]) * scales, values) - (_wide(x["m"]) * least)[..., None]


@_decodes("Q6_K", ("q", "u1", 128), ("h", "u1", 64), ("s", "i1", 16), ("d", "<f2"))
def _q6_k(x: Any) -> Any:
    values = _wide(_parts(x["q"], 4, 64) | _parts(x["h"], 2, 32) << 4) - 32
    return _scaled(_wide(x["d"]) * _wide(x["s"]), values)


# Values of a table


def _looked_up(table: tuple[int, ...], places: Array) -> Array:
    import numpy

    values: Array = numpy.array(table, "f4")[places]
    return values


_UNEVEN = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_E2M1 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # twice the value: the scales are halved


@_decodes("float4_e2m1fn", ("q", "u1", 1))
def _float4(x: Any) -> Any:
    """Two values a byte, the low four bits first (OCP Microscaling Formats 1.0, 5.3.3). There is -0, no infinity and no NaN."""
    import numpy

    table = numpy.array(_E2M1, "f4") * numpy.float32(0.5)
    table[8] = -0.0
    return table[_parts(x["q"], 4, 1)]


@_decodes("IQ4_NL", ("d", "<f2"), ("q", "u1", 16))
def _iq4_nl(x: Any) -> Any:
    return _wide(x["d"]) * _looked_up(_UNEVEN, _parts(x["q"], 4, 16))


@_decodes("IQ4_XS", ("d", "<f2"), ("h", "u1", 2), ("l", "u1", 4), ("q", "u1", 128))
def _iq4_xs(x: Any) -> Any:
    scales = _wide(_parts(x["l"], 4, 1) | _parts(x["h"], 2, 1) << 4) - 32
    return _scaled(_wide(x["d"]) * scales, _looked_up(_UNEVEN, _parts(x["q"], 4, 16)))


@_decodes("MXFP4", ("e", "u1"), ("q", "u1", 16))
def _mxfp4(x: Any) -> Any:
    """The scale is half of 2^(e - 127), a subnormal where e < 2 (OCP Microscaling Formats 1.0)."""
    import numpy

    e = x["e"].astype("u4")
    halves = numpy.where(e < 2, numpy.uint32(0x200000) << e, (e - 1) << numpy.uint32(23)).astype("<u4").view("<f4")
    return _wide(halves) * _looked_up(_E2M1, _parts(x["q"], 4, 16))


@_decodes("NVFP4", ("e", "u1", 4), ("q", "u1", 32))
def _nvfp4(x: Any) -> Any:
    """The scales are halves of E4M3 without a sign; 0x7F, which is NaN there, counts as 0."""
    import numpy

    power, part = (x["e"] >> 3 & 15).astype("i4"), _wide(x["e"] & 7)
    scales = numpy.where(power == 0, part * numpy.float32(2.0**-10), numpy.ldexp(1 + part / 8, power - 8))
    scales = numpy.where(x["e"] == 0x7F, numpy.float32(0), scales).astype("f4")
    return _scaled(scales, _looked_up(_E2M1, _parts(x["q"], 4, 8)))


@_decodes("TQ1_0", ("q", "u1", 48), ("h", "u1", 4), ("d", "<f2"))
def _tq1_0(x: Any) -> Any:
    """Five ternary digits a byte, as the digits of byte / 256 in base 3."""
    import numpy

    runs = ((x["q"][:, :32], 5), (x["q"][:, 32:], 5), (x["h"], 4))
    powers = numpy.array([1, 3, 9, 27, 81], "u1")[:, None]
    digits = [(run[:, None] * powers[:count]).reshape(len(run), -1) for run, count in runs]  # wraps: digits above are not needed
    return _wide(x["d"]) * (_wide(numpy.concatenate(digits, 1).astype("u2") * 3 >> 8) - 1)


@_decodes("TQ2_0", ("q", "u1", 64), ("d", "<f2"))
def _tq2_0(x: Any) -> Any:
    return _wide(x["d"]) * (_wide(_parts(x["q"], 2, 32)) - 1)
