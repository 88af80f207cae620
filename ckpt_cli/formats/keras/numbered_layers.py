"""The layers in a file of Keras 3, which keeps the variables of a layer by number.

They lie at PATH/vars/0, PATH/vars/1, …, where PATH is made of containers and classes in snake case (layers/dense_1). A layer's own name is
an attribute of PATH/vars; its class and its arguments are in the model's config, where there is one. As in
keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from .hdf5_objects import HDF5Tree
from .layer_classes import RECURRENT, Config, arguments_of, class_of, layers_in, name_of, natural, path_below, snake_case, variables_of

# Attributes of a layer that are layers, in the order in which it creates them.
_PARTS = ("query_dense", "key_dense", "value_dense", "output_dense", "forward_layer", "backward_layer")


class NumberedLayers:
    """The layers below the root.

    Attributes:
        layers: The path of each layer, made of the layers' own names, → its class.
        layer_of: The name of a tensor → the path of its layer, and the name of the variable (its number where that is not known).
    """

    def __init__(self, tree: HDF5Tree, config: Config | None) -> None:
        """Find the layers in `tree`, with the help of the model's config."""
        self.layers: dict[str, str] = {}
        self.layer_of: dict[str, tuple[str, str]] = {}
        self._tree = tree
        self._children: dict[str, list[str]] = {}  # path of a group → the names in it
        for path in tree.nodes:
            if path:
                parent, _, name = path.rpartition("/")
                self._children.setdefault(parent, []).append(name)
        class_name = str(config.get("class_name", "")) if config else class_of(self._own_name(""))
        self._add("", "", config, class_name)

    def _add(self, group: str, layer: str, config: Config | None, class_name: str) -> None:
        """Add the layer that is kept in `group` and whose path is `layer`, and all layers in it."""
        if layer in self.layers:  # two layers of one name: the group tells them apart
            layer = path_below(layer, group)
        self.layers[layer] = class_name
        self._add_variables(f"{group}/vars" if group else "vars", layer, config, class_name)
        for path, name, inner_config, inner_class in self._layers_in(group, layer, config, class_name):
            self._add(path, path_below(layer, name), inner_config, inner_class)

    def _add_variables(self, group: str, layer: str, config: Config | None, class_name: str) -> None:
        """Add the variables in `group` to a layer."""
        numbers = sorted(self._children.get(group, ()), key=natural)
        names = variables_of(class_name, config, len(numbers))
        for index, number in enumerate(numbers):
            if f"{group}/{number}" in self._tree.tensors:
                name = names[index] if index < len(names) and number == str(index) else number
                self.layer_of[f"{group}/{number}"] = layer, name

    def _layers_in(self, group: str, layer: str, config: Config | None, class_name: str) -> Iterator[tuple[str, str, Config | None, str]]:
        """Yield the group, own name, config and class of each layer in a layer. The variables of its one cell become its own."""
        before = f"{group}/" if group else ""
        seen = set()
        for name, inner in self._listed(config):
            seen.add(f"{before}layers/{name}")
            yield f"{before}layers/{name}", name_of(inner) or name, inner, inner["class_name"]
        names = [name for name in self._children.get(group, ()) if name != "vars" and not (group == "" and name == "optimizer")]
        for name in sorted(names, key=lambda name: (_PARTS.index(name) if name in _PARTS else -1, natural(name))):
            path = before + name
            if path == f"{group}/cell" and class_name in RECURRENT:
                self._add_variables(f"{path}/vars", layer, config, class_name)
            elif f"{path}/vars" in self._tree.nodes and path not in seen and self._counts(path):
                yield path, self._own_name(path) or name, *self._part(path, name, config, class_name)
            if f"{path}/vars" not in self._tree.nodes:
                yield from self._contained(path, seen)

    def _contained(self, path: str, seen: set[str]) -> Iterator[tuple[str, str, Config | None, str]]:
        """Yield the layers in the container at `path` that no config lists."""
        for name in sorted(self._children.get(path, ()), key=natural):
            inner = f"{path}/{name}"
            if inner not in seen and (f"{inner}/vars" in self._tree.nodes or f"{inner}/layers" in self._tree.nodes):
                yield inner, self._own_name(inner) or name, None, class_of(name)

    def _listed(self, config: Config | None) -> Iterator[tuple[str, Config]]:
        """Yield the layers that a model's config lists, each with the name of its group; one that is used again comes once."""
        counts: dict[str, int] = {}
        seen = set()
        for inner in layers_in(config):
            name = snake_case(inner["class_name"])
            counts[name] = counts.get(name, -1) + 1
            if name_of(inner) not in seen:
                seen.add(name_of(inner))
                yield (f"{name}_{counts[name]}" if counts[name] else name), inner

    def _part(self, path: str, name: str, config: Config | None, class_name: str) -> tuple[Config | None, str]:
        """Return config and class of a layer that is an attribute of another: what it wraps, its cell, its projections."""
        wrapped = arguments_of(config).get("layer")
        if name in ("layer", "forward_layer", "backward_layer") and isinstance(wrapped, dict):
            return wrapped, str(wrapped.get("class_name", ""))
        if class_name == "MultiHeadAttention" and name in _PARTS:
            return config, "EinsumDense"
        return None, class_of(self._own_name(path).removeprefix("forward_").removeprefix("backward_")) or class_of(name)

    def _own_name(self, path: str) -> str:
        """Return the own name of the layer that is kept at `path`; "" where the file has none."""
        node = self._tree.nodes.get(f"{path}/vars" if path else "vars")
        attribute = node.attribute("name") if node else None
        return attribute.text or "" if attribute else ""

    def _counts(self, path: str) -> bool:
        """Whether a part is a layer of its own: a private one (`_name`) is so only where it has variables."""
        return not path.rpartition("/")[2].startswith("_") or any(name.startswith(f"{path}/") for name in self._tree.tensors)
