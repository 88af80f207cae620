"""A checkpoint: an immutable, ordered mapping from names to tensors. An edit makes a new one; no byte moves until one is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import Malformed, NoMatch, Opaque, ReadError, did_you_mean, naming
from ..numbers.dtypes import DType
from ..numbers.quantised import FLOAT, decodable, decoder
from ..storage.file import File
from ..storage.storage import Mapped, Overlay, Scattered, Slice, Storage, Strided, span

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


def numel_of(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def nbytes_of(dtype: DType, shape: tuple[int, ...]) -> int:
    """Bytes of a contiguous tensor; Python integers, so nothing overflows."""
    return -(-numel_of(shape) // dtype.elements) * dtype.nbytes


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in C order; as torch's, an empty axis counts as one."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a view of `shape` whose first axis varies fastest."""
    return tuple(reversed(contiguous_strides(shape[::-1])))


def show_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


class Kind:
    """What a header says of a tensor besides its name and its place; tensors that are alike may share one."""

    __slots__ = ("dtype", "layout", "nbytes", "numel", "shape")

    def __init__(self, dtype: DType, shape: tuple[int, ...], layout: str = "") -> None:
        self.dtype, self.shape, self.layout = dtype, shape, layout
        self.numel, self.nbytes = numel_of(shape), nbytes_of(dtype, shape)

    @property
    def facts(self) -> tuple[DType, tuple[int, ...], str]:
        return self.dtype, self.shape, self.layout


class Lazy(Mapping[str, Tensor]):
    """The tensors of a header of very many: each is made when it is first asked for. `shared` are the names that may share a storage."""

    def __init__(self, kinds: dict[str, Kind], shared: Collection[str] = ()) -> None:
        self.kinds, self.shared = kinds, shared
        self._made: dict[str, Tensor] = {}

    def make(self, name: str) -> Tensor:
        raise NotImplementedError

    def __getitem__(self, name: str) -> Tensor:
        found = self._made.get(name)
        if found is None:
            if name not in self.kinds:
                raise KeyError(name)
            found = self._made[name] = self.make(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


class Foreign(NamedTuple):
    """An object of a class that only its own program knows: named, never looked into."""

    type: str
    text: str


class Origin(NamedTuple):
    """Where a checkpoint was read: the format's name, the file (of several, the one that names the others), and what was found there."""

    format: str
    file: File
    read: Checkpoint

    @property
    def path(self) -> str:
        return self.file.path


_PARTS = ("tensors", "metadata", "objects", "layers", "rest", "origin", "notes", "sources", "separator", "layer_of")


class Checkpoint(Mapping[str, Tensor]):
    """Ordered and read-only: name → Tensor.

    `metadata`: string → string. `objects`: what is in the file besides tensors, by dotted path. `layers`: layer path → type,
    where the file itself says it. `rest`: what only its format understands, carried along. `notes`: what its reader has to say.
    `sources`: name → the name it was read under, for names that an edit changed. `separator` divides the parts of its names.
    `layer_of`: name → the path of its layer in `layers`, and what it is called there, where the name itself does not say.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, str] | None = None,
        objects: Mapping[str, Any] | None = None,
        layers: Mapping[str, str] | None = None,
        rest: Any = None,
        origin: Origin | None = None,
        notes: tuple[str, ...] = (),
        sources: Mapping[str, str] | None = None,
        separator: str = ".",
        layer_of: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self.tensors, self.separator = tensors, separator
        self.layer_of: Mapping[str, tuple[str, str]] = {} if layer_of is None else layer_of
        self.metadata: Mapping[str, str] = {} if metadata is None else metadata
        self.objects: Mapping[str, Any] = {} if objects is None else objects
        self.layers: Mapping[str, str] = {} if layers is None else layers
        self.sources: Mapping[str, str] = {} if sources is None else sources
        self.rest, self.origin, self.notes = rest, origin, notes

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise NoMatch(f"there is no tensor {name!r}", did_you_mean(name, self.tensors)) from None

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def layer_and_leaf(self, name: str) -> tuple[str, str]:
        """The path of the layer that a tensor is in, and what it is called there."""
        if name in self.layer_of:
            return self.layer_of[name]
        path, _, leaf = name.rpartition(self.separator)
        return path, leaf

    def layer_name(self, name: str) -> str:
        """What a tensor is called by its layer's path: in most files its name."""
        if name not in self.layer_of:
            return name
        path, leaf = self.layer_of[name]
        return f"{path}{self.separator}{leaf}" if path else leaf

    def replacing(self, **changes: Any) -> Checkpoint:
        """A new checkpoint with some of its parts replaced."""
        return Checkpoint(**({name: getattr(self, name) for name in _PARTS} | changes))

    def with_storages(self, storages: Mapping[Storage, Storage]) -> Checkpoint:
        """The same views over other storages: whatever is tied to an edited tensor follows by itself."""
        tensors = {name: t.over(storages[t.storage]) if t.storage in storages else t for name, t in self.tensors.items()}
        return self.replacing(tensors=tensors)

    def kinds(self) -> Mapping[str, Kind]:
        """Dtype, shape and size of each tensor, without the tensor itself being made."""
        if isinstance(self.tensors, Lazy):
            return self.tensors.kinds
        known: dict[Any, Kind] = {}
        found: dict[str, Kind] = {}
        for name, tensor in self.tensors.items():
            facts = (id(tensor.dtype), tensor.shape, tensor.layout)
            kind = known.get(facts)
            if kind is None:
                kind = known[facts] = Kind(tensor.dtype, tensor.shape, tensor.layout)
            found[name] = kind
        return found

    def _groups(self, key: Callable[[Tensor], Any]) -> list[list[str]]:
        """The names whose tensors, of one storage, have equal `key`, in file order, where there are two or more."""
        found: dict[Any, list[str]] = {}
        for name in self.shared():
            found.setdefault(key(self.tensors[name]), []).append(name)
        return [names for names in found.values() if len(names) > 1]

    def shared(self) -> Collection[str]:
        """The names that may share a storage; mostly there are none, and nothing more need be asked."""
        if isinstance(self.tensors, Lazy):
            return self.tensors.shared
        storages = {id(tensor.storage) for tensor in self.tensors.values()}
        return self.tensors if len(storages) < len(self.tensors) else ()

    def ties(self) -> list[list[str]]:
        """Groups of names that view the same elements of the same storage."""
        return self._groups(lambda tensor: tensor.key)

    def sharing(self) -> list[list[str]]:
        """Groups of names whose tensors lie in one storage, whatever they view of it."""
        return self._groups(lambda tensor: id(tensor.storage))

    def tied_to(self) -> dict[str, str]:
        """Each name but the first of a tied group → the first."""
        return {name: group[0] for group in self.ties() for name in group[1:]}

    def distinct(self) -> dict[str, Tensor]:
        """The tensors, what is tied taken once, under its first name."""
        tied = self.tied_to()
        return {name: tensor for name, tensor in self.tensors.items() if name not in tied} if tied else dict(self.tensors)
