"""A checkpoint: an immutable, ordered mapping from names to tensors. An edit makes a new one; no byte moves until one is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import NoTensor, did_you_mean, number_of
from ..numbers.dtypes import DType
from ..numbers.shapes import nbytes_of, numel_of
from ..storage.file import File
from ..storage.storage import Storage
from ..storage.uncopied import Uncopied
from .tensor import Layout, Tensor

if TYPE_CHECKING:
    from weakref import ref

    from .state_dict import StateDict


class Kind:
    """What a header says of a tensor besides its name and its place: dtype, shape, layout, and the sizes that follow.

    Tensors that are alike may share one.
    """

    __slots__ = ("dtype", "layout", "nbytes", "numel", "shape")

    def __init__(self, dtype: DType, shape: tuple[int, ...], layout: Layout = Layout.PLAIN) -> None:
        self.dtype, self.shape, self.layout = dtype, shape, layout
        self.numel, self.nbytes = numel_of(shape), nbytes_of(dtype, shape)

    @property
    def facts(self) -> tuple[DType, tuple[int, ...], Layout]:
        """Equal for tensors that are alike."""
        return self.dtype, self.shape, self.layout


class Lazy(Mapping[str, Tensor]):
    """The tensors of a header with very many: each is made when it is first asked for. A format subclasses it and defines `make`.

    Args:
        kinds: dtype and shape of each, by name, in file order.
        shared: the names whose tensors may share a storage with another one.
    """

    def __init__(self, kinds: dict[str, Kind], shared: Collection[str] = ()) -> None:
        self.kinds, self.shared = kinds, shared
        self._made: dict[str, Tensor] = {}

    def make(self, name: str) -> Tensor:
        """Return the tensor called `name`, which is one of `kinds`."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._made.get(name)
        if tensor is None:
            if name not in self.kinds:
                raise KeyError(name)
            tensor = self._made[name] = self.make(name)
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self.kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


class Foreign(NamedTuple):
    """An object of a class that only its own program knows. Its type and a text about it are shown; it is never looked into."""

    type: str
    text: str


class Undecoded(NamedTuple):
    """Bytes of a file that are not among its tensors: those of an object that is not decoded.

    Attributes:
        what: What they are, in words.
        storage: The bytes; None where they are not read at all.
        known: Whether they are a number that is among the objects of the checkpoint.
    """

    what: str
    storage: Storage | None = None
    known: bool = False


class Origin(NamedTuple):
    """Where a checkpoint was read from.

    Attributes:
        format: the name of the format.
        file: the file; of several, the one that names the others.
        read: the checkpoint as it was read, before any edit.
        files: the files that `Checkpoint.close` closes, where it was opened from Python.
    """

    format: str
    file: File
    read: Checkpoint
    files: Sequence[ref[File]] = ()

    @property
    def path(self) -> str:
        """The path of the file."""
        return self.file.path


_PARTS = (
    "tensors", "metadata", "objects", "layers", "rest", "origin", "notes", "sources", "separator", "layer_of", "undecoded", "fixed",
    "imports", "remarks",
)  # fmt: skip


