"""Orbax's folders (StandardCheckpointer, PyTreeCheckpointer, a step of a CheckpointManager): a tree in JSON, arrays of zarr.

    _METADATA            {"tree_metadata": {"('params', 'bias')": {"key_metadata": [{"key": "params", …}, …], "value_metadata": …}, …}, …}
    manifest.ocdbt, d/   all arrays of the tree in one OCDBT database, under the keys NAME/.zarray, NAME/0.0, …
    NAME/                or a folder for each array, with .zarray (version 2) or zarr.json (version 3)

As in orbax/checkpoint (metadata/tree.py, type_handlers.py). Peculiarities:
- Names are keys joined by dots, even where a key has dots in it.
- Python's numbers lie in the folder as arrays without axes, and are objects here; empty containers are in the tree alone.
- Read, not written. Nothing outside of the folder is opened.
- zstd, with which Orbax compresses, takes an optional package before Python 3.14.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...disk.opening import open_file
from ...errors import CkptError, Malformed
from ...storage.file import File, is_plain, leads_out
from ...tensors.checkpoint import Checkpoint, Lazy
from ...tensors.tensor import Tensor
from .. import SeveralFiles, formats

if TYPE_CHECKING:
    from ...storage.storage import Storage
    from .zarr import Array

_MOST_TREE = 100_000_000  # bytes
_ITEMS = ("", "default", "state", "params", "items")  # what a step of a CheckpointManager calls the model
_EMPTY: dict[str, Any] = {"Dict": {}, "List": [], "Tuple": [], "None": None, "NamedTuple": []}
_NUMBERS = {"bool": "?", "int32": "<i", "int64": "<q", "uint32": "<I", "uint64": "<Q", "float32": "<f", "float64": "<d", "float16": "<e"}


class Orbax(SeveralFiles):
    """Folders of Orbax; the main file is the tree, `_METADATA`."""

    name = "orbax"
    title = "Orbax folder (JAX)"
    called = "an Orbax folder"
    objects = True
    axes = "io"

    def locate(self, path: str) -> str | None:
        """The tree in the folder `path`, or in one of the items of a step."""
        if not os.path.isdir(path):
            return None
        trees = (os.path.join(path, item, "_METADATA") for item in _ITEMS)
        return next((tree for tree in trees if os.path.isfile(tree)), None)

    def sniff(self, file: File) -> bool:
        """JSON that says so near its beginning."""
        return file.head.lstrip()[:1] == b"{" and b'"tree_metadata"' in file.head

    def read(self, file: File) -> Checkpoint:
        """The arrays of the tree, whose headers are read; its other leaves as objects."""
        from ..encodings import strict_json
        from ..encodings.object_names import names

        if file.size > _MOST_TREE:
            raise Malformed(f"the tree has {file.size:,} bytes; {_MOST_TREE:,} are read at most")
        document = strict_json.loads(file.read(0, file.size))
        entries = list(_entries(document))
        store = _store(file, document)
        arrays: list[_Leaf] = []
        others: list[_Leaf] = []
        for path, kind in entries:
            found = None if kind in _EMPTY else _header(store, ".".join(path))
            if found is None and kind not in _EMPTY and kind not in ("string", "scalar"):
                raise Malformed(f"{'.'.join(path)}: the array is not in the folder", "download or copy it again")
            (arrays if found and kind != "scalar" else others).append((path, kind, found))
        called = names([path for path, _, _ in arrays], [path for path, _, _ in others])
        objects = {name: _object(store, *other) for name, other in zip(called[len(arrays) :], others, strict=True)}
        headers = {name: (".".join(path), array) for name, (path, _, array) in zip(called, arrays, strict=False) if array}
        return Checkpoint(Arrays(store, headers), objects=objects)

    def bytes_on_disk(self, checkpoint: Checkpoint) -> int:
        """The size in bytes of all files in the folder."""
        root = os.path.dirname(checkpoint.origin.path) if checkpoint.origin else ""
        paths = (os.path.join(folder, name) for folder, _, files in os.walk(root) for name in files)
        return sum(os.lstat(path).st_size for path in paths)


_Leaf = tuple[tuple[str, ...], str, "Array | None"]  # path, type, header


class Arrays(Lazy):
    """The arrays of a folder; the chunks of an array are looked for when it is asked for."""

    def __init__(self, store: Callable[[str], Storage | None], headers: dict[str, tuple[str, Array]]) -> None:
        super().__init__({name: array.kind for name, (_, array) in headers.items()})
        self.store, self.headers = store, headers

    def make(self, name: str) -> Tensor:
        """The array as a tensor. Raises Malformed where a chunk is missing or broken."""
        from .zarr import tensor

        prefix, array = self.headers[name]
        made: Tensor = _named(name, lambda: tensor(array, lambda key: self.store(f"{prefix}/{key}")))
        return made


def _named(name: str, make: Callable[[], Any]) -> Any:
    """What `make` returns; Malformed that it raises is given the array's name."""
    try:
        return make()
    except Malformed as error:
        raise Malformed(f"{name}: {error.what}", error.mend, error.where) from None


