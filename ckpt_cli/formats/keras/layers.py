"""What Keras' files say of the layers in them: types, the layers' own names, what each variable is called, in the order of get_weights().

Keras 3 keeps the variables of a layer at PATH/vars/0, PATH/vars/1, …, where PATH is made of containers and classes in snake case
(layers/dense_1); the layer's own name is an attribute of PATH/vars, its class and its arguments are in config.json, where there is one
(keras/src/saving/saving_lib.py). Keras 2 and the whole-model .h5 name groups by the layers' own names; `layer_names` and `weight_names`
hold the order (keras/src/legacy/saving/legacy_h5_format.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .hdf5 import Tree

Config = Mapping[str, Any]

_CLASSES = """
Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D AveragePooling2D AveragePooling3D
BatchNormalization Bidirectional CategoryEncoding CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D
Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Discretization
Dot Dropout ELU EinsumDense Embedding Flatten Functional GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D
GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization
GroupQueryAttention Hashing Identity InputLayer IntegerLookup LSTM LSTMCell Lambda LayerNormalization LeakyReLU Masking MaxPooling1D
MaxPooling2D MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization RNN ReLU RepeatVector
Rescaling Reshape Resizing ReversibleEmbedding SeedGenerator SeparableConv1D SeparableConv2D Sequential SimpleRNN SimpleRNNCell Softmax
SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup Subtract TextVectorization
TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""

# A layer's class → its variables, in the order in which it makes them; before the slash what an argument of its config leaves out.
_VARIABLES = (
    (r"^(Dense|EinsumDense|(Depthwise)?Conv\dD(Transpose)?)$", "kernel use_bias/bias"),
    (r"^SeparableConv\dD$", "depthwise_kernel pointwise_kernel use_bias/bias"),
    (r"^(LSTM|GRU|SimpleRNN)(Cell)?$", "kernel recurrent_kernel use_bias/bias"),
    (r"^BatchNormalization$", "scale/gamma center/beta moving_mean moving_variance"),
    (r"^(Layer|Group)Normalization$", "scale/gamma center/beta"),
    (r"^RMSNormalization$", "scale"),
    (r"Embedding$", "embeddings"),
    (r"^PReLU$", "alpha"),
    (r"^Normalization$", "mean variance count"),
    (r"^SeedGenerator$", "seed_generator_state"),
)
_RECURRENT = ("LSTM", "GRU", "SimpleRNN")  # layers whose variables are those of their one cell
_PARTS = ("query_dense", "key_dense", "value_dense", "output_dense", "forward_layer", "backward_layer")  # of a layer, in its own order


class Naming(NamedTuple):
    """`names`: those of all tensors, in order. `layers`: the path of a layer by own names → its type. `homes`: as Checkpoint has them."""

    names: list[str]
    layers: dict[str, str]
    layer_of: dict[str, tuple[str, str]]


def naming(tree: Tree, config: Config | None) -> Naming:
    """What the file says of its layers; nothing but an order where Keras did not write it."""
    nodes = tree.nodes
    if "model_weights" in nodes or any(each.name.startswith("layer_names") for each in nodes[""].attributes):
        found = _Legacy(tree, "model_weights" if "model_weights" in nodes else "", config).naming()
    elif "layers" in nodes or any(path.endswith("/vars") or path == "vars" for path in nodes):
        found = _Numbered(tree, config).naming()
    else:
        found = Naming([], {}, {})
    rest = sorted(
        (name for name in tree.tensors if name not in found.layer_of),
        key=lambda name: (name.split("/")[0].startswith("optim"), natural(name)),
    )
    weights = [f"optimizer_weights/{name}" for name in tree.texts("optimizer_weights", "weight_names")]
    told = [name for name in dict.fromkeys(weights) if name in tree.tensors]
    return found._replace(names=[*found.layer_of, *(name for name in rest if name not in told), *told])


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts 2 before 10."""
    return [(int(part) if part.isdecimal() and len(part) < 19 else -1, part) for part in re.split(r"(\d+)", name)]


def snake(name: str) -> str:
    """A class as Keras 3 calls it in paths (keras/src/utils/naming.py)."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _class_of(path: str) -> str:
    """The class that a name in snake case with a number behind it tells: `batch_normalization_3`."""
    return _by_snake().get(re.sub(r"_\d+$", "", path), "")


_known: dict[str, str] = {}


def _by_snake() -> dict[str, str]:
    if not _known:
        _known.update({snake(name): name for name in _CLASSES.split()})
    return _known


