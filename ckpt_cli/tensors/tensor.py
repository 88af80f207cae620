"""A tensor: dtype, shape, strides and offset over a storage. No byte is read before its values are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..errors import Malformed, Opaque, naming
from ..numbers.dtypes import DType
from ..numbers.shapes import contiguous_strides, nbytes_of, numel_of, show_shape, span
from ..storage.storage import Overlay, Slice, Storage
from ..storage.uncopied import Uncopied

if TYPE_CHECKING:
    import numpy
    import torch

    from ..storage.strides import Strided
    from .indexing import Slicer


_MOST_REPEATED = 4 << 30  # bytes: a view that repeats its storage is gathered up to this size, and listed at any


class Layout(StrEnum):
    """How a tensor keeps its elements, and with that what can be done with it. Only plain ones are edited."""

    PLAIN = ""  # strided elements
    QUANTISED = "quantised"  # torch: strided integers; scales and zero points are among the `parts`
    UNPACKED = "unpacked"  # JAX: types of less than a byte, kept one a byte
    OPAQUE = "opaque"  # bytes that are no numbers: text, records
    OBJECT = "object"  # Python objects, which are not read
    SPARSE_COO = "sparse_coo"
    SPARSE_CSR = "sparse_csr"
    SPARSE_CSC = "sparse_csc"
    SPARSE_BSR = "sparse_bsr"
    SPARSE_BSC = "sparse_bsc"
    SPARSE_ROW = "sparse_row"  # MXNet: some rows of a matrix

    @property
    def sparse(self) -> bool:
        """Whether some elements only are kept, and their places."""
        return self.startswith("sparse")

    @property
    def in_storage(self) -> bool:
        """Whether the bytes of each element lie in the storage."""
        return self != "object" and not self.startswith("sparse")


_PLAIN = Layout.PLAIN


class Tensor(Uncopied):
    """A view of a storage. Made by `whole` and `view`, where its geometry is checked against the bytes.

    Attributes:
        dtype: the element type.
        shape: the size of each axis.
        storage: the bytes viewed; tensors that share memory share the storage.
        offset: the first element, in elements of `dtype`.
        layout: how elements are kept.
        parts: where the layout is not plain, the tensors and texts that together with the storage make up the values (indices, scales).
    """

    __slots__ = ("_strides", "dtype", "layout", "offset", "parts", "shape", "storage")

    def __init__(
        self, dtype: DType, shape: tuple[int, ...], storage: Storage, strides: tuple[int, ...] | None, offset: int, layout: Layout
    ) -> None:
        self.dtype, self.shape, self.storage, self._strides = dtype, shape, storage, strides
        self.offset, self.layout = offset, layout
        self.parts: tuple[Tensor | str, ...] = ()

    @classmethod
    def whole(cls, dtype: DType, shape: tuple[int, ...], storage: Storage) -> Tensor:
        """Return a C-contiguous tensor that is all of `storage`.

        Raises:
            Malformed: shape and dtype take other bytes than the storage has.
        """
        need = nbytes_of(dtype, shape)
        if need != storage.nbytes:
            raise Malformed(f"shape {show_shape(shape)} of {dtype.name} takes {need:,} bytes, the data has {storage.nbytes:,}")
        return cls(dtype, shape, storage, None, 0, _PLAIN)

    @classmethod
    def view(
        cls, dtype: DType, shape: tuple[int, ...], storage: Storage, strides: tuple[int, ...], offset: int, layout: Layout = _PLAIN
    ) -> Tensor:
        """Return a strided view; `strides` and `offset` count elements.

        Raises:
            Malformed: an element would lie outside of the storage.
        """
        if len(strides) != len(shape) or any(n < 0 for n in shape):
            raise Malformed(f"shape {shape} and strides {strides} do not agree")
        low, high = span(shape, strides, offset)
        beyond = 0 not in shape and -(-high // dtype.elements) * dtype.nbytes > storage.nbytes  # an empty view may begin anywhere
        if low < 0 or beyond:
            raise Malformed(f"a view of elements {low:,} to {high:,} lies outside of its storage of {storage.nbytes:,} bytes")
        contiguous = strides == contiguous_strides(shape)
        return cls(dtype, shape, storage, None if contiguous else strides, offset, layout)

    @property
    def strides(self) -> tuple[int, ...]:
        """The elements from one index to the next, along each axis."""
        return contiguous_strides(self.shape) if self._strides is None else self._strides

    @property
    def numel(self) -> int:
        """The number of elements."""
        return numel_of(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of its elements, each counted once."""
        return nbytes_of(self.dtype, self.shape)

    @property
    def start(self) -> int:
        """The byte of the storage at which the first element begins."""
        return self.offset * self.dtype.nbytes // self.dtype.elements

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie in the storage one after another, in C order."""
        if self._strides is None or 0 in self.shape:
            return True
        want = contiguous_strides(self.shape)
        return all(n == 1 or s == w for n, s, w in zip(self.shape, self._strides, want, strict=True))

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for tensors that are tied: the same elements of the same storage."""
        strides = () if self._strides is None or self.contiguous else self._strides
        return (id(self.storage), self.start, self.dtype.name, self.shape, strides)

    def plain(self, name: str = "") -> Tensor:
        """Return the tensor itself, where its elements can be computed with and edited.

        Raises:
            Opaque: it is sparse, quantised, of less than a byte an element, or no numbers.
        """
        if not self.layout and self.dtype.addressable:
            return self
        who, kind, pattern = name or "the tensor", self.layout or self.dtype.name, name or "*"
        if self.numeric:
            raise Opaque(f"{who} is {kind}: values in blocks cannot be edited", f"make them numbers first: ckpt cast … float32 '{pattern}'")
        decoded = f"decode it first: `ckpt cast … float32 '{pattern}' --dequantise`, or " if self.layout == "quantised" else ""
        raise Opaque(f"{who} is {kind}: its values cannot be edited or read element by element", f"{decoded}leave it out by a pattern")

    @property
    def numeric(self) -> bool:
        """Whether each element is a number, be it one that is decoded from a block."""
        if self.layout:
            return False
        if self.dtype.addressable:
            return True
        from ..numbers.quantised import decodable

        return self._has_whole_blocks and decodable(self.dtype)

    @property
    def _has_whole_blocks(self) -> bool:
        """Whether no block holds an element of another tensor."""
        if self.contiguous:
            return self.numel % self.dtype.elements == 0
        from ..numbers.packing import in_blocks

        return self.dtype.nbytes == 1 and in_blocks(self.dtype, self.shape, self.strides, self.offset) is not None

    def decoded(self, name: str = "") -> Tensor:
        """Return its numbers as a plain tensor: itself, or float32 decoded from known quantised blocks when read.

        Raises:
            Opaque: it holds no numbers.
        """
        if self.dtype.addressable or not self.numeric:
            return self.plain(name)
        from ..numbers.quantised import FLOAT, decoder
        from ..storage.mapped import Mapped

        numbers = Mapped(self.elements(), decoder(self.dtype), self.dtype.nbytes, self.dtype.elements * FLOAT.nbytes)
        return Tensor.whole(FLOAT, self.shape, numbers)

    def elements(self) -> Storage:
        """Return its elements alone, as C-contiguous bytes.

        Raises:
            Opaque: its elements do not lie in the storage, or repeat it beyond all memory.
        """
        if not self.layout.in_storage:
            raise Opaque(f"a tensor that is {self.layout} has no bytes of its own", "leave it out by a pattern")
        if 0 in self.shape:
            return Slice(self.storage, 0, 0)
        if not self.contiguous:
            if self.nbytes > max(_MOST_REPEATED, self.storage.nbytes):
                raise Opaque("a tensor that repeats its bytes beyond all memory is never made out", "leave it out by a pattern")
            return (self if self.dtype.elements > 1 and self._has_whole_blocks else self.plain())._strided()
        if self.start == 0 and self.nbytes == self.storage.nbytes:
            return self.storage
        return Slice(self.storage, self.start, self.nbytes)

    def _strided(self) -> Strided:
        from ..numbers.packing import in_blocks
        from ..storage.strides import Strided

        geometry = in_blocks(self.dtype, self.shape, self.strides, self.offset) if self.dtype.elements > 1 else None
        return Strided(self.storage, self.dtype.nbytes, *(geometry or (self.shape, self.strides, self.offset)))

    def storage_with(self, contents: Storage) -> Storage:
        """Return the storage with this view's elements replaced by `contents` (C-contiguous)."""
        if self.contiguous and contents.nbytes == self.storage.nbytes:
            return contents
        if self.contiguous:
            return Overlay(self.storage, self.start, contents)
        from ..storage.strides import Scattered

        return Scattered(self.storage, self._strided(), contents)

    def over(self, storage: Storage) -> Tensor:
        """Return the same view of another storage of the same size."""
        return Tensor(self.dtype, self.shape, storage, self._strides, self.offset, self.layout)

    def cast(self, to: DType, name: str) -> Tensor:
        """Return a new contiguous tensor of dtype `to`, converted block by block when read, to nearest even.

        Quantised blocks are decoded; nothing is cast to them. Reading raises EditError, with `name`, where an integer does not fit.
        """
        from ..numbers.values import caster
        from ..storage.mapped import Mapped

        source = self.decoded(name)
        if source.dtype == to:
            return source
        converted = Mapped(source.elements(), caster(source.dtype, to), source.dtype.nbytes, to.nbytes)
        converted.watch(lambda: naming(name))
        return Tensor.whole(to, self.shape, converted)

    def array(self) -> numpy.ndarray[Any, Any]:
        """Return its values as a numpy array; only the bytes that it needs are read. complex32 becomes complex64."""
        from .arrays import as_numpy

        return as_numpy(self)

    def torch(self) -> torch.Tensor:
        """Return its values as a tensor of torch in memory of its own; numbers of quantised blocks are decoded to float32.

        Raises:
            EditError: it has no plain elements, or torch has no such dtype.
        """
        from .arrays import as_torch

        return as_torch(self.decoded())

    @property
    def slice(self) -> Slicer:
        """A part of it, by numpy's basic indexing: `tensor.slice[0, :5]` is a tensor of which only the bytes that it needs are read."""
        from .indexing import Slicer

        return Slicer(self)

    def tobytes(self) -> bytes:
        """Return its elements, C-contiguous and little-endian."""
        return self.elements().read()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> numpy.ndarray[Any, Any]:
        """Return what `numpy.asarray(tensor)` is; numbers of quantised blocks are decoded to float32."""
        if copy is False:
            raise ValueError("the values of a tensor are read from its file: an array of them is always a copy")
        array = self.decoded().array()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(self, **wanted: Any) -> Any:
        """Return what `torch.as_tensor(tensor)` takes, whatever the dtype."""
        return self.torch().__dlpack__(**wanted)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # memory of the CPU

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self.slice[at] for at in range(len(self)))

    def __bool__(self) -> bool:
        return True  # a tensor that is there, whatever its length: no value is read to tell

    def __repr__(self) -> str:
        kind = f"{self.layout} {self.dtype.name}" if self.layout else self.dtype.name
        return f"Tensor({kind} {show_shape(self.shape)})"
