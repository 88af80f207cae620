"""The layers in a file of Keras: their types and own names, what each variable is called, and the order of get_weights().

Keras 3 keeps the variables of a layer by number (numbered_layers); Keras 2 and whole models in .h5 keep them by name (named_layers).
"""

from __future__ import annotations

from typing import NamedTuple

from .hdf5_objects import HDF5Tree
from .layer_classes import Config, natural


class Naming(NamedTuple):
    """What a file says of its layers.

    Attributes:
        names: The names of all tensors, in order.
        layers: The path of each layer, made of the layers' own names, → its class.
        layer_of: The name of a tensor → the path of its layer, and what the variable is called there (as in Checkpoint).
    """

    names: list[str]
    layers: dict[str, str]
    layer_of: dict[str, tuple[str, str]]


def naming(tree: HDF5Tree, config: Config | None) -> Naming:
    """Find the layers in `tree`; a file that Keras did not write has an order of names alone.

    Args:
        tree: What the HDF5 file holds.
        config: The model's config, where there is one.
    """
    layers, layer_of = _layers(tree, config)
    others = sorted(
        (name for name in tree.tensors if name not in layer_of),
        key=lambda name: (name.split("/")[0].startswith("optim"), natural(name)),
    )
    listed = [f"optimizer_weights/{name}" for name in tree.texts("optimizer_weights", "weight_names")]
    optimizer = [name for name in dict.fromkeys(listed) if name in tree.tensors]
    return Naming([*layer_of, *(name for name in others if name not in optimizer), *optimizer], layers, layer_of)


def _layers(tree: HDF5Tree, config: Config | None) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    nodes = tree.nodes
    if "model_weights" in nodes or any(each.name.startswith("layer_names") for each in nodes[""].attributes):
        from .named_layers import NamedLayers

        named = NamedLayers(tree, "model_weights" if "model_weights" in nodes else "", config)
        return named.layers if config else {}, named.layer_of
    if "layers" in nodes or any(path.endswith("/vars") or path == "vars" for path in nodes):
        from .numbered_layers import NumberedLayers

        numbered = NumberedLayers(tree, config)
        return numbered.layers, numbered.layer_of
    return {}, {}
