"""Architectures: named families of models, which recognise themselves by names and shapes and build the module.

A family is one data file of `families/` (family.py says what is in it), or one module of this folder with one class under
`@architecture`. Packages outside the project announce theirs in the entry-point group `ckpt_cli.architectures`. Recognition is exact:
every name, shape and tie of a file must be the model's. That is checked in `recognition`, for every family alike, and needs no torch.

    layers.py            a network as a tree of plain values
    hyperparameters.py   KEY=VALUE, checked against the signature of a family's `layers`
    model.py             a model whose architecture is known
    family.py            a family that a data file of families/ describes
    family_lines.py      the lines of such a file: paths, types and shapes of layers
    family_names.py      what the names and shapes of a file tell of a family's sizes
    family_sizes.py      sizes as expressions
    family_trees.py      the tree of layers from lines and sizes
    recognition.py       which model a checkpoint holds
    prefixes.py          where in a file a model begins, and what lies beside it
    declared_layers.py   the tree from the layer types that a file declares
    linear_chain.py      Linear layers that follow each other, found by their sizes
    mismatch.py          how a model and a file differ
    user_module.py       FILE.py:CALLABLE as a model
    fresh_weights.py     a new module's values
    output_shapes.py     the shapes that come out of each layer
    the others           one family each
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..registry import Registry
from .layers import Layer, Shape

if TYPE_CHECKING:
    from torch.nn import Module

    from .hyperparameters import Hyperparameter


@dataclass(frozen=True)
class Member:
    """A member of a family of models.

    Attributes:
        hyperparameters: all of them, by name.
        tree: its layers.
        assumed: what names and shapes do not tell and was assumed, as texts `activation=relu`.
        may_tie: groups of names that may be one tensor, besides those that are in the tree.
    """

    hyperparameters: Mapping[str, object]
    tree: Layer
    assumed: tuple[str, ...] = ()
    may_tie: frozenset[frozenset[str]] = frozenset()


class Architecture(ABC):
    """A named family of models. The first line of a family's docstring is its title; the signature of `layers` is its schema."""

    name: ClassVar[str]
    general: ClassVar[bool] = False  # general families are tried after all others

    @abstractmethod
    def layers(self, *args: Any, **hyperparameters: Any) -> Layer:
        """Return the tree of layers.

        An implementation takes keyword-only parameters with defaults; its docstring has a line `name: meaning` for each.

        Raises:
            UsageError: there is no such member of the family.
        """

    @abstractmethod
    def recognise(self, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Member | None:
        """Return the member of the family that may have these tensors; whether it has them exactly is checked elsewhere.

        Args:
            shapes: the shape of each tensor by name.
            given: the hyperparameters that the user named.
        """

    def declared(self) -> Mapping[str, Hyperparameter] | None:
        """Return the hyperparameters by name, where the signature of `layers` does not tell them."""
        return None

    def build(self, **hyperparameters: Any) -> Module:
        """Return the `torch.nn.Module`, freshly initialised from torch's global generator."""
        return self.layers(**hyperparameters).module()

    @property
    def title(self) -> str:
        """What `ckpt archs` says of the family."""
        return (type(self).__doc__ or "").strip().split("\n")[0]


architectures: Registry[Architecture] = Registry("architecture", "ckpt_cli.architectures")


def architecture(family: type[Architecture]) -> type[Architecture]:
    """Register a family under its name.

    Raises:
        ValueError: another family has that name.
    """
    architectures.add(family.name, family())
    return family
