"""Element types: one table of all that a format may hold. Each format has one table from its own codes to these types, and inverts it.

Names are those of numpy and ml_dtypes. Block-quantised types have ggml's names (Q4_0), and the sizes of its ggml-common.h. Types are
counted in blocks, so that sub-byte and block-quantised ones need no special case.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import EditError

if TYPE_CHECKING:
    import numpy


class DType(NamedTuple):
    """An element type.

    Attributes:
        name: as numpy, ml_dtypes or ggml calls it.
        kind: numpy's letter (b, i, u, f, c), or q for quantised and packed types, O for opaque ones.
        elements: the values in a block; 1 where each has bytes of its own.
        nbytes: the bytes of a block.
    """

    name: str
    kind: str
    elements: int
    nbytes: int

    def __str__(self) -> str:
        return self.name

    @property
    def addressable(self) -> bool:
        """Whether each element has bytes of its own and a plain numeric value."""
        return self.elements == 1 and self.kind in "biufc"

    @property
    def part(self) -> int:
        """The bytes that byte order applies to: half of a complex element, else the element."""
        return self.nbytes // 2 if self.kind == "c" else self.nbytes


_TABLE = """
bool b 1 1            uint8 u 1 1           int8 i 1 1
uint16 u 1 2          int16 i 1 2           uint32 u 1 4          int32 i 1 4
uint64 u 1 8          int64 i 1 8           float16 f 1 2         bfloat16 f 1 2
float32 f 1 4         float64 f 1 8         complex32 c 1 4       complex64 c 1 8
complex128 c 1 16     float8_e4m3fn f 1 1   float8_e5m2 f 1 1     float8_e4m3fnuz f 1 1
float8_e5m2fnuz f 1 1 float8_e8m0fnu f 1 1  qint8 q 1 1           quint8 q 1 1
qint32 q 1 4          quint4x2 q 2 1        quint2x4 q 4 1        qint16 q 1 2
quint16 q 1 2
"""
_NOT_IN_TORCH = """
int4 q 2 1            uint4 q 2 1           int2 q 4 1            uint2 q 4 1
float4_e2m1fn q 2 1   float6_e2m3fn q 4 3   float6_e3m2fn q 4 3   float8_e4m3b11fnuz f 1 1
"""
_GGML = """
Q4_0 q 32 18          Q4_1 q 32 20          Q5_0 q 32 22          Q5_1 q 32 24
Q8_0 q 32 34          Q8_1 q 32 36          Q8_K q 256 292        Q1_0 q 128 18
Q2_K q 256 84         Q3_K q 256 110        Q4_K q 256 144        Q5_K q 256 176
Q6_K q 256 210        IQ1_S q 256 50        IQ1_M q 256 56        IQ2_XXS q 256 66
IQ2_XS q 256 74       IQ2_S q 256 82        IQ3_XXS q 256 98      IQ3_S q 256 110
IQ4_NL q 32 18        IQ4_XS q 256 136      TQ1_0 q 256 54        TQ2_0 q 256 66
MXFP4 q 32 17         NVFP4 q 64 36
"""


def _table(text: str) -> dict[str, DType]:
    words = text.split()
    rows = zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True)
    return {name: DType(name, kind, int(elements), int(nbytes)) for name, kind, elements, nbytes in rows}


BLOCKS = _table(_GGML) | _table(_NOT_IN_TORCH)  # types that torch has no tensors of under these names
DTYPES = _table(_TABLE) | BLOCKS
_CASED = {name.lower(): name for name in BLOCKS}

# What else dtypes are called: by torch and its users, by C, and by the codes of safetensors.
_SHORT = {
    "half": "float16", "float": "float32", "double": "float64", "short": "int16", "long": "int64", "byte": "uint8", "char": "int8",
    "bf16": "bfloat16", "fp8": "float8_e4m3fn", "f8": "float8_e4m3fn", "fp4": "float4_e2m1fn", "f4": "float4_e2m1fn",
    "fp6": "float6_e3m2fn", "float8": "float8_e4m3fn", "float4": "float4_e2m1fn", "float8_e4m3": "float8_e4m3fn",
    "float8_e8m0": "float8_e8m0fnu", "float6_e2m3": "float6_e2m3fn", "float6_e3m2": "float6_e3m2fn", "float4_e2m1": "float4_e2m1fn",
    "float4_e2m1fn_x2": "float4_e2m1fn", "cfloat": "complex64", "cdouble": "complex128", "chalf": "complex32",
}  # fmt: skip
_LETTER = {"f": "float", "fp": "float", "i": "int", "u": "uint", "c": "complex", "": "float"}
_ABBREVIATED = r"(f|fp|i|u|c|)((?<=[a-z])\d+|\d?_?e\dm\d\w*)"


def named(name: str) -> DType:
    """Return the type called `name`; short forms (`bf16`, `f32`, `fp8`, `e5m2`), `q4_0` and `torch.float32` are understood.

    Raises:
        UnknownName: there is no such type; the error names the nearest.
    """
    from ..errors import UnknownName, did_you_mean

    plain = name.strip().removeprefix("torch.").removeprefix("numpy.").removeprefix("np.").lower().replace("-", "_")
    for spelling in (plain, _SHORT.get(plain), _CASED.get(plain), *_in_full(plain)):
        if spelling in DTYPES:
            return DTYPES[spelling]
    meant = did_you_mean(next(iter(_in_full(plain)), plain), DTYPES)
    raise UnknownName(f"no dtype is called {name!r}", meant or "for instance float32, bfloat16, int64")


def _in_full(short: str) -> list[str]:
    """The names that an abbreviation may stand for: `f32` is float32, `fp8_e5m2` and `e5m2` are float8_e5m2."""
    match = re.fullmatch(_ABBREVIATED, short)
    if not match:
        return []
    word, rest = _LETTER[match[1]], match[2].lstrip("_")
    if rest.startswith("e"):
        bits = 1 + int(rest[1]) + int(rest[3])
        rest = f"{8 if bits == 9 else bits}_{rest}"  # e8m0 has no sign
    return [word + rest, _SHORT.get(word + rest, "")]


def opaque(name: str, nbytes: int) -> DType:
    """Return a type that is listed under `name` and copied, and that nothing can compute with (`<U3`, `object`)."""
    return DType(name, "O", 1, nbytes)


def to_numpy(dtype: DType) -> numpy.dtype[Any]:
    """Return the numpy dtype of one element. Raises EditError for complex32, quantised and sub-byte types, which have none."""
    if not dtype.addressable or dtype.name == "complex32":
        raise EditError(f"{dtype.name} has no plain elements", "it can be listed and copied, not computed with")
    import numpy

    if dtype.name == "bfloat16" or dtype.name.startswith("float8"):
        import ml_dtypes

        small: numpy.dtype[Any] = numpy.dtype(getattr(ml_dtypes, dtype.name))
        return small
    return numpy.dtype(dtype.name)
