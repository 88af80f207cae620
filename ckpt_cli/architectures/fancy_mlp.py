"""A network that no Sequential expresses: a constant in the middle, one layer used twice, a loop that the data decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from . import Architecture, Member, architecture
from .layers import Layer, Shape, linear

if TYPE_CHECKING:
    from torch.nn import Module


@architecture
class FancyMLP(Architecture):
    """one Linear used twice around a constant random weight, ReLU, then halving until the L1 norm is at most 1

    It is FancyMLP of "Dive into Deep Learning".
    """

    name = "fancy-mlp"

    def layers(self, *, size: int = 20, buffer: bool = False) -> Layer:
        """Return the network of one Linear.

        size: numbers that go in
        buffer: whether the constant weight is kept in the checkpoint, as rand_weight
        """
        constant = {"rand_weight": (size, size)} if buffer else {}
        children = {"linear": linear(size, size)}
        return Layer("FancyMLP", children=children, buffers=constant, make=lambda child: fancy_module(size, buffer, child))

    def recognise(self, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Member | None:
        """Return the member whose `linear` has this size."""
        weight, buffer = shapes.get("linear.weight", ()), "rand_weight" in shapes
        # A layer called `linear` is no evidence by itself, but with the book's size it is.
        if weight and (buffer or weight[0] == given.get("size", 20)):
            return Member({"size": weight[0], "buffer": buffer}, self.layers(size=weight[0], buffer=buffer))
        return None


def fancy_module(size: int, buffer: bool, child: Callable[[str], Module]) -> Module:
    """Build the module. It maps samples × size to one number; the constant is drawn before the layer."""
    import torch
    from torch import Tensor, nn

    class FancyMLP(nn.Module):
        rand_weight: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("rand_weight", torch.rand(size, size), persistent=buffer)
            self.linear = child("linear")

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.linear(x) @ self.rand_weight + 1)
            x = self.linear(x)
            while x.abs().sum() > 1:
                x = x / 2
            return x.sum()

    return FancyMLP()
