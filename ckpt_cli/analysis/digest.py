"""Digests of what tensors hold, independent of format, order, strides and sharding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

from ..tensors.blocks import Progress, fold
from ..tensors.tensor import Tensor


class Digest(NamedTuple):
    """SHA-256, in hex, of a tensor's elements as C-contiguous little-endian bytes; empty where it has none of its own (sparse, object)."""

    sha256: str
    name: str
    dtype: str
    shape: str


class _Sha256:
    """A fold over all blocks of a tensor in order. It leaves a worker as its digest alone."""

    def __init__(self) -> None:
        self._running = sha256()

    def add(self, block: bytearray) -> None:
        self._running.update(block)

    def merge(self, other: _Sha256, /) -> None:
        raise NotImplementedError("a SHA-256 is of all bytes in order: fold with divisible=False")

    def __getstate__(self) -> str:
        return self.hex

    def __setstate__(self, found: str) -> None:
        self.__dict__["hex"] = found

    @property
    def hex(self) -> str:
        return self.__dict__.get("hex") or self._running.hexdigest()


def has_bytes(tensor: Tensor) -> bool:
    """True where the elements have bytes of their own in C order."""
    if not tensor.layout.in_storage:
        return False
    return tensor.contiguous or (tensor.dtype.addressable and not tensor.layout)


def digests(tensors: Mapping[str, Tensor], workers: int | None = None, progress: Progress | None = None) -> Iterator[Digest]:
    """The digest of each tensor, in order."""
    hashed = fold(
        {name: tensor for name, tensor in tensors.items() if has_bytes(tensor)},
        lambda tensor: _Sha256(),
        workers=workers,
        progress=progress,
        divisible=False,
    )
    for name, tensor in tensors.items():
        found = next(hashed)[1].hex if has_bytes(tensor) else ""
        yield Digest(found, name, tensor.dtype.name, "x".join(map(str, tensor.shape)))


def whole(parts: Iterable[Digest]) -> str:
    """One digest of all: SHA-256 over the lines `name⇥dtype⇥shape⇥digest\\n`, in UTF-8, sorted by their bytes."""
    lines = [f"{part.name}\t{part.dtype}\t{part.shape}\t{part.sha256}\n".encode("utf-8", "surrogatepass") for part in parts]
    return sha256(b"".join(sorted(lines))).hexdigest()
