"""The classes and functions that `torch.load(weights_only=True)` allows in a pickle: dtypes, storages, tensors, and what rebuilds them.

As in torch/_weights_only_unpickler.py, `_get_allowed_globals`, of torch 2.13.
"""

from __future__ import annotations

from collections.abc import Iterator

_PLAIN = """
collections.OrderedDict collections.Counter builtins.bytearray builtins.set builtins.complex _codecs.encode
torch.nn.parameter.Parameter torch.serialization._get_layout torch.Size torch.Tensor torch.device
torch.storage.UntypedStorage torch.storage.TypedStorage torch._tensor._rebuild_from_type_v2
"""
_IN_TORCH = """
float64 float32 float16 bfloat16 float8_e5m2 float8_e8m0fnu float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz float4_e2m1fn_x2 complex128
complex64 complex32 bool qint8 qint32 quint8 quint4x2 quint2x4 bits16 bits8 bits4x2 bits2x4 bits1x8
int1 int2 int3 int4 int5 int6 int7 int8 int16 int32 int64 uint1 uint2 uint3 uint4 uint5 uint6 uint7 uint8 uint16 uint32 uint64
per_tensor_affine per_tensor_symmetric per_channel_affine per_channel_symmetric per_channel_affine_float_qparams
QUInt8Storage QUInt2x4Storage QUInt4x2Storage QInt32Storage QInt8Storage
"""
_REBUILD = """
tensor tensor_v2 tensor_v3 qtensor sparse_tensor nested_tensor wrapper_subclass parameter parameter_with_state meta_tensor_no_storage
device_tensor_from_numpy device_tensor_from_cpu_tensor
"""
_ELEMENTS = ("BFloat16", "Byte", "Bool", "Char", "Double", "Float", "Half", "Int", "Long", "Short")


def _allowed() -> Iterator[str]:
    yield from _PLAIN.split()
    yield from (f"torch.{name}" for name in _IN_TORCH.split())
    yield from (f"torch._utils._rebuild_{name}" for name in _REBUILD.split())
    for device in ("", "cuda."):
        yield from (f"torch.{device}{element}Storage" for element in (*_ELEMENTS, "ComplexDouble", "ComplexFloat"))
        yield from (f"torch.{device}{element}Tensor" for element in _ELEMENTS)
        yield from (f"torch.{device}sparse.{element}Tensor" for element in _ELEMENTS if element != "Bool")


ALLOWED = frozenset(_allowed())
