"""All that a verdict on a tensor is about: the bytes that make up its values, whatever its layout.

A plain tensor is its elements. A quantised one is its integers and its quantiser, a sparse one its indices and its values, an array of
objects the pickle of them. What of a checkpoint is in no tensor is `Checkpoint.undecoded`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import pack

from ..numbers.dtypes import DTYPES
from ..storage.storage import Memory, Storage
from ..storage.strides import Strided
from ..storage.tiles import chained
from ..tensors.tensor import Layout, Tensor


def contents(tensor: Tensor) -> Tensor:
    """Return a tensor without plain elements as a tensor of the bytes that make up its values; a plain one as it is."""
    if tensor.layout == Layout.PLAIN and (tensor.contiguous or tensor.dtype.addressable):
        return tensor
    runs = list(_runs(tensor))
    whole = runs[0] if len(runs) == 1 else chained(runs)
    return Tensor.whole(DTYPES["uint8"], (whole.nbytes,), whole)


def _runs(tensor: Tensor) -> Iterator[Storage]:
    if tensor.layout.sparse:
        for part in tensor.parts:
            yield from _runs(part) if isinstance(part, Tensor) else [Memory(part.encode())]
        return
    if tensor.layout == Layout.OBJECT:
        yield tensor.storage
        return
    yield _elements(tensor)
    if tensor.layout == Layout.QUANTISED:
        yield Memory(quantiser_bytes(tensor))


def _elements(tensor: Tensor) -> Storage:
    if tensor.contiguous or tensor.dtype.elements > 1:
        return tensor.elements() if tensor.contiguous else tensor.storage
    return Strided(tensor.storage, tensor.dtype.nbytes, tensor.shape, tensor.strides, tensor.offset)


def quantiser_bytes(tensor: Tensor) -> bytes:
    """Return the quantiser of a tensor: its scales as float64, its zero points and its axis (if it has one) as int64, little-endian.

    Zero points that are no integers (torch.per_channel_affine_float_qparams) are float64.
    """
    scales, zeros, *axis = tensor.parts[1:]
    return _packed(scales, "d") + _packed(zeros, "q") + b"".join(pack("<q", int(str(one))) for one in axis)


def _packed(part: Tensor | str, letter: str) -> bytes:
    """The scales, or the zero points: one of the whole tensor, or one for each slice along the axis."""
    if isinstance(part, str):
        return pack(f"<{letter}", float(part) if letter == "d" else int(part))
    values = part.array().reshape(-1).tolist()
    letter = "d" if part.dtype.kind == "f" else letter
    return pack(f"<{len(values)}{letter}", *values)


def quantiser_text(tensor: Tensor) -> str:
    """Return the quantiser of a tensor in words: `per_tensor_affine, scale 0.01, zero point 0`; of many scales, their digest."""
    from hashlib import sha256

    scheme, *rest = tensor.parts
    name = str(scheme).removeprefix("torch.")
    if all(isinstance(part, str) for part in rest):
        return f"{name}, scale {rest[0]}, zero point {rest[1]}"
    return f"{name}, axis {rest[2]}, sha256 {sha256(quantiser_bytes(tensor)).hexdigest()}"


def left_out(undecoded: Mapping[str, object]) -> str:
    """Return a sentence about what a command did not look at; empty where there is no such thing."""
    if not undecoded:
        return ""
    names = list(undecoded)
    return f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}: not decoded, and left out"
