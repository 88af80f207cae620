"""A model whose architecture is known: what recognition finds, and what every user of it works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .layers import Shape, Ties, join_path

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True)
class Model:
    """A model whose architecture is known. Its paths and names are the model's own; in the file, `prefix` comes before them.

    Attributes:
        architecture: the name of the family or the user's FILE.py:CALLABLE; empty where only the file declares its layers.
        hyperparameters: all of them, by name.
        layers: path → type of every layer, containers included, in the order of print(net); the root's path is empty.
        shapes: name → shape of what its state_dict holds.
        buffers: the names among these that are no parameters.
        ties: groups of names that share one storage.
        module: builds the torch.nn.Module, freshly initialised on the device in force: `with torch.device("meta")` costs nothing.
        repr: gives what print(net) prints.
        prefix: what its names begin with in the file: empty, or text that ends in a dot.
        assumed: what names and shapes do not tell and was assumed, as texts `activation=relu`.
        frozen: the parameters that require no gradient.
        dtypes: name → dtype of what its state_dict holds; only what is no float32 where names and shapes alone are known.
        may_tie: groups of names that models of its family tie, whether the file does or not.
        places: path of a layer in the module → its path among `layers`, where the library has other paths than the file.
    """

    architecture: str
    hyperparameters: Mapping[str, object]
    layers: Mapping[str, str]
    shapes: Mapping[str, Shape]
    buffers: frozenset[str]
    ties: Ties
    module: Callable[[], Module]
    repr: Callable[[], str]
    prefix: str = ""
    assumed: tuple[str, ...] = ()
    frozen: frozenset[str] = frozenset()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    may_tie: frozenset[frozenset[str]] = frozenset()

    @property
    def placed(self) -> dict[str, str]:
        """Path in the file → type of every layer."""
        return {join_path(self.prefix[:-1], path) if path else self.prefix[:-1]: kind for path, kind in self.layers.items()}
