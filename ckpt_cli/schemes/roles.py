"""Roles: what a tensor is in its layer. This is the one place that decides it: by the layer's type if known, else by name and shape."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from ..numbers.dtypes import named
from .target import Target, weight_beside


class Role(StrEnum):
    """What a tensor is in its layer."""

    LINEAR = "linear"
    CONV = "conv"  # transposed convolutions, too
    EMBEDDING = "embedding"
    NORM_SCALE = "norm_scale"  # γ of a normalisation
    NORM_SHIFT = "norm_shift"  # β of a normalisation
    BIAS = "bias"  # of anything else
    RECURRENT_INPUT = "recurrent_input"  # the weight of an RNN from its input
    RECURRENT = "recurrent"  # the weight of an RNN from its own state
    RECURRENT_BIAS = "recurrent_bias"
    SLOPE = "slope"  # of a PReLU
    RUNNING_MEAN = "running_mean"
    RUNNING_VAR = "running_var"
    COUNTER = "counter"  # num_batches_tracked and the like
    OTHER = "other"  # optimizer states, integers, complex numbers, what nothing tells; presets leave it as it is


class ClassifiedRole(NamedTuple):
    """A role and how it was decided: `by type Linear`, `by dtype`, `assumed from name`, `assumed from shape`."""

    role: Role
    reason: str


FROM_NAME = "assumed from name"
FROM_SHAPE = "assumed from shape"
BY_DTYPE = "by dtype"

# The last part of a name that decides the role by itself, in torch, Keras and Gluon.
_LEAVES: tuple[tuple[str, Role], ...] = (
    (r"running_mean|moving_mean", Role.RUNNING_MEAN),
    (r"running_var|moving_var(iance)?", Role.RUNNING_VAR),
    (r"num_batches_tracked", Role.COUNTER),
    (r"weight_hh\w*|h2h_weight|recurrent_kernel", Role.RECURRENT),
    (r"weight_(ih|hr)\w*|i2h_weight|h2r_weight", Role.RECURRENT_INPUT),
    (r"bias_(ih|hh)\w*|[ih]2h_bias", Role.RECURRENT_BIAS),
    (r"gamma", Role.NORM_SCALE),
    (r"beta", Role.NORM_SHIFT),
    (r"embeddings", Role.EMBEDDING),
    (r"in_proj_bias|bias_[kv]", Role.BIAS),
    (r"in_proj_weight|[qkv]_proj_weight", Role.LINEAR),
    (r"prelu\d*_alpha", Role.SLOPE),
)

# What a training checkpoint holds beside the model.
_TRAINING = re.compile(r"(^|[./])(optim\w*|opt_state|\w*scheduler\w*|\w*scaler|rng\w*|random\w*)[./]")


class _Family(StrEnum):
    """Layer types whose tensors have the same roles."""

    NORM = "norm"
    EMBEDDING = "embedding"
    CONV = "conv"
    LINEAR = "linear"
    RECURRENT = "recurrent"
    SLOPE = "slope"


# A layer's type, as torch, Keras, MXNet and what builds upon them call it.
_TYPES: tuple[tuple[str, _Family], ...] = (
    (r"Norm(?!alization)|(Batch|Layer|Group|RMS)Normalization", _Family.NORM),  # Keras' Normalization has statistics of the data
    (r"Embedding", _Family.EMBEDDING),
    (r"Conv|^Deconvolution$", _Family.CONV),
    (r"(^|[a-z])(Linear|Dense)$|^FullyConnected$|Multi[Hh]eadAttention", _Family.LINEAR),
    (r"^(Simple|Lazy)?(LSTM|GRU|RNN)(Cell)?$", _Family.RECURRENT),
    (r"^(PReLU|LeakyReLU)$", _Family.SLOPE),  # MXNet's LeakyReLU has tensors where it is a PReLU
)

# The layer's own name, where its type is not known.
_NORM = r"\w*norm\w*|\w*normalization\w*|ln(_?\w+)?|bn\d*|\w+_(ln|bn)"
_EMBEDDING = r"wte|wpe|emb|\w*embed\w*|\w*embd|tok\w*"
_BIAS = r"(\w*_)?(bias\w*|b)"
_SCALE = r"(\w*_)?(weight|gamma|scale|g)"


def role_of(target: Target, layer_type: str | None = None) -> ClassifiedRole:
    """Decide what a tensor is in its layer.

    Args:
        target: the tensor.
        layer_type: the class name of the layer that holds it, where an architecture or the file states it.
    """
    *path, leaf = re.split(r"[./]", re.sub(r"^(arg|aux):", "", target.name))  # MXNet's Module puts arg: or aux: before all names
    parent = path[-1] if path else ""
    if named(target.dtype).kind != "f" or target.dtype == "float8_e8m0fnu":  # the latter holds scales of other tensors
        return ClassifiedRole(Role.COUNTER, FROM_NAME) if leaf == "num_batches_tracked" else ClassifiedRole(Role.OTHER, BY_DTYPE)
    by_leaf = next((role for pattern, role in _LEAVES if re.search(rf"(^|_)({pattern})$", leaf)), None)
    if _TRAINING.search(target.name):
        return ClassifiedRole(Role.OTHER, FROM_NAME)
    if layer_type and (by_type := _by_type(target, leaf, layer_type, by_leaf)):
        return ClassifiedRole(by_type, f"by type {layer_type}")
    if by_leaf:
        return ClassifiedRole(by_leaf, FROM_NAME)
    return _by_name(target, parent, leaf) or _by_shape(target, leaf)


def _by_type(target: Target, leaf: str, layer_type: str, by_leaf: Role | None) -> Role | None:
    family = next((family for pattern, family in _TYPES if re.search(pattern, layer_type)), None)
    if family is None or (by_leaf and family != _Family.SLOPE):
        return by_leaf
    bias = re.fullmatch(_BIAS, leaf) is not None
    if family == _Family.RECURRENT:
        return Role.RECURRENT_BIAS if bias else Role.RECURRENT_INPUT
    if family == _Family.NORM:
        return Role.NORM_SHIFT if bias else Role.NORM_SCALE
    if bias:
        return Role.BIAS
    if len(target.shape) < 2 and family != _Family.SLOPE:  # the scale of a quantised weight, say
        return Role.OTHER
    weights = {_Family.EMBEDDING: Role.EMBEDDING, _Family.LINEAR: Role.LINEAR, _Family.SLOPE: Role.SLOPE}
    # Hugging Face's Conv1D is a linear layer: its weight has two dimensions
    return weights.get(family) or (Role.LINEAR if len(target.shape) == 2 else Role.CONV)


def _by_name(target: Target, parent: str, leaf: str) -> ClassifiedRole | None:
    norm = re.fullmatch(_NORM, parent, re.IGNORECASE) is not None
    weight = weight_beside(target)
    if re.fullmatch(_BIAS, leaf):
        if weight is not None and not norm:
            return ClassifiedRole(Role.NORM_SHIFT, FROM_SHAPE) if len(weight) == 1 else ClassifiedRole(Role.BIAS, FROM_NAME)
        return ClassifiedRole(Role.NORM_SHIFT if norm else Role.BIAS, FROM_NAME)
    if norm and re.fullmatch(_SCALE, leaf):
        return ClassifiedRole(Role.NORM_SCALE, FROM_NAME)
    if norm and leaf in ("mean", "var"):  # Flax's
        return ClassifiedRole(Role.RUNNING_MEAN if leaf == "mean" else Role.RUNNING_VAR, FROM_NAME)
    table = re.fullmatch(_EMBEDDING, parent, re.IGNORECASE) and len(target.shape) == 2
    if table or (re.fullmatch(_EMBEDDING, leaf, re.IGNORECASE) and len(target.shape) > 1):
        return ClassifiedRole(Role.EMBEDDING, FROM_NAME)
    if leaf == "alpha" and parent.isdecimal() and target.shape == (1,):  # Gluon's PReLU in a Sequential
        return ClassifiedRole(Role.SLOPE, FROM_NAME)
    return None


def _by_shape(target: Target, leaf: str) -> ClassifiedRole:
    dimensions, weight = len(target.shape), weight_beside(target)
    if dimensions == 1 and weight is not None and leaf.isdigit() and len(weight) > 1:
        return ClassifiedRole(Role.BIAS, FROM_SHAPE)
    # a single element is more likely the slope of a PReLU, or a temperature, than the scale of a norm
    if dimensions == 1 and target.shape != (1,) and re.fullmatch(_SCALE, leaf):
        return ClassifiedRole(Role.NORM_SCALE, FROM_SHAPE)
    weights = {2: Role.LINEAR, 3: Role.CONV, 4: Role.CONV, 5: Role.CONV}
    return ClassifiedRole(weights.get(dimensions, Role.OTHER), FROM_SHAPE)