def _inside(config: Config | None) -> Config:
    """The arguments of a layer."""
    inner = config.get("config") if config else None
    return inner if isinstance(inner, dict) else {}


def _layers_in(config: Config | None) -> list[Config]:
    """The layers of a Sequential or functional model, as they are saved: no plain operations, and of a Sequential not its input."""
    found = _inside(config).get("layers")
    layers: list[Config] = [each for each in found if _is_layer(each)] if isinstance(found, list) else []
    if config and config.get("class_name") == "Sequential" and layers and layers[0]["class_name"] == "InputLayer":
        return layers[1:]
    return layers


def _is_layer(config: Any) -> bool:
    """Whether this is what a layer is made from, and no plain operation."""
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        return False
    return not str(config.get("module", "")).startswith(("keras.src.ops", "keras.ops"))


def _own_name(config: Config) -> str:
    return str(_inside(config).get("name") or config.get("name") or "")


def _beneath(path: str, name: str) -> str:
    name = name.replace("\\", "\\\\").replace("/", "\\/")
    return f"{path}/{name}" if path else name


def _variables(kind: str, config: Config | None, count: int) -> list[str]:
    """What the first variables of a layer of this type are called; nothing where its arguments are not known and leave a doubt."""
    told = next((words.split() for pattern, words in _VARIABLES if re.search(pattern, kind)), [])
    arguments = _inside(config)
    if not arguments and (kind.endswith("Normalization") and count != len(told)):
        return []
    made = [word for word in told if arguments.get(word.partition("/")[0], True) is not False or "/" not in word]
    return [word.rpartition("/")[2] for word in made]


class _Numbered:
    """Keras 3: PATH/vars/0."""

    def __init__(self, tree: Tree, config: Config | None) -> None:
        self.tree, self.config = tree, config
        self.below: dict[str, list[str]] = {}
        for path in tree.nodes:
            if path:
                parent, _, name = path.rpartition("/")
                self.below.setdefault(parent, []).append(name)
        self.layers: dict[str, str] = {}
        self.layer_of: dict[str, tuple[str, str]] = {}

    def naming(self) -> Naming:
        kind = str(self.config.get("class_name", "")) if self.config else _class_of(self._said(""))
        self._place("", "", self.config, kind)
        return Naming([], self.layers, self.layer_of)

    def _place(self, group: str, own: str, config: Config | None, kind: str) -> None:
        """The layer in `group`, whose path by own names is `own`, and all in it."""
        if own in self.layers:  # two of one name: told apart by where they lie
            own = _beneath(own, group)
        self.layers[own] = kind
        self._own(f"{group}/vars" if group else "vars", own, config, kind)
        for path, name, inner, child_kind in self._children(group, own, config, kind):
            self._place(path, _beneath(own, name), inner, child_kind)

    def _own(self, variables: str, own: str, config: Config | None, kind: str) -> None:
        """The variables of a layer itself, which lie in the group `variables`."""
        numbers = sorted(self.below.get(variables, ()), key=natural)
        known = _variables(kind, config, len(numbers))
        for place, number in enumerate(numbers):
            if f"{variables}/{number}" in self.tree.tensors:
                called = known[place] if place < len(known) and number == str(place) else number
                self.layer_of[f"{variables}/{number}"] = own, called

    def _children(self, group: str, own: str, config: Config | None, kind: str) -> Iterator[tuple[str, str, Config | None, str]]:
        """The layers in a layer: the group of each, its own name, its config and its type."""
        before = f"{group}/" if group else ""
        seen = set()
        for name, inner in self._listed(config):
            seen.add(f"{before}layers/{name}")
            yield f"{before}layers/{name}", _own_name(inner) or name, inner, inner["class_name"]
        names = [name for name in self.below.get(group, ()) if name != "vars" and not (group == "" and name == "optimizer")]
        for name in sorted(names, key=lambda name: (_PARTS.index(name) if name in _PARTS else -1, natural(name))):
            path = before + name
            if path == f"{group}/cell" and kind in _RECURRENT:
                self._own(f"{path}/vars", own, config, kind)
            elif f"{path}/vars" in self.tree.nodes and path not in seen and self._matters(path):
                yield path, self._said(path) or name, *self._part(path, name, config, kind)
            if f"{path}/vars" not in self.tree.nodes:
                for child in sorted(self.below.get(path, ()), key=natural):
                    inside = f"{path}/{child}"
                    if inside not in seen and (f"{inside}/vars" in self.tree.nodes or f"{inside}/layers" in self.tree.nodes):
                        yield inside, self._said(inside) or child, None, _class_of(child)

    def _listed(self, config: Config | None) -> Iterator[tuple[str, Config]]:
        """The layers that a model's config lists, each with the name of its group; one that is listed again is there once."""
        used: dict[str, int] = {}
        seen = set()
        for inner in _layers_in(config):
            name = snake(inner["class_name"])
            used[name] = used.get(name, -1) + 1
            if _own_name(inner) not in seen:
                seen.add(_own_name(inner))
                yield (f"{name}_{used[name]}" if used[name] else name), inner

    def _part(self, path: str, name: str, config: Config | None, kind: str) -> tuple[Config | None, str]:
        """Config and type of what is an attribute of a layer: what it wraps, its cell, its projections."""
        wrapped = _inside(config).get("layer")
        if name in ("layer", "forward_layer", "backward_layer") and isinstance(wrapped, dict):
            return wrapped, str(wrapped.get("class_name", ""))
        if kind == "MultiHeadAttention" and name in _PARTS:
            return config, "EinsumDense"
        return None, _class_of(self._said(path).removeprefix("forward_").removeprefix("backward_")) or _class_of(name)

    def _said(self, path: str) -> str:
        """The own name of the layer at `path`."""
        node = self.tree.nodes.get(f"{path}/vars" if path else "vars")
        attribute = node.attribute("name") if node else None
        return attribute.text or "" if attribute else ""

    def _matters(self, path: str) -> bool:
        """A private part is a layer's own business, unless it has variables."""
        return not path.rpartition("/")[2].startswith("_") or any(name.startswith(f"{path}/") for name in self.tree.tensors)


