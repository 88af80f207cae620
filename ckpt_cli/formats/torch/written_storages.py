"""The storages of a pickle that is written, and the keys that they have in the new file."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from ...errors import EditError
from ...storage.storage import Storage
from ..encodings.object_nodes import Global, Persistent, Tuple, text_of
from ..encodings.pickle_tree import TorchTree
from ..encodings.storage_ids import StorageId, is_storage_id


class WrittenStorages:
    """Gives storages their keys: a provisional one while nodes are made, a number when the pickle first names them.

    Args:
        tree: The pickle that was read, whose storages may be written again; None for a new checkpoint.
        replaced: The new storage in place of an old one, by the `id` of the old one.

    Attributes:
        written: The storages by number, in the order in which the pickle names them.
    """

    def __init__(self, tree: TorchTree | None, replaced: Mapping[int, Storage] | None = None) -> None:
        self.tree, self.replaced = tree, replaced or {}
        self.reserved: dict[str, Storage] = {}
        self.numbers: dict[int, str] = {}
        self.written: dict[str, Storage] = {}

    def reserve(self, storage: Storage) -> str:
        """The provisional key of a new storage."""
        key = f"new {id(storage)}"
        self.reserved[key] = storage
        return key

    def renumbered(self, node: Persistent) -> Any:
        """The persistent id that is written for `node`: the number of the storage in the new file in place of its key.

        Raises:
            EditError: There is no storage with its key.
        """
        if not is_storage_id(node):
            return _module_class(node.pid)
        storage_id = StorageId(node)
        storage = self._storage(storage_id)
        number = self.numbers.get(id(storage)) or self._next_number()
        self.numbers[id(storage)] = number
        self.written[number] = storage
        return Tuple([*storage_id.items[:2], number, *storage_id.items[3:5]])

    def _next_number(self) -> str:
        """A key that neither a storage has nor a record that is carried along."""
        records = self.tree.records if self.tree else {}
        return next(key for key in map(str, count(len(self.numbers))) if f"data/{key}" not in records and key not in self.written)

    def _storage(self, storage_id: StorageId) -> Storage:
        if storage_id.key in self.reserved:
            return self.reserved[storage_id.key]
        if self.tree is None:
            raise EditError(f"storage {storage_id.key!r} is not known")
        storage = self.tree.storage_of(storage_id.key, storage_id.dtype, storage_id.nbytes)
        return self.replaced.get(id(storage), storage)


def _module_class(pid: Any) -> Any:
    """The class in a persistent id ('module', class, file, source), as legacy files have it; a zip holds the class itself."""
    items = pid.items if type(pid) is Tuple else []
    return items[1] if len(items) > 1 and text_of(items[0]) == "module" and type(items[1]) is Global else pid
