"""Architectures: named families of models, which recognise themselves from names and shapes and build the module.

A family is one file of this folder with one class under `@architecture`; packages outside the project announce theirs
in the entry-point group `ckpt_cli.architectures`. Recognition is exact: every name, shape and tie is accounted for, here,
for every family, and needs no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..registry import Registry
from .layers import Layer, Shape

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True)
class Found:
    """What recognition found: hyperparameters, the tree of layers, and what names and shapes do not tell and was assumed."""

    hyperparameters: Mapping[str, object]
    tree: Layer
    assumed: tuple[str, ...] = ()


class Architecture(ABC):
    """A named family of models. The first line of the docstring is its title; the signature of `layers` is its schema."""

    name: ClassVar[str]
    general: ClassVar[bool] = False  # a general family is asked after the special ones

    @abstractmethod
    def layers(self, *args: Any, **hyperparameters: Any) -> Layer:
        """The tree of layers. Keyword-only parameters with defaults; the docstring has a line `name: meaning` for each."""

    @abstractmethod
    def recognise(self, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Found | None:
        """The member of the family that has these names and shapes. `given` holds what the user said of the hyperparameters."""

    def build(self, **hyperparameters: Any) -> Module:
        """The `torch.nn.Module`, freshly drawn from torch's global generator."""
        return self.layers(**hyperparameters).module()

    @property
    def title(self) -> str:
        return (type(self).__doc__ or "").strip().split("\n")[0]


architectures: Registry[Architecture] = Registry("architecture", "ckpt_cli.architectures")


def architecture(family: type[Architecture]) -> type[Architecture]:
    """Register a family under its name."""
    architectures.add(family.name, family())
    return family


def exactly(tree: Layer, shapes: Mapping[str, Shape], ties: Sequence[Sequence[str]]) -> bool:
    """Whether the tree has these names, shapes and ties, all of them and no others."""
    return tree.shapes() == dict(shapes) and tree.ties() == {frozenset(group) for group in ties}