class _Legacy:
    """Keras 2, and whole models in .h5: groups by the layers' own names below `root`."""

    def __init__(self, tree: Tree, root: str, config: Config | None) -> None:
        self.tree, self.root, self.config = tree, root, config
        self.layers: dict[str, str] = {"": str(config.get("class_name", ""))} if config else {}
        self.layer_of: dict[str, tuple[str, str]] = {}

    def naming(self) -> Naming:
        known = {_own_name(inner): inner for inner in _layers_in(self.config)}
        for name in dict.fromkeys([*self.tree.texts(self.root, "layer_names"), "top_level_model_weights"]):
            inside: dict[str, list[str]] = {}
            if name in known:
                self._list(known[name], _beneath("", name), inside)
            self._weights(name, inside)
        return Naming([], self.layers if self.config else {}, self.layer_of)

    def _list(self, config: Config, own: str, inside: dict[str, list[str]]) -> None:
        """The layer and those in it, by their own names."""
        self.layers[own] = config["class_name"]
        inside.setdefault(_own_name(config), []).append(own)
        for inner in _layers_in(config):
            self._list(inner, _beneath(own, _own_name(inner)), inside)

    def _weights(self, name: str, inside: dict[str, list[str]]) -> None:
        group = f"{self.root}/{name}" if self.root else name
        for weight in self.tree.texts(group, "weight_names"):
            path = f"{group}/{weight}"
            if path in self.tree.tensors:
                *above, leaf = weight.split("/")
                self.layer_of[path] = self._home(name, above, inside), re.sub(r":\d+$", "", leaf)

    def _home(self, name: str, above: list[str], inside: dict[str, list[str]]) -> str:
        """The layer that a weight is in: the innermost that the config knows, and the parts of it that only the weight's name tells."""
        if name == "top_level_model_weights":
            return ""
        at = next((at for at in range(len(above) - 1, -1, -1) if above[at] in (inside or (name,))), -1)
        owns = inside.get(above[at], []) if at >= 0 else []
        layer = next((own for own in owns if _agrees(own, above[: at + 1])), owns[0] if owns else _beneath("", name))
        for part in above[at + 1 :]:
            if self.layers.get(layer) in _RECURRENT and part.endswith("_cell"):
                continue
            kind = "EinsumDense" if self.layers.get(layer) == "MultiHeadAttention" else _class_of(re.sub(r"^(forward|backward)_", "", part))
            layer = _beneath(layer, part)
            self.layers.setdefault(layer, kind)
        return layer


def _agrees(own: str, above: list[str]) -> bool:
    """Whether the names of the layers above a weight lead to the layer `own`."""
    path = own.split("/")
    return above[-len(path) :] == path
