"""Checkpoints written as a stream, in little memory and without torch: what is in a file is told as tensors, their bytes come as blocks.

A tensor without blocks is a hole: it reads as zeros, and takes no room on file systems that know sparse files.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile, ZipInfo

import numpy

BLOCK = 1 << 20
ZEROS = bytes(BLOCK)
# What a dtype is called in safetensors and in torch's pickles, and its bytes an element.
DTYPES = {
    "float32": ("F32", "FloatStorage", 4),
    "float16": ("F16", "HalfStorage", 2),
    "bfloat16": ("BF16", "BFloat16Storage", 2),
    "int32": ("I32", "IntStorage", 4),
    "uint8": ("U8", "ByteStorage", 1),
    "float8_e4m3fn": ("F8_E4M3", "Float8_e4m3fnStorage", 1),
}
Blocks = Callable[[int], Iterator[bytes]]


class Tensor(NamedTuple):
    """What a file says of a tensor, and where its bytes come from."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    blocks: Blocks | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        return self.elements * DTYPES[self.dtype][2]


def drawn(dtype: str = "float32", seed: int = 0, squared: bool = False) -> Blocks:
    """Normally distributed numbers without end. The pool's length is prime, so that it begins elsewhere in every tensor."""
    numbers = numpy.random.default_rng(seed).standard_normal(3_999_971, numpy.float32)
    if squared:
        numbers *= numbers
    upper_halves = dtype == "bfloat16"
    pool = ((numbers.view(numpy.uint32) >> 16).astype(numpy.uint16) if upper_halves else numbers.astype(dtype)).tobytes()
    del numbers
    at = 0

    def blocks(size: int) -> Iterator[bytes]:
        nonlocal at
        while size:
            block = pool[at : at + min(size, BLOCK)]
            at = (at + len(block)) % len(pool)
            size -= len(block)
            yield block

    return blocks


def zeros(size: int) -> Iterator[bytes]:
    for start in range(0, size, BLOCK):
        yield ZEROS[: min(BLOCK, size - start)]


def cut(text: bytes) -> Blocks:
    return lambda size: iter([text[:size]])


class Sparse(io.FileIO):
    """A new file in which blocks of zeros are holes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "x+")

    def write(self, block: Any) -> int:
        if len(block) < 4096 or bytes(block[:64]).strip(b"\0") or block != ZEROS[: len(block)]:
            return super().write(block)
        self.seek(len(block), io.SEEK_CUR)
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self.truncate(max(self.tell(), self.seek(0, io.SEEK_END)))
        super().close()


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    sizes = [tensor.size for tensor in tensors.values()]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for (name, tensor), size, end in zip(tensors.items(), sizes, accumulate(sizes), strict=True):
        header[name] = {"dtype": DTYPES[tensor.dtype][0], "shape": tensor.shape, "data_offsets": (end - size, end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with Sparse(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor, size in zip(tensors.values(), sizes, strict=True):
            if tensor.blocks is None:
                file.seek(size, io.SEEK_CUR)
            else:
                for block in tensor.blocks(size):
                    file.write(block)


class Name(NamedTuple):
    """A class of torch, by its name alone."""

    name: str


class Pickler(pickle._Pickler):  # Python's own: the one in C looks up what it names
    """Writes Tensors as torch.save does, and keeps them in the order of their storages."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=2)
        self.storages: list[Tensor] = []

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Name):
            self.write(pickle.GLOBAL + f"torch\n{obj.name}\n".encode())
        elif isinstance(obj, Tensor):
            self.write(pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n" + pickle.MARK)
            super().save(("storage", Name(DTYPES[obj.dtype][1]), str(len(self.storages)), "cpu", obj.elements))
            self.write(pickle.BINPERSID)
            for part in (0, tuple(obj.shape), strides(obj.shape), False, OrderedDict()):
                super().save(part)
            self.write(pickle.TUPLE + pickle.REDUCE)
            self.storages.append(obj)
        else:
            super().save(obj, save_persistent_id)


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def write_torch(path: Path, tree: object) -> None:
    """The zip that torch.save writes of a tree of dicts, lists, numbers and Tensors."""
    pickled = io.BytesIO()
    pickler = Pickler(pickled)
    pickler.dump(tree)
    with Sparse(path) as file, ZipFile(file, "w") as archive:
        _add(archive, f"{path.stem}/data.pkl", len(pickled.getvalue()), [pickled.getvalue()])
        _add(archive, f"{path.stem}/byteorder", 6, [b"little"])
        for key, tensor in enumerate(pickler.storages):
            _add(archive, f"{path.stem}/data/{key}", tensor.size, (tensor.blocks or zeros)(tensor.size))
        _add(archive, f"{path.stem}/version", 2, [b"3\n"])


def _add(archive: ZipFile, name: str, size: int, blocks: Iterable[bytes]) -> None:
    """A stored member whose data begin at a multiple of 64, as torch pads them."""
    large = size >= 1 << 31
    info = ZipInfo(name)
    padding = -(archive.start_dir + 30 + len(name) + 20 * large + 4) % 64
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=large) as member:
        for block in blocks:
            member.write(block)
