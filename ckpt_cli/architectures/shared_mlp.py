"""Parameters shared between layers: one Linear used several times, one storage under several names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from . import Architecture, Member, architecture
from .layers import Layer, Shape, activation_layer, linear, sequential

if TYPE_CHECKING:
    from torch.nn import Module


@architecture
class SharedMLP(Architecture):
    """multilayer perceptron in which one Linear is used several times: one storage, several names"""

    name = "shared-mlp"

    def layers(self, *, inputs: int = 4, hidden: int = 8, outputs: int = 1, repeats: int = 2) -> Layer:
        """Return Linear, then the shared Linear `repeats` times, then Linear, with a ReLU between them.

        inputs: numbers that go in
        hidden: width of the shared layer
        outputs: numbers that come out
        repeats: how often the shared layer is used
        """
        shared = linear(hidden, hidden)
        middle = [layer for _ in range(repeats) for layer in (activation_layer("relu"), shared)]
        plain = sequential(linear(inputs, hidden), *middle, activation_layer("relu"), linear(hidden, outputs))
        return Layer("Sequential", children=plain.children, make=lambda child: shared_first(list(plain.children), child))

    def recognise(self, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Member | None:
        """Return the member whose first and last layer have these sizes."""
        repeats = len(shapes) // 2 - 2
        first, last = shapes.get("0.weight", ()), shapes.get(f"{2 * repeats + 2}.weight", ())
        if repeats < 2 or len(first) != 2 or len(last) != 2:
            return None
        sizes = {"inputs": first[1], "hidden": first[0], "outputs": last[0], "repeats": repeats}
        return Member(sizes, self.layers(**sizes))


def shared_first(names: list[str], child: Callable[[str], Module]) -> Module:
    """Build the Sequential. The shared layer is drawn first, since a program has to make it before it can use it twice."""
    from torch import nn

    child("2")
    net = nn.Sequential()
    for name in names:
        net.add_module(name, child(name))
    return net
