"""A tensor: a view of a storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Malformed, Opaque, ReadError, naming
from ..numbers.dtypes import DType
from ..numbers.quantised import FLOAT, decodable, decoder
from ..numbers.shapes import contiguous_strides, nbytes_of, numel_of, show_shape, span
from ..storage.mapped import Mapped
from ..storage.storage import Overlay, Slice, Storage
from ..storage.strides import Scattered, Strided

if TYPE_CHECKING:
    import numpy


_MOST_REPEATED = 4 << 30  # bytes: a view that repeats its storage is gathered up to this size, and listed at any


class Tensor:
    """`shape`, `strides` and `offset` (in elements of `dtype`) over one `storage`: a view.

    `layout` is empty for a plain tensor, else it says what keeps it from being one: `sparse_coo`, `quantised`, `object`;
    `parts` are then the tensors and texts that, with its storage, say what it holds (indices, scales).
    Made by `whole` and `view`, the one door where geometry is checked against bytes.
    """

    __slots__ = ("_strides", "dtype", "layout", "offset", "parts", "shape", "storage")

    def __init__(
        self, dtype: DType, shape: tuple[int, ...], storage: Storage, strides: tuple[int, ...] | None, offset: int, layout: str
    ) -> None:
        self.dtype, self.shape, self.storage, self._strides = dtype, shape, storage, strides
        self.offset, self.layout = offset, layout
        self.parts: tuple[Tensor | str, ...] = ()

    @classmethod
    def whole(cls, dtype: DType, shape: tuple[int, ...], storage: Storage) -> Tensor:
        """A C-contiguous tensor that is all of `storage`. Raises Malformed where shape × dtype is not its bytes."""
        need = nbytes_of(dtype, shape)
        if need != storage.nbytes:
            raise Malformed(f"shape {show_shape(shape)} of {dtype.name} takes {need:,} bytes, the data has {storage.nbytes:,}")
        return cls(dtype, shape, storage, None, 0, "")

    @classmethod
    def view(
        cls, dtype: DType, shape: tuple[int, ...], storage: Storage, strides: tuple[int, ...], offset: int, layout: str = ""
    ) -> Tensor:
        """A strided view. Raises Malformed where an element would lie outside of `storage`."""
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
        return contiguous_strides(self.shape) if self._strides is None else self._strides

    @property
    def numel(self) -> int:
        return numel_of(self.shape)

    @property
    def nbytes(self) -> int:
        return nbytes_of(self.dtype, self.shape)

    @property
    def start(self) -> int:
        """The byte of the storage at which the first element lies."""
        return self.offset * self.dtype.nbytes // self.dtype.elements

    @property
    def contiguous(self) -> bool:
        """True where the elements lie in the storage one after another, in C order."""
        if self._strides is None or 0 in self.shape:
            return True
        want = contiguous_strides(self.shape)
        return all(n == 1 or s == w for n, s, w in zip(self.shape, self._strides, want, strict=True))

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for tensors that are tied: the same elements of the same storage."""
        strides = () if self.contiguous else self._strides
        return (id(self.storage), self.start, self.dtype.name, self.shape, strides)

    def plain(self, name: str = "") -> Tensor:
        """Itself, where its elements can be computed with. Raises Opaque for sparse, quantised, sub-byte and object tensors."""
        if not self.layout and self.dtype.addressable:
            return self
        who, kind = name or "the tensor", self.layout or self.dtype.name
        if self.numeric:
            raise Opaque(f"{who} is {kind}: values in blocks cannot be edited", f"make them numbers first: ckpt cast … float32 '{name}'")
        raise Opaque(f"{who} is {kind}: its values cannot be edited or read element by element", "leave it out by a pattern")

    @property
    def numeric(self) -> bool:
        """True where each element is a number, be it one that is decoded from a block."""
        if self.layout:
            return False
        whole = self.contiguous and self.numel % self.dtype.elements == 0
        return self.dtype.addressable or (whole and decodable(self.dtype))

    def decoded(self, name: str = "") -> Tensor:
        """Its numbers: itself where they are plain; those of known quantised blocks as float32, decoded when read. Raises Opaque."""
        if self.dtype.addressable or not self.numeric:
            return self.plain(name)
        made = Mapped(self.elements(), decoder(self.dtype), self.dtype.nbytes, self.dtype.elements * FLOAT.nbytes)
        return Tensor.whole(FLOAT, self.shape, made)

    def elements(self) -> Storage:
        """Its elements alone, as C-contiguous bytes."""
        if self.layout == "object" or self.layout.startswith("sparse"):
            raise Opaque(f"a tensor that is {self.layout} has no bytes of its own", "leave it out by a pattern")
        if 0 in self.shape:
            return Slice(self.storage, 0, 0)
        if not self.contiguous:
            if self.nbytes > max(_MOST_REPEATED, self.storage.nbytes):
                raise Opaque("a tensor that repeats its bytes beyond all memory is never made out", "leave it out by a pattern")
            return Strided(self.storage, self.plain().dtype.nbytes, self.shape, self.strides, self.offset)
        if self.start == 0 and self.nbytes == self.storage.nbytes:
            return self.storage
        return Slice(self.storage, self.start, self.nbytes)

    def storage_with(self, contents: Storage) -> Storage:
        """The storage as it is once this view's elements are `contents` (C-contiguous)."""
        if self.contiguous and contents.nbytes == self.storage.nbytes:
            return contents
        if self.contiguous:
            return Overlay(self.storage, self.start, contents)
        return Scattered(self.storage, Strided(self.storage, self.dtype.nbytes, self.shape, self.strides, self.offset), contents)

    def over(self, storage: Storage) -> Tensor:
        """The same view over another storage of the same size."""
        return Tensor(self.dtype, self.shape, storage, self._strides, self.offset, self.layout)

    def cast(self, to: DType, name: str) -> Tensor:
        """A new contiguous tensor of dtype `to`, converted block by block when read: as numpy's astype does, to nearest even.

        Quantised blocks are decoded on the way; nothing is cast to them.
        Integers that do not fit are an EditError then, which says `name`.
        """
        from ..numbers.values import caster

        source = self.decoded(name)
        if source.dtype == to:
            return source
        made = Mapped(source.elements(), caster(source.dtype, to), source.dtype.nbytes, to.nbytes)
        made.watch(lambda: naming(name))
        return Tensor.whole(to, self.shape, made)

    def array(self) -> numpy.ndarray[Any, Any]:
        """Its values as a numpy array; reads the bytes that it needs, no others."""
        import numpy

        from ..numbers.dtypes import to_numpy

        elements = self.elements()  # refused before memory is taken for it
        data = bytearray(self.nbytes)
        elements.readinto(0, memoryview(data))
        if self.dtype.name == "complex32":  # numpy has none: widened
            halves = numpy.frombuffer(data, "<f2").astype("float32").view("complex64")
            return halves.reshape(self.shape)
        try:
            return numpy.frombuffer(data, to_numpy(self.dtype)).reshape(self.shape)
        except ValueError:
            raise ReadError(f"numpy has no array of shape {show_shape(self.shape)}", "ask for a part, or leave it out") from None

    def tobytes(self) -> bytes:
        """Its elements, C-contiguous and little-endian."""
        return self.elements().read()
