"""Paddle's inference parameters (`paddle.jit.save`, `save_inference_model`; .pdiparams): tensors in a row, without names.

    for each: version (u32, 0), levels of detail (u64, 0), version (u32, 0), length (i32) of a TensorDesc, the TensorDesc, the elements
    TensorDesc (protobuf): 1: data type, 2: dims

As in paddle/fluid/framework/lod_tensor.cc and framework.proto. The tensors stand in the order of their names, which are in the program
beside the file (NAME.json); where no program fits, they are called `param_0`, `param_1`, … Values are written over where they lie.
"""

from __future__ import annotations

import os
from typing import Any

from ...disk.opening import open_file
from ...errors import Malformed
from ...numbers.dtypes import DTYPES
from ...numbers.shapes import nbytes_of
from ...storage.file import File
from ...storage.storage import Extent
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from .. import Patcher, formats

_DTYPES = {0: "bool", 1: "int16", 2: "int32", 3: "int64", 4: "float16", 5: "float32", 6: "float64", 20: "uint8", 21: "int8", 22: "bfloat16",
           23: "complex64", 24: "complex128", 32: "float8_e4m3fn", 33: "float8_e5m2"}  # fmt: skip
_HEAD = 20  # bytes before the TensorDesc
_MOST_DESC = 1024
_MOST_TENSORS = 1_000_000
_MOST_PROGRAM = 256 << 20


class PaddleParams(Patcher):
    """Parameters of `paddle.jit.save`."""

    name = "paddle-jit"
    title = "Paddle inference parameters (values alone are edited)"
    suffixes = (".pdiparams",)
    axes = "io"

    def sniff(self, file: File) -> bool:
        """The zeros of the first tensor's head, and the tags of its TensorDesc."""
        size = int.from_bytes(file.head[16:20], "little")
        return (
            file.head[:16] == bytes(16)
            and 4 <= size <= _MOST_DESC
            and file.head[20:21] == b"\x08"
            and file.head[22:23] in (b"\x10", b"\x12")
        )

    def read(self, file: File) -> Checkpoint:
        """The tensors, by the names in the program beside the file; a note says so where there is none that fits."""
        tensors: list[Tensor] = []
        at = 0
        while at < file.size:
            tensor = _tensor(file, at)
            if len(tensors) == _MOST_TENSORS:
                raise Malformed(f"the file holds over {_MOST_TENSORS:,} tensors")
            tensors.append(tensor)
            at = tensor.storage.place() + tensor.nbytes  # type: ignore[attr-defined]
        names, note = _names(file, tensors)
        return Checkpoint(dict(zip(names, tensors, strict=True)), notes=(note,) if note else ())


def _tensor(file: File, at: int) -> Tensor:
    """The tensor that begins at byte `at`."""
    head = file.read(at, _HEAD)
    size = int.from_bytes(head[16:20], "little", signed=True)
    if head[:16] != bytes(16) or not 0 < size <= _MOST_DESC:
        raise Malformed(f"at byte {at:,} begins no tensor, or one with levels of detail, which is not read")
    number, shape = _desc(file.read(at + _HEAD, size))
    if number not in _DTYPES:
        raise Malformed(f"Paddle's data type {number} is not known")
    dtype = DTYPES[_DTYPES[number]]
    start, nbytes = at + _HEAD + size, nbytes_of(dtype, shape)
    file.read(min(start + nbytes, 1 << 62), 0)  # it ends within the file
    return Tensor.whole(dtype, shape, Extent(file, start, nbytes))


def _desc(raw: bytes) -> tuple[int, tuple[int, ...]]:
    """The number of the data type, and the dims: a field for each, or all packed into one."""
    from ..encodings.protobuf import varint

    number, dims, at = -1, [], 0
    while at < len(raw):
        key, at = varint(raw, at, len(raw))
        value, at = varint(raw, at, len(raw))
        if key == 0x08:
            number = value
        elif key == 0x10:
            dims.append(value)
        elif key == 0x12 and at + value <= len(raw):
            stop = at + value
            while at < stop:
                value, at = varint(raw, at, len(raw))
                dims.append(value)
        else:
            raise Malformed("a tensor is described in an unknown way")
    if len(dims) > 64 or any(n >= 1 << 63 for n in dims):
        raise Malformed("a tensor of over 64 dimensions, or of a negative one")
    return number, tuple(dims)


def _names(file: File, tensors: list[Tensor]) -> tuple[list[str], str]:
    """The names in the program beside the file, if its shapes are those of the file, else numbered ones; and a note that says so."""
    numbered = [f"param_{i}" for i in range(len(tensors))]
    program = f"{os.path.splitext(file.path)[0]}.json"
    if not os.path.isfile(program):
        return numbered, f"{file.path}: the names are in the program, {os.path.basename(program)}, which is not there"
    parameters = sorted(_parameters(open_file(program)).items())
    shapes = [tensor.shape for tensor in tensors]
    if len(parameters) > len(shapes) and [shape for _, shape in parameters[: len(shapes)]] == shapes:
        raise Malformed(f"truncated: {len(shapes):,} of the program's {len(parameters):,} parameters are there", "copy it again")
    if [shape for _, shape in parameters] != shapes:
        return numbered, f"{file.path}: {os.path.basename(program)} is of another model: its names are left out"
    return [name for name, _ in parameters], ""


def _parameters(file: File) -> dict[str, tuple[int, ...]]:
    """Name → shape of the parameters in a program; none where it cannot be read.

    It is JSON: {"#": "p", "A": [0, 1, 1, NAME], "O": {"TT": {"D": [dtype, SHAPE]}}}.
    """
    from ..encodings import strict_json

    if file.size > _MOST_PROGRAM:
        return {}
    try:
        document = strict_json.loads(file.read(0, file.size))
        found: dict[str, Any] = {}
        for op in document["program"]["regions"][0]["blocks"][0]["ops"]:
            if op.get("#") == "p":
                found[op["A"][3]] = tuple(op["O"]["TT"]["D"][1])
        return found if all(type(name) is str for name in found) else {}
    except (Malformed, LookupError, TypeError, AttributeError):
        return {}


formats.add(PaddleParams.name, PaddleParams())