class Checkpoint(Uncopied, Mapping[str, Tensor]):
    """An ordered, read-only mapping from names to tensors.

    Attributes:
        tensors: the tensors by name, in file order.
        metadata: texts by name.
        objects: what is in the file besides tensors, by dotted path.
        layers: the type of each layer by its path, where the file itself says it.
        rest: what only its format understands, carried along.
        origin: where it was read; None for one that was made.
        notes: what its reader has to say to the user.
        sources: the name under which a tensor was read, by its present name, for names that an edit changed.
        separator: what divides the parts of a name.
        layer_of: the path of its layer in `layers`, and what a tensor is called there, for names that do not say so themselves.
        undecoded: the bytes of the file that are in no tensor, by name. No verdict on the checkpoint leaves them out.
        fixed: values that count for all elements of a tensor, whatever the file holds, by the name under which it was read.
        imports: the modules and names of classes and functions in its pickles, but for the usual ones (`tensors/named_code`).
        remarks: what a config says of a tensor's layer that values do not show, by the name under which it was read.
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
        undecoded: Mapping[str, Undecoded] | None = None,
        fixed: Mapping[str, float] | None = None,
        imports: tuple[tuple[str, str], ...] = (),
        remarks: Mapping[str, str] | None = None,
    ) -> None:
        self.imports = imports
        self.undecoded: Mapping[str, Undecoded] = {} if undecoded is None else undecoded
        self.tensors, self.separator = tensors, separator
        self.fixed: Mapping[str, float] = {} if fixed is None else fixed
        self.remarks: Mapping[str, str] = {} if remarks is None else remarks
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
            raise NoTensor(f"there is no tensor {name!r}", did_you_mean(name, self.tensors)) from None

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        path = f"{self.origin.path!r}, " if self.origin else ""
        kinds = self.kinds()
        params = sum(kind.numel for kind in kinds.values()) - sum(kinds[name].numel for name in self.tied_to())
        return f"Checkpoint({path}{number_of(len(self), 'tensor')}, {number_of(params, 'parameter')})"

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its files. What the header said stays; values can be read no more, here and in what edits made of it."""
        for each in self.origin.files if self.origin else ():
            if (file := each()) is not None:
                file.close()

    def state_dict(self, prefix: str = "") -> StateDict:
        """Return its tensors as torch's `load_state_dict` takes them: a mapping, in which each is read when it is first asked for.

        Args:
            prefix: take the names that begin so, without it: `state_dict("model.")` of a training.
        """
        from .state_dict import StateDict

        tensors = {name[len(prefix) :]: self[name] for name in self if name.startswith(prefix)} if prefix else self.tensors
        if prefix and not tensors:
            raise NoTensor(f"no name begins with {prefix!r}", did_you_mean(prefix, self.tensors))
        return StateDict(tensors, (name[len(prefix) :] for name in self.shared() if name.startswith(prefix)))

    @property
    def is_as_read(self) -> bool:
        """Whether its tensors are those of a file: no edit has changed them."""
        return self.origin is not None and self.origin.read.tensors is self.tensors

    def layer_and_leaf(self, name: str) -> tuple[str, str]:
        """Return the path of the layer that a tensor is in, and what the tensor is called there."""
        if name in self.layer_of:
            return self.layer_of[name]
        path, _, leaf = name.rpartition(self.separator)
        return path, leaf

    def layer_name(self, name: str) -> str:
        """Return a tensor's name by the path of its layer; in most files that is its name."""
        if name not in self.layer_of:
            return name
        path, leaf = self.layer_of[name]
        return f"{path}{self.separator}{leaf}" if path else leaf

    def replacing(self, **changes: Any) -> Checkpoint:
        """Return a new checkpoint with some attributes replaced."""
        return Checkpoint(**({name: getattr(self, name) for name in _PARTS} | changes))

    def with_storages(self, storages: Mapping[Storage, Storage]) -> Checkpoint:
        """Return the same views of other storages (old → new). What shares memory with an edited tensor follows by itself."""
        tensors = {name: t.over(storages[t.storage]) if t.storage in storages else t for name, t in self.tensors.items()}
        return self.replacing(tensors=tensors)

    def kinds(self) -> Mapping[str, Kind]:
        """Return dtype, shape and size of each tensor, without making those of a lazy header."""
        if isinstance(self.tensors, Lazy):
            return self.tensors.kinds
        known: dict[Any, Kind] = {}
        kinds: dict[str, Kind] = {}
        for name, tensor in self.tensors.items():
            facts = (id(tensor.dtype), tensor.shape, tensor.layout)
            kind = known.get(facts)
            if kind is None:
                kind = known[facts] = Kind(tensor.dtype, tensor.shape, tensor.layout)
            kinds[name] = kind
        return kinds

    def _groups(self, key: Callable[[Tensor], Any]) -> list[list[str]]:
        """Groups of two or more names whose tensors have equal `key`, in file order. Tensors of a storage of their own are left out."""
        groups: dict[Any, list[str]] = {}
        for name in self.shared():
            groups.setdefault(key(self.tensors[name]), []).append(name)
        return [names for names in groups.values() if len(names) > 1]

    def shared(self) -> Collection[str]:
        """Return the names whose tensors may share a storage. Mostly there are none, and no tensor need be made to find ties."""
        if isinstance(self.tensors, Lazy):
            return self.tensors.shared
        storages = {id(tensor.storage) for tensor in self.tensors.values()}
        return self.tensors if len(storages) < len(self.tensors) else ()

    def ties(self) -> list[list[str]]:
        """Return the groups of tied names: those that view the same elements of the same storage."""
        return self._groups(lambda tensor: tensor.key)

    def sharing(self) -> list[list[str]]:
        """Return the groups of names whose tensors lie in one storage, whichever elements they view."""
        return self._groups(lambda tensor: id(tensor.storage))

    def tied_to(self) -> dict[str, str]:
        """Return the first name of its group for each other name that is tied."""
        return {name: group[0] for group in self.ties() for name in group[1:]}

    def distinct(self) -> dict[str, Tensor]:
        """Return the tensors, those that are tied once, under their first name."""
        tied = self.tied_to()
        return {name: tensor for name, tensor in self.tensors.items() if name not in tied} if tied else dict(self.tensors)
