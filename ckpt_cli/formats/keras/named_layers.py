"""The layers in a file of Keras 2, and in whole models in .h5: groups by the layers' own names.

The attributes `layer_names` and `weight_names` hold the order. As in keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import re

from .hdf5_objects import HDF5Tree
from .layer_classes import RECURRENT, Config, class_of, layers_in, name_of, path_below

_TOP_LEVEL = "top_level_model_weights"  # the group of variables that belong to the model itself


class NamedLayers:
    """The layers below one group.

    Attributes:
        layers: The path of each layer, made of the layers' own names, → its class.
        layer_of: The name of a tensor → the path of its layer, and the name of the variable without its number (`:0`).
    """

    def __init__(self, tree: HDF5Tree, root: str, config: Config | None) -> None:
        """Find the layers below the group `root`, with the help of the model's config."""
        self.layers: dict[str, str] = {"": str(config.get("class_name", ""))} if config else {}
        self.layer_of: dict[str, tuple[str, str]] = {}
        self._tree, self._root = tree, root
        configs = {name_of(inner): inner for inner in layers_in(config)}
        for name in dict.fromkeys([*tree.texts(root, "layer_names"), _TOP_LEVEL]):
            paths: dict[str, list[str]] = {}
            if name in configs:
                self._add(configs[name], path_below("", name), paths)
            self._add_weights(name, paths)

    def _add(self, config: Config, layer: str, paths: dict[str, list[str]]) -> None:
        """Add a layer and those in it; `paths` gets the paths of the layers of each name."""
        self.layers[layer] = config["class_name"]
        paths.setdefault(name_of(config), []).append(layer)
        for inner in layers_in(config):
            self._add(inner, path_below(layer, name_of(inner)), paths)

    def _add_weights(self, name: str, paths: dict[str, list[str]]) -> None:
        group = f"{self._root}/{name}" if self._root else name
        for weight in self._tree.texts(group, "weight_names"):
            path = f"{group}/{weight}"
            if path in self._tree.tensors:
                *above, leaf = weight.split("/")
                self.layer_of[path] = self._layer(name, above, paths), re.sub(r":\d+$", "", leaf)

    def _layer(self, name: str, above: list[str], paths: dict[str, list[str]]) -> str:
        """Return the layer of a weight: the innermost that the config has, and the parts below it that only the weight's name tells.

        Args:
            name: The layer that the weight is listed under.
            above: The parts of the weight's name before the last.
            paths: The name of a layer → the paths of the layers so called.
        """
        if name == _TOP_LEVEL:
            return ""
        at = next((at for at in range(len(above) - 1, -1, -1) if above[at] in (paths or (name,))), -1)
        candidates = paths.get(above[at], []) if at >= 0 else []
        fallback = candidates[0] if candidates else path_below("", name)
        layer = next((path for path in candidates if _ends_with(above[: at + 1], path)), fallback)
        for part in above[at + 1 :]:
            class_name = self.layers.get(layer)
            if class_name in RECURRENT and part.endswith("_cell"):
                continue
            inner = "EinsumDense" if class_name == "MultiHeadAttention" else class_of(re.sub(r"^(forward|backward)_", "", part))
            layer = path_below(layer, part)
            self.layers.setdefault(layer, inner)
        return layer


def _ends_with(names: list[str], layer: str) -> bool:
    """Whether the last of `names` make up the path `layer`."""
    path = layer.split("/")
    return names[-len(path) :] == path
