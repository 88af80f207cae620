"""What a layer of Keras fills its variables with, by its config: `kernel_initializer` and its kin, or else the defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..architectures.layers import Shape
from ..formats.keras.layer_classes import arguments_of
from .keras_initializers import NotTold, Seen, scheme_of

__all__ = ["NotTold", "initialisation"]

# Classes of Keras whose variables the tables below describe.
_KNOWN = re.compile(
    r"Dense|EinsumDense|(Depthwise|Separable)?Conv\dD(Transpose)?|ConvLSTM\dD(Cell)?|(LSTM|GRU|SimpleRNN)(Cell)?"
    r"|(Batch|Layer|Group|RMS|Sync(hronized)?Batch)Normalization|(Reversible)?Embedding|PReLU"
)
# variable → (the argument that initialises it, the default)
_ARGUMENTS = {
    "kernel": ("kernel_initializer", "glorot_uniform"),
    "depthwise_kernel": ("depthwise_initializer", "glorot_uniform"),
    "pointwise_kernel": ("pointwise_initializer", "glorot_uniform"),
    "recurrent_kernel": ("recurrent_initializer", "orthogonal"),
    "bias": ("bias_initializer", "zeros"),
    "gamma": ("gamma_initializer", "ones"),
    "beta": ("beta_initializer", "zeros"),
    "moving_mean": ("moving_mean_initializer", "zeros"),
    "moving_variance": ("moving_variance_initializer", "ones"),
    "embeddings": ("embeddings_initializer", "uniform"),
    "alpha": ("alpha_initializer", "zeros"),
    "scale": ("", "ones"),  # of RMSNormalization
}


def initialisation(config: Mapping[str, Any], kind: str, path: str, variable: str, shape: Shape) -> str:
    """Return the scheme that draws what a layer fills a variable with.

    Args:
        config: the layer's config, or that of the attention that it is a part of.
        kind: the layer's class.
        path: the layer's path.
        variable: what the layer calls it: `kernel`.
        shape: its shape.

    Raises:
        NotTold: the config does not tell.
    """
    if not _is_keras_own(config) or not _KNOWN.fullmatch(kind):
        raise NotTold(f"what {kind or 'its layer'} fills it with is not known")
    if variable not in _ARGUMENTS:
        raise NotTold(f"what a {kind} fills {variable[:60]} with is not known")
    argument, default = _ARGUMENTS[variable]
    if kind.startswith("Depthwise") and variable == "kernel":
        argument = "depthwise_initializer"
    arguments = arguments_of(config)
    given = arguments.get(argument, default)
    if "LSTM" in kind and variable == "bias" and arguments.get("unit_forget_bias", True):
        return _lstm_bias(given, shape)
    return scheme_of(given, Seen(shape, *_einsum_axes(config, kind, path, variable, len(shape))))


def _is_keras_own(config: Mapping[str, Any]) -> bool:
    """Whether the class is one of Keras': a class that was registered under another name is not, whatever it is called."""
    return config.get("registered_name") is None and str(config.get("module", "keras")).split(".")[0] == "keras"


def _lstm_bias(given: Any, shape: Shape) -> str:
    """The bias of an LSTM: 1 in the forget gate, the second quarter, and what its initializer draws in the others.

    keras/src/layers/rnn/lstm.py.
    """
    if len(shape) != 1 or shape[0] % 4:
        raise NotTold("the bias of an LSTM has four parts")
    units = shape[0] // 4
    others = scheme_of(given, Seen((units,)))
    if "fan=" in others:
        raise NotTold("its parts are drawn with fans of their own")
    return f"rows({others}, {units}:{2 * units}=ones)" if units else others


def _einsum_axes(config: Mapping[str, Any], kind: str, path: str, variable: str, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of inputs and of outputs of an EinsumDense's kernel; nothing for others, whose kernels end with inputs, outputs.

    An axis that the output has is one of outputs (keras/src/layers/core/einsum_dense.py).
    """
    if kind != "EinsumDense" or variable != "kernel":
        return (), ()
    if config.get("class_name") != "EinsumDense":  # a part of an attention
        into = count - 1 if count == 2 else 2 if path.endswith("attention_output") else 1
        return tuple(range(into)), tuple(range(into, count))
    terms = re.fullmatch(r"([a-zA-Z.]+),([a-zA-Z]+)->([a-zA-Z.]+)", str(arguments_of(config).get("equation")).replace(" ", ""))
    if not terms or len(terms[2]) != count:
        raise NotTold("its equation does not tell the axes of the kernel")
    outputs = tuple(axis for axis, letter in enumerate(terms[2]) if letter in terms[3])
    return tuple(axis for axis in range(count) if axis not in outputs), outputs
