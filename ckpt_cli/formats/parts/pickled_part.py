"""A part that torch.save wrote, whose pickle says more than names and tensors: its dicts, lists and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import Malformed
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from ...tensors.tensor import Tensor
from ..encodings.distributed_tensors import sizes_of
from ..encodings.object_nodes import Call, Dict, List, Tuple, text_of
from ..encodings.pickle_reader import load
from ..encodings.pickle_tree import TorchTree
from ..encodings.pickled_tensors import TensorReader
from .set_of_parts import file_of, open_part

_MOST_NAMES = 1_000_000


class PickledPart:
    """A part of a set, as the tree of its pickle.

    Attributes:
        file: Its file.
        checkpoint: What its own format makes of it.
        root: The object that was saved, as a node.
    """

    def __init__(self, path: str, main: File | None = None) -> None:
        """Open the part at `path`. Raises Malformed where torch.save did not write it."""
        self.checkpoint: Checkpoint = open_part(path, main)
        self.file = file_of(self.checkpoint)
        tree = self.checkpoint.rest
        if not isinstance(tree, TorchTree):
            raise Malformed("torch.save did not write this part", where=self.file.path)
        self.root = load(tree.pickle)
        self._reader = TensorReader(tree.storage_of)

    def get(self, *keys: str) -> Any:
        """The node under nested keys; None where there is none."""
        node = self.root
        for key in keys:
            node = next((value for name, value in reversed(pairs_of(node)) if text_of(name) == key), None)
        return node

    def tensor(self, node: Any, what: str) -> Tensor:
        """The tensor that a node is, which an error calls `what`. Raises Malformed."""
        tensor = self._reader.tensor(node)
        if tensor is None:
            raise Malformed(f"{what} is no tensor", where=self.file.path)
        return tensor

    def vectors(self, *keys: str) -> list[Tensor]:
        """The flat tensors in the list under nested keys. Raises Malformed."""
        found = [self.tensor(node, keys[-1]) for node in items_of(self.get(*keys))]
        if any(len(tensor.shape) != 1 or not tensor.contiguous for tensor in found):
            raise Malformed(f"{keys[-1]} is no list of flat tensors", where=self.file.path)
        return found

    def named_tensors(self, *keys: str) -> dict[str, Tensor]:
        """The tensors in the dict under nested keys, by name."""
        found = {name: self._reader.tensor(node) for name, node in self.named(*keys)}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def named(self, *keys: str) -> Iterator[tuple[str, Any]]:
        """The texts and nodes of the dict under nested keys."""
        yield from ((name, node) for key, node in pairs_of(self.get(*keys)) if (name := text_of(key)) is not None)

    def texts(self, *keys: str) -> list[str]:
        """The texts in the list under nested keys."""
        return [text for node in items_of(self.get(*keys)) if (text := text_of(node)) is not None]


def pairs_of(node: Any) -> list[tuple[Any, Any]]:
    """The pairs of a dict, or of an object that is filled as one (an OrderedDict)."""
    return node.pairs if type(node) in (Dict, Call) else []


def items_of(node: Any) -> list[Any]:
    """The items of a list or tuple."""
    return node.items if type(node) in (List, Tuple) else []


def shapes_of(node: Any) -> dict[str, tuple[int, ...]]:
    """The shapes in a dict of names and sizes. Raises Malformed."""
    pairs = pairs_of(node)
    if len(pairs) > _MOST_NAMES:
        raise Malformed(f"over {_MOST_NAMES:,} shapes")
    return {name: sizes_of(size, f"the shape of {name}") for key, size in pairs if (name := text_of(key)) is not None}


def number_of(node: Any) -> int | None:
    """An integer, or that of an enumeration; of a list, the largest."""
    if type(node) is Call and len(node.arguments()) == 1:
        node = node.arguments()[0]
    if type(node) in (List, Tuple):
        return max(filter(None, map(number_of, node.items)), default=None)
    return node if type(node) is int else None
