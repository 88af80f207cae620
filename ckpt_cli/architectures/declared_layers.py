"""The tree of layers that a file declares: a pickled `nn.Module` names the class of each layer, as does the config of a Keras model."""

from __future__ import annotations

from collections.abc import Mapping

from .layers import ACTIVATIONS, Layer, Shape, linear

# Types whose line in print(net) has no arguments, as long as these are the defaults.
BARE = {kind for kind, arguments in ACTIVATIONS.values() if not arguments} | {"Identity", "Sequential", "ModuleList", "ModuleDict"}


def root_of(types: Mapping[str, str]) -> str | None:
    """Return the path that all others lie under; None where the file declares no layers, or several modules."""
    root = min(types, key=len, default=None)
    inside = f"{root}." if root else ""
    return root if root is not None and all(path == root or path.startswith(inside) for path in types) else None


def tree_of(types: Mapping[str, str], shapes: Mapping[str, Shape], separator: str = ".") -> Layer:
    """Return the tree of layers.

    The printed arguments are known for Linear, by its shapes, and for types that print none; others print `...`.

    Args:
        types: path → type of each layer; the root's path is empty.
        shapes: name → shape of each tensor.
        separator: what divides the parts of paths and names.
    """
    child_paths: dict[str, dict[str, str]] = {}
    for path in types:
        if path:
            parent, _, name = path.rpartition(separator)
            child_paths.setdefault(parent, {})[name] = path
    parameters: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        parent, _, leaf = name.rpartition(separator)
        parameters.setdefault(parent, {})[leaf] = shape

    def subtree(path: str) -> Layer:
        children = {name: subtree(child) for name, child in child_paths.get(path, {}).items()}
        return declared_layer(types[path], parameters.get(path, {}), children)

    return subtree("")


def declared_layer(kind: str, parameters: Mapping[str, Shape], children: Mapping[str, Layer]) -> Layer:
    """Return a layer of that type with these parameters (name → shape) and children."""
    weight = parameters.get("weight", ())
    if kind == "Linear" and len(weight) == 2:
        return linear(weight[1], weight[0], "bias" in parameters)
    unknown = not children and kind not in BARE
    return Layer(kind, {"...": ...} if unknown else {}, parameters, children=children)
