"""Layers as plain values: names, shapes and what `print(net)` prints of a network, known without torch.

A `Layer` is a tree. One object in two places of the tree is one layer used twice: its tensors are tied.
`Layer.module` turns the tree into the `torch.nn.Module` that it describes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.nn import Module

Shape = tuple[int, ...]
Ties = set[frozenset[str]]

# activation → its class in torch.nn, and the arguments in its line of print(net)
ACTIVATIONS: dict[str, tuple[str, dict[str, object]]] = {
    "relu": ("ReLU", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "silu": ("SiLU", {}),
    "gelu": ("GELU", {"approximate": "none"}),
    "elu": ("ELU", {"alpha": 1.0}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01}),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer with the layers in it.

    Attributes:
        type: the name of its class.
        arguments: the arguments of its class, as printed; `...` as a value prints the key alone.
        parameters: name → shape of its own parameters.
        buffers: name → shape of its own buffers.
        children: the layers in it by name.
        make: builds the module where neither `torch.nn.TYPE(**arguments)` nor a Sequential does. It is given a function that builds the
            child of a name.
    """

    type: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    parameters: Mapping[str, Shape] = field(default_factory=dict)
    buffers: Mapping[str, Shape] = field(default_factory=dict)
    children: Mapping[str, Layer] = field(default_factory=dict)
    make: Callable[[Callable[[str], Module]], Module] | None = None

    def walk(self, path: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield every layer with its path, in the order of `print(net)`; the root's path is empty."""
        waiting: list[tuple[str, Layer]] = [(path, self)]
        while waiting:
            path, layer = waiting.pop()
            yield path, layer
            waiting += [(join_path(path, name), child) for name, child in reversed(list(layer.children.items()))]

    def shapes(self) -> dict[str, Shape]:
        """Return name → shape, in the order of `state_dict()`: a layer's own parameters, its buffers, then the layers in it."""
        return {
            join_path(path, name): shape for path, layer in self.walk() for name, shape in {**layer.parameters, **layer.buffers}.items()
        }

    def buffer_names(self) -> frozenset[str]:
        """Return the names of all buffers."""
        return frozenset(join_path(path, name) for path, layer in self.walk() for name in layer.buffers)

    def ties(self) -> Ties:
        """Return the groups of names that a layer used more than once gives its tensors."""
        names: dict[tuple[int, str], list[str]] = {}
        for path, layer in self.walk():
            for name in (*layer.parameters, *layer.buffers):
                names.setdefault((id(layer), name), []).append(join_path(path, name))
        return {frozenset(group) for group in names.values() if len(group) > 1}

    def module(self, built: dict[int, Module] | None = None) -> Module:
        """Build the `torch.nn.Module` of this tree, initialised in the order of the tree; a layer used twice is built once.

        Args:
            built: the modules built so far, by the id of their Layer.
        """
        built = {} if built is None else built
        if id(self) not in built:
            built[id(self)] = self._build(built)
        return built[id(self)]

    def _build(self, built: dict[int, Module]) -> Module:
        from torch import nn

        if self.make:
            return self.make(lambda name: self.children[name].module(built))
        if self.type == "Sequential":
            sequential = nn.Sequential()
            for name, child in self.children.items():
                sequential.add_module(name, child.module(built))
            return sequential
        module: Module = getattr(nn, self.type)(**self.arguments)
        return module

    def __str__(self) -> str:
        """What `print(net)` prints: torch.nn.Module.__repr__, for layers whose arguments fit one line."""
        arguments = ", ".join(key if value is ... else f"{key}={value!r}" for key, value in self.arguments.items())
        if not self.children:
            return f"{self.type}({arguments})"
        lines = ([arguments] if arguments else []) + [f"({name}): {child}" for name, child in self.children.items()]
        return f"{self.type}(\n" + "".join(f"  {line}\n" for line in "\n".join(lines).split("\n")) + ")"


def linear(inputs: int, outputs: int, bias: bool = True) -> Layer:
    """Return a `torch.nn.Linear`: a weight of outputs×inputs, a bias of outputs."""
    parameters: dict[str, Shape] = {"weight": (outputs, inputs)} | ({"bias": (outputs,)} if bias else {})
    return Layer("Linear", {"in_features": inputs, "out_features": outputs, "bias": bias}, parameters)


def activation_layer(name: str) -> Layer:
    """Return the activation called `name` in `ACTIVATIONS`."""
    return Layer(*ACTIVATIONS[name])


def sequential(*layers: Layer) -> Layer:
    """Return a `torch.nn.Sequential`, whose children are called 0, 1, 2, and so on."""
    return Layer("Sequential", children={str(number): layer for number, layer in enumerate(layers)})


def join_path(path: str, name: str) -> str:
    """Return the name of a tensor or layer inside `path`; the root's path is empty."""
    return f"{path}.{name}" if path else name
