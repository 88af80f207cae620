"""Keras' layers: classes and names as paths spell them, the variables of each class, and what saved configs say.

A layer's config is {"class_name": …, "config": {"name": …, argument: value, …}, …}, as keras/src/saving/serialization_lib.py writes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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

# Class of a layer → its variables in the order in which it creates them. `argument/variable`: `argument=False` leaves the variable out.
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
RECURRENT = ("LSTM", "GRU", "SimpleRNN")  # layers whose variables are those of their one cell

_class_names: dict[str, str] = {}  # in snake case → as it is; filled on first use


def snake_case(name: str) -> str:
    """Return the name of a class as Keras 3 spells it in paths (to_snake_case in keras/src/utils/naming.py)."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def class_of(name: str) -> str:
    """Return the class behind a default name, such as `batch_normalization_3`; "" where there is none."""
    if not _class_names:
        _class_names.update({snake_case(each): each for each in _CLASSES.split()})
    return _class_names.get(re.sub(r"_\d+$", "", name), "")


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts 2 before 10."""
    return [(int(part) if part.isdecimal() and len(part) < 19 else -1, part) for part in re.split(r"(\d+)", name)]


def path_below(path: str, name: str) -> str:
    r"""Return the path of a layer in the layer at `path`; backslashes and slashes in its name are escaped (`\/`)."""
    name = name.replace("\\", "\\\\").replace("/", "\\/")
    return f"{path}/{name}" if path else name


def arguments_of(config: Config | None) -> Config:
    """Return the arguments in a layer's config; empty where there are none."""
    inner = config.get("config") if config else None
    return inner if isinstance(inner, dict) else {}


def name_of(config: Config) -> str:
    """Return a layer's name; "" where its config has none."""
    return str(arguments_of(config).get("name") or config.get("name") or "")


def layers_in(config: Config | None) -> list[Config]:
    """Return the configs of the layers in a Sequential or functional model, without plain operations and the input of a Sequential."""
    listed = arguments_of(config).get("layers")
    layers: list[Config] = [each for each in listed if _is_layer(each)] if isinstance(listed, list) else []
    if config and config.get("class_name") == "Sequential" and layers and layers[0]["class_name"] == "InputLayer":
        return layers[1:]
    return layers


def _is_layer(config: Any) -> bool:
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        return False
    return not str(config.get("module", "")).startswith(("keras.src.ops", "keras.ops"))


def variables_of(class_name: str, config: Config | None, count: int) -> list[str]:
    """Return the names of the first of a layer's `count` variables; none where its arguments are unknown and leave a doubt."""
    words = next((words.split() for pattern, words in _VARIABLES if re.search(pattern, class_name)), [])
    arguments = arguments_of(config)
    if not arguments and (class_name.endswith("Normalization") and count != len(words)):
        return []
    created = [word for word in words if arguments.get(word.partition("/")[0], True) is not False or "/" not in word]
    return [word.rpartition("/")[2] for word in created]
