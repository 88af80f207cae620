"""A checkpoint: an immutable, ordered mapping from names to tensors. An edit makes a new one; no byte moves until one is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import NoMatch, did_you_mean
from ..numbers.dtypes import DType
from ..numbers.shapes import nbytes_of, numel_of
from ..storage.file import File
from ..storage.storage import Storage
from .tensor import Tensor

if TYPE_CHECKING:
    pass


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
