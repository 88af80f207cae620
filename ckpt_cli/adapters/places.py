"""The layers of a base as adapters may call them: by their own paths, or as another program calls the same layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..tensors.checkpoint import Checkpoint


class Portion(NamedTuple):
    """Rows of a tensor of the base.

    Attributes:
        name: the tensor.
        shape: the shape of these rows.
        first: the first of them.
    """

    name: str
    shape: tuple[int, ...]
    first: int = 0


# One tensor as an adapter knows it: the rows of the base's tensors that it is made of, from top to bottom.
Portions = tuple[Portion, ...]
Leaves = Mapping[str, Portions]  # the tensors of a layer by what they are called in it


def shape_of(portions: Portions) -> tuple[int, ...]:
    """Return the shape of a tensor that is made of portions one above the other."""
    shape = portions[0].shape
    return shape if len(portions) == 1 or not shape else (sum(portion.shape[0] for portion in portions), *shape[1:])


class Places:
    """The tensors of a base by the paths of their layers, in one program's words.

    Attributes:
        layers: the tensors of each layer.
        words: whose words the paths are; empty for the base's own.
    """

    def __init__(self, layers: Mapping[str, Leaves], words: str = "") -> None:
        self.layers, self.words = layers, words
        self._ends: dict[bool, dict[str, list[tuple[str, str]]]] = {}

    def ends(self, flat: bool) -> Mapping[str, list[tuple[str, str]]]:
        """Return, for each end of a path that begins after a dot, the paths with that end, and what is before it.

        Args:
            flat: whether the dots of the ends are made underscores.
        """
        if flat not in self._ends:
            found: dict[str, list[tuple[str, str]]] = {}
            for path in self.layers:
                for start in _starts(path):
                    end = path[start:].replace(".", "_") if flat else path[start:]
                    found.setdefault(end, []).append((path, path[:start]))
            self._ends[flat] = found
        return self._ends[flat]


def _starts(path: str) -> Iterator[int]:
    yield 0
    yield from (index + 1 for index, letter in enumerate(path) if letter == ".")


def own_places(checkpoint: Checkpoint) -> Places:
    """Return the layers of a base by their own paths. A tensor is also a layer of its own: some programs change parameters by name."""
    layers: dict[str, dict[str, Portions]] = {}
    for name, kind in checkpoint.kinds().items():
        path, leaf = checkpoint.layer_and_leaf(name)
        portions = (Portion(name, kind.shape),)
        layers.setdefault(path, {})[leaf] = portions
        layers.setdefault(name, {})[""] = portions
    for leaves in layers.values():
        if "weight" not in leaves and "in_proj_weight" in leaves:  # torch's MultiheadAttention
            leaves["weight"], leaves["bias"] = leaves["in_proj_weight"], leaves.get("in_proj_bias", ())
    return Places({path: {leaf: found for leaf, found in leaves.items() if found} for path, leaves in layers.items()})
