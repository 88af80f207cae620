"""The block factory: blocks inside blocks. They are called `block 0`, `block 1` and so on, with a space in the name."""

from __future__ import annotations

from collections.abc import Mapping

from . import Architecture, Member, architecture
from .layers import Layer, Shape, activation_layer, linear, sequential


@architecture
class Nested(Architecture):
    """blocks inside blocks: Linear, ReLU, Linear, ReLU, several times over, then a Linear"""

    name = "nested"

    def layers(self, *, inputs: int = 4, hidden: int = 8, blocks: int = 4, outputs: int = 1) -> Layer:
        """Return the network of the block factory.

        inputs: numbers that go in, and that each block gives
        hidden: width inside a block
        blocks: how many blocks
        outputs: numbers that come out
        """
        factory = {f"block {number}": block(inputs, hidden) for number in range(blocks)}
        return sequential(Layer("Sequential", children=factory), linear(inputs, outputs))

    def recognise(self, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Member | None:
        """Return the member whose first and last layer have these sizes."""
        first, last = shapes.get("0.block 0.0.weight", ()), shapes.get("1.weight", ())
        if len(first) != 2 or len(last) != 2:
            return None
        sizes = {"inputs": first[1], "hidden": first[0], "blocks": (len(shapes) - 2) // 4, "outputs": last[0]}
        return Member(sizes, self.layers(**sizes))


def block(inputs: int, hidden: int) -> Layer:
    """Return one block: inputs → hidden → inputs."""
    return sequential(linear(inputs, hidden), activation_layer("relu"), linear(hidden, inputs), activation_layer("relu"))
