"""Multilayer perceptrons: chains of Linear layers with activations between them, under any names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from ..errors import UsageError
from . import Architecture, Member, architecture
from .layers import ACTIVATIONS, Layer, Shape, activation_layer, linear
from .linear_chain import Link, container, find_chain

if TYPE_CHECKING:
    from torch.nn import Module

Sizes = int | tuple[int, ...]
MOST_BETWEEN = 2  # layers without parameters between two Linear ones: an activation and a dropout; more would be something else
NO_ACTIVATION = "none"


@architecture
class MLP(Architecture):
    """multilayer perceptron: a chain of Linear layers with activations between them"""

    name = "mlp"
    general = True

    def layers(self, *, inputs: int = 4, hidden: Sizes = 8, outputs: int = 1, activation: str = "relu") -> Layer:
        """Return a Sequential of Linear, activation, …, Linear.

        inputs: numbers that go in
        hidden: width of the hidden layer, or of each: 8,16; none for a single Linear
        outputs: numbers that come out
        activation: relu, tanh, sigmoid, silu, gelu, elu, leaky_relu, or none
        """
        require_activation(activation)
        sizes = (inputs, *((hidden,) if isinstance(hidden, int) else hidden), outputs)
        step = 1 if activation == NO_ACTIVATION else 2
        pairs = enumerate(pairwise(sizes))
        return tree_of([Link((str(step * k),), before, after, True) for k, (before, after) in pairs], activation)

    def recognise(self, shapes: Mapping[str, Shape], given: Mapping[str, object]) -> Member | None:
        """Return the chain of Linear layers that these tensors make; the activation is assumed where it is not given."""
        links = find_chain(shapes)
        if not links or any(after - before > MOST_BETWEEN + 1 for before, after in gaps(links)):
            return None
        without_gaps = all(link.number == k for k, link in enumerate(links))
        activation = str(given.get("activation", NO_ACTIVATION if without_gaps and len(links) > 1 else "relu"))
        require_activation(activation)
        tree = tree_of(links, activation)
        hidden = tuple(link.outputs for link in links[:-1])
        sizes = {"inputs": links[0].inputs, "hidden": hidden[0] if len(hidden) == 1 else hidden, "outputs": links[-1].outputs}
        return Member({**sizes, "activation": activation}, tree, tuple(assumptions(tree, links, activation, given)))


def require_activation(name: str) -> None:
    """Refuse an activation that is not known. Raises UsageError."""
    if name not in ACTIVATIONS and name != NO_ACTIVATION:
        raise UsageError(f"no activation is called {name!r}", f"one of {', '.join(ACTIVATIONS)}, none")


def gaps(links: Sequence[Link]) -> Iterable[tuple[int, int]]:
    """Yield the numbers of each two Linear layers that follow each other in one Sequential; before the first comes -1."""
    for _, group in groupby(links, container):
        numbers = [-1, *(link.number for link in group)]
        yield from pairwise(numbers)


def tree_of(links: Sequence[Link], activation: str) -> Layer:
    """Return the chain as layers under their own names: a Linear, a Sequential, or an `MLP` of named layers and Sequentials."""
    if not links[0].pieces:
        return linear(*links[0][1:])
    children: dict[str, Layer] = {}
    for path, group in groupby(links, container):
        part = list(group)
        children["".join(path)] = numbered(part, activation) if part[0].number >= 0 else linear(*part[0][1:])
    if "" in children:
        return children[""]
    return Layer("MLP", children=children, make=lambda child: mlp_module(list(children), child, activation))


def numbered(links: Sequence[Link], activation: str) -> Layer:
    """Return a Sequential of numbered layers; the gaps between the numbers are layers without parameters."""
    children: dict[str, Layer] = {}
    for link in links:
        for gap in range(len(children), link.number):
            children[str(gap)] = filler(gap, str(gap - 1) in children and children[str(gap - 1)].type == "Linear", activation)
        children[str(link.number)] = linear(*link[1:])
    return Layer("Sequential", children=children)


def filler(number: int, after_linear: bool, activation: str) -> Layer:
    """Return the layer in a gap: the activation after a Linear, a Flatten at the start, else an Identity."""
    if after_linear and activation != NO_ACTIVATION:
        return activation_layer(activation)
    return Layer("Flatten", {"start_dim": 1, "end_dim": -1}) if number == 0 else Layer("Identity")


def assumptions(tree: Layer, links: Sequence[Link], activation: str, given: Mapping[str, object]) -> Iterable[str]:
    """Yield what names and shapes do not tell, as texts `activation=relu`."""
    if tree.type == "MLP":
        yield "class=MLP"
    if len(links) > 1 and "activation" not in given:
        yield f"activation={activation}"
    yield from (f"{path}={layer.type}" for path, layer in tree.walk() if layer.type in ("Flatten", "Identity"))


def mlp_module(names: Sequence[str], child: Callable[[str], Module], activation: str) -> Module:
    """Build a module that calls these children in turn, with the activation between them."""
    from torch import Tensor, nn

    class MLP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in names:
                self.add_module(name, child(name))
            self.between = [] if activation == NO_ACTIVATION else [activation_layer(activation).module()]

        def forward(self, x: Tensor) -> Tensor:
            for number, layer in enumerate(self.children()):
                for function in self.between if number else ():
                    x = function(x)
                x = layer(x)
            return x

    return MLP()
