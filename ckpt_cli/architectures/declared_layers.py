"""What a file itself says of its layers: a whole pickled `nn.Module` names the class of each, and so does the config of a Keras model."""

from __future__ import annotations

from collections.abc import Mapping

from .layers import ACTIVATIONS, Layer, Shape, linear

# Types that print nothing of themselves, as long as nothing but their defaults was given.
BARE = {kind for kind, arguments in ACTIVATIONS.values() if not arguments} | {"Identity", "Sequential", "ModuleList", "ModuleDict"}


def root_of(types: Mapping[str, str]) -> str | None:
    """The path that all others lie under; None where the file holds several modules."""
    root = min(types, key=len, default=None)
    inside = f"{root}." if root else ""
    return root if root is not None and all(path == root or path.startswith(inside) for path in types) else None


def tree_of(types: Mapping[str, str], shapes: Mapping[str, Shape], separator: str = ".") -> Layer:
    """The tree of layers from path → type and name → shape, the root's path being empty.

    What a layer prints of itself is known for Linear, by its shapes, and for what prints nothing; others print `...`.
    """
    below: dict[str, dict[str, str]] = {}
    for path in types:
        if path:
            parent, _, name = path.rpartition(separator)
            below.setdefault(parent, {})[name] = path
    own: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        parent, _, leaf = name.rpartition(separator)
        own.setdefault(parent, {})[leaf] = shape

    def grown(path: str) -> Layer:
        children = {name: grown(child) for name, child in below.get(path, {}).items()}
        return layer_of(types[path], own.get(path, {}), children)

    return grown("")


def layer_of(kind: str, own: Mapping[str, Shape], children: Mapping[str, Layer]) -> Layer:
    weight = own.get("weight", ())
    if kind == "Linear" and len(weight) == 2:
        return linear(weight[1], weight[0], "bias" in own)
    unknown = not children and kind not in BARE
    return Layer(kind, {"...": ...} if unknown else {}, own, children=children)
