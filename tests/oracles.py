"""What torch and safetensors say of a file, in a form to compare: dtype, shape and the bits of every tensor."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

_NAMES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64 complex32 complex64 complex128 "
    "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
)
DTYPES = _NAMES.split()
SAFE_DTYPES = [name for name in DTYPES if name not in ("complex32", "complex128")]

Bits = tuple[str, tuple[int, ...], bytes]


def bits(tensor: torch.Tensor) -> Bits:
    """What makes two tensors the same: dtype, shape, and the elements as C-contiguous bytes."""
    plain = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
    return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), plain.view(torch.uint8).numpy().tobytes()


def all_bits(tensors: dict[str, torch.Tensor]) -> dict[str, Bits]:
    return {name: bits(tensor) for name, tensor in tensors.items()}


def loaded(path: Path, weights_only: bool = True) -> Any:
    """The file as its own library loads it."""
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    return torch.load(path, weights_only=weights_only)


def saved(path: Path, things: Any) -> Path:
    """The file that torch.save writes."""
    torch.save(things, path)
    return path


def read_bits(path: Path) -> dict[str, Bits]:
    """What ckpt reads of the file."""
    from ckpt_cli import reading

    return {name: (t.dtype.name, t.shape, t.tobytes()) for name, t in reading.open(str(path)).items()}


def example(dtype: str, *shape: int, seed: int = 0) -> torch.Tensor:
    """A tensor of random bits, so of any value: NaNs, infinities, denormals. Booleans are 0 and 1."""
    element = torch.empty((), dtype=getattr(torch, dtype)).element_size()
    count = element
    for n in shape:
        count *= n
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 2 if dtype == "bool" else 256, (count,), dtype=torch.uint8, generator=generator)
    return raw.view(getattr(torch, dtype)).reshape(shape)


def members(path: Path) -> dict[str, bytes]:
    """The members of a torch zip, below its root."""
    with zipfile.ZipFile(path) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def safetensors_file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with any header at all: a JSON document, text, or bytes."""
    raw = header if isinstance(header, bytes) else header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def safetensors_header(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
