"""Digests of the contents of tensors, independent of format, order, strides and sharding.

SHA-256 as in FIPS 180-4, over the elements in C order, little-endian: the logical ones, after conjugation and negation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

from ..errors import Opaque
from ..numbers.shapes import record_shape
from ..tensors.blocks import Progress, fold
from ..tensors.checkpoint import Undecoded
from ..tensors.tensor import Tensor
from .contents import contents


class Digest(NamedTuple):
    """The digest of a tensor.

    Attributes:
        sha256: The SHA-256 of its elements as C-contiguous little-endian bytes, in hexadecimal. Those of a quantised tensor are followed by
            its quantiser; of a sparse one these are the indices and the values, of an array of objects the pickle of them.
        name: The name of the tensor.
        dtype: The name of its dtype.
        shape: Its shape, as in `8x4`.
    """

    sha256: str
    name: str
    dtype: str
    shape: str


class _Sha256:
    """A fold over all blocks of a tensor, in order. When it is pickled, to leave a worker, only its digest is kept."""

    def __init__(self) -> None:
        self._running = sha256()

    def add(self, block: bytearray) -> None:
        self._running.update(block)

    def merge(self, other: _Sha256, /) -> None:
        raise NotImplementedError("a SHA-256 is of all bytes in order: fold with divisible=False")

    def __getstate__(self) -> str:
        return self.hex

    def __setstate__(self, digest: str) -> None:
        self.__dict__["hex"] = digest

    @property
    def hex(self) -> str:
        return self.__dict__.get("hex") or self._running.hexdigest()


def digests(tensors: Mapping[str, Tensor], workers: int | None = None, progress: Progress | None = None) -> Iterator[Digest]:
    """Compute the digest of each tensor: of its elements, and of what else makes up its values (`contents`).

    Args:
        tensors: Tensors by name.
        workers: How many processes to use; None leaves it to `blocks.each`.
        progress: Called with the bytes done and the bytes in all.

    Yields:
        The digests, in the order of `tensors`.
    """
    hashed = fold(
        {name: contents(tensor) for name, tensor in tensors.items()},
        lambda tensor: _Sha256(),
        workers=workers,
        progress=progress,
        divisible=False,
    )
    for (name, tensor), (_, digest) in zip(tensors.items(), hashed, strict=True):
        yield Digest(digest.hex, name, tensor.dtype.name, record_shape(tensor.shape))


def undecoded_digests(undecoded: Mapping[str, Undecoded]) -> Iterator[Digest]:
    """Compute the digests of the bytes that are in no tensor: their dtype is `bytes`, their shape how many there are.

    Raises:
        Opaque: Some are not read at all.
    """
    for name, (what, storage, _) in undecoded.items():
        if storage is None:
            raise Opaque(f"{name} is {what}, which is not read", "choose the tensors by patterns")
        running = sha256()
        for block in storage.blocks():
            running.update(block)
        yield Digest(running.hexdigest(), name, "bytes", str(storage.nbytes))


def whole(parts: Iterable[Digest]) -> str:
    r"""Combine digests: the SHA-256, in hexadecimal, of the lines `name⇥dtype⇥shape⇥digest\n`, in UTF-8, sorted by their bytes."""
    lines = [f"{part.name}\t{part.dtype}\t{part.shape}\t{part.sha256}\n".encode("utf-8", "surrogatepass") for part in parts]
    return sha256(b"".join(sorted(lines))).hexdigest()