def _entries(document: Any) -> list[tuple[tuple[str, ...], str]]:
    """The path and the type of each leaf of the tree. Raises Malformed."""
    tree = document.get("tree_metadata") if type(document) is dict else None
    if type(tree) is not dict:
        raise Malformed("tree_metadata is no JSON object")
    found = []
    for entry in tree.values():
        try:
            path = tuple(part["key"] for part in entry["key_metadata"])
            kind = entry["value_metadata"]["value_type"]
        except (KeyError, TypeError):
            raise Malformed("an entry of the tree does not say its keys and its type") from None
        if any(type(key) is not str for key in path) or type(kind) is not str or len(path) > 500:
            raise Malformed("an entry of the tree does not say its keys and its type as texts")
        found.append((path, kind))
    return found


def _header(store: Callable[[str], Storage | None], prefix: str) -> Array | None:
    """The header of the array whose keys begin with `prefix`; None where there is none."""
    from .zarr import header

    array: Array | None = _named(prefix, lambda: header(lambda key: store(f"{prefix}/{key}")))
    return array


def _object(store: Callable[[str], Storage | None], path: tuple[str, ...], kind: str, array: Array | None) -> Any:
    """The value of a leaf that is no array: an empty container, or a number; Foreign for any other."""
    from struct import unpack

    from ...tensors.checkpoint import Foreign
    from .zarr import tensor

    if kind in _EMPTY:
        return _EMPTY[kind]
    prefix = ".".join(path)
    if array is None or array.shape or array.dtype.name not in _NUMBERS:
        return Foreign(kind, "")
    raw = _named(prefix, lambda: tensor(array, lambda key: store(f"{prefix}/{key}")).tobytes())
    return unpack(_NUMBERS[array.dtype.name], raw)[0]


def _store(file: File, document: Any) -> Callable[[str], Storage | None]:
    """What gives the bytes of a key: the database of the folder, where it has one, else its files."""
    folder = Folder(file.path)
    if document.get("use_ocdbt") is False or not os.path.lexists(os.path.join(folder.path, "manifest.ocdbt")):
        return folder.get
    from .ocdbt import read_database

    return read_database(folder.open).get


class Folder:
    """The files below the folder of the file `tree`, by plain paths; a link that leads out of it is refused."""

    def __init__(self, tree: str) -> None:
        self.tree, self.path = tree, os.path.dirname(os.path.abspath(tree))
        self.opened: dict[str, Storage] = {}

    def get(self, key: str) -> Storage | None:
        """The file called `key`, or None where there is none."""
        from ...storage.storage import Extent

        if key not in self.opened:
            path = self._inside(key)
            if path is None:
                return None
            try:
                file = open_file(path)
            except CkptError as error:
                raise Malformed(f"{key}: {error.what}", error.mend, self.tree) from None
            self.opened[key] = Extent(file, 0, file.size)
        return self.opened[key]

    def open(self, key: str) -> Storage:
        """The file called `key`. Raises Malformed where there is none."""
        storage = self.get(key)
        if storage is None:
            raise Malformed(f"the file {key[:200]!r} of the folder is missing", "download or copy it again", self.tree)
        return storage

    def _inside(self, key: str) -> str | None:
        """The path of a key; None where there is no file. Raises Malformed for what leads out of the folder."""
        if not is_plain(key):
            raise Malformed(f"the tree names the file {key[:200]!r}, which is no plain path", where=self.tree)
        path = os.path.join(self.path, key)
        if len(os.fsencode(path)) > 4000 or not os.path.lexists(path) or os.path.isdir(path):
            return None
        if leads_out(path, self.path):
            raise Malformed(f"the file {key[:200]!r} is a link that leads out of the folder", where=self.tree)
        return path


formats.add(Orbax.name, Orbax())
