"""Roles: what a tensor is in its layer. The one place where that is told, by the layer's type where it is known, else assumed.

linear, conv, embedding        weights; transposed convolutions count as conv
norm_scale, norm_shift         γ and β of a normalisation
bias                           of anything else
recurrent_input, recurrent     weights of an RNN from its input, and from its own state
recurrent_bias                 its biases
slope                          of a PReLU
running_mean, running_var      statistics
counter                        num_batches_tracked and its like
other                          everything else: optimizer states, integers, complex numbers, what nobody can tell. Presets leave it as it is
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from ..numbers.dtypes import named
from .target import Target, weight_beside

Kind = Literal[
    "linear", "conv", "embedding", "norm_scale", "norm_shift", "bias", "recurrent_input", "recurrent", "recurrent_bias", "slope",
    "running_mean", "running_var", "counter", "other",
]  # fmt: skip


class Role(NamedTuple):
    """`reason`: `by type Linear`, `by dtype`, `assumed from name`, `assumed from shape`."""

    kind: Kind
    reason: str


# The last part of a name that says it all, in torch, Keras and Gluon.
_TELLING: tuple[tuple[str, Kind], ...] = (
    (r"running_mean|moving_mean", "running_mean"),
    (r"running_var|moving_var(iance)?", "running_var"),
    (r"num_batches_tracked", "counter"),
    (r"weight_hh\w*|h2h_weight|recurrent_kernel", "recurrent"),
    (r"weight_(ih|hr)\w*|i2h_weight|h2r_weight", "recurrent_input"),
    (r"bias_(ih|hh)\w*|[ih]2h_bias", "recurrent_bias"),
    (r"gamma", "norm_scale"),
    (r"beta", "norm_shift"),
    (r"embeddings", "embedding"),
    (r"in_proj_bias|bias_[kv]", "bias"),
    (r"in_proj_weight|[qkv]_proj_weight", "linear"),
    (r"prelu\d*_alpha", "slope"),
)

# What a training checkpoint holds beside the model.
_TRAINING = re.compile(r"(^|[./])(optim\w*|opt_state|\w*scheduler\w*|\w*scaler|rng\w*|random\w*)[./]")

# A layer's type, as torch, Keras, MXNet and what builds upon them call it → what its weight is.
_TYPES: tuple[tuple[str, str], ...] = (
    (r"Norm(?!alization)|(Batch|Layer|Group|RMS)Normalization", "norm"),  # Keras' Normalization has statistics of the data
    (r"Embedding", "embedding"),
    (r"Conv|^Deconvolution$", "conv"),
    (r"(^|[a-z])(Linear|Dense)$|^FullyConnected$|Multi[Hh]eadAttention", "linear"),
    (r"^(Simple|Lazy)?(LSTM|GRU|RNN)(Cell)?$", "recurrent"),
    (r"^(PReLU|LeakyReLU)$", "slope"),  # MXNet's LeakyReLU has tensors where it is a PReLU
)

# The layer's own name, where its type is not known.
_NORM = r"\w*norm\w*|\w*normalization\w*|ln(_?\w+)?|bn\d*|\w+_(ln|bn)"
_EMBEDDING = r"wte|wpe|emb|\w*embed\w*|\w*embd|tok\w*"
_BIAS = r"(\w*_)?(bias\w*|b)"
_SCALE = r"(\w*_)?(weight|gamma|scale|g)"


def role(target: Target, layer_type: str | None = None) -> Role:
    """What the tensor is. `layer_type` is the class name of the layer that holds it, where an architecture or the file tells."""
    *path, leaf = re.split(r"[./]", re.sub(r"^(arg|aux):", "", target.name))  # which MXNet's Module puts before all names
    parent = path[-1] if path else ""
    if named(target.dtype).kind != "f" or target.dtype == "float8_e8m0fnu":  # the latter are scales of other tensors
        return Role("counter", "assumed from name") if leaf == "num_batches_tracked" else Role("other", "by dtype")
    told = next((kind for pattern, kind in _TELLING if re.search(rf"(^|_)({pattern})$", leaf)), None)
    if _TRAINING.search(target.name):
        return Role("other", "assumed from name")
    if layer_type and (known := _by_type(target, leaf, layer_type, told)):
        return Role(known, f"by type {layer_type}")
    if told:
        return Role(told, "assumed from name")
    return _by_name(target, parent, leaf) or _by_shape(target, leaf)


def _by_type(target: Target, leaf: str, layer_type: str, told: Kind | None) -> Kind | None:
    family = next((family for pattern, family in _TYPES if re.search(pattern, layer_type)), None)
    if family is None or (told and family != "slope"):
        return told
    bias = re.fullmatch(_BIAS, leaf) is not None
    if family == "recurrent":
        return "recurrent_bias" if bias else "recurrent_input"
    if family == "norm":
        return "norm_shift" if bias else "norm_scale"
    if bias:
        return "bias"
    if len(target.shape) < 2 and family != "slope":  # the scale of a quantised weight, say
        return "other"
    by_family: dict[str, Kind] = {"embedding": "embedding", "linear": "linear", "slope": "slope"}
    # Hugging Face's Conv1D is a linear layer, as its two dimensions tell
    return by_family.get(family) or ("linear" if len(target.shape) == 2 else "conv")


def _by_name(target: Target, parent: str, leaf: str) -> Role | None:
    norm = re.fullmatch(_NORM, parent, re.IGNORECASE) is not None
    beside = weight_beside(target)
    if re.fullmatch(_BIAS, leaf):
        if beside is not None and not norm:
            return Role("norm_shift", "assumed from shape") if len(beside) == 1 else Role("bias", "assumed from name")
        return Role("norm_shift" if norm else "bias", "assumed from name")
    if norm and re.fullmatch(_SCALE, leaf):
        return Role("norm_scale", "assumed from name")
    if norm and leaf in ("mean", "var"):  # Flax's
        return Role("running_mean" if leaf == "mean" else "running_var", "assumed from name")
    table = re.fullmatch(_EMBEDDING, parent, re.IGNORECASE) and len(target.shape) == 2
    if table or (re.fullmatch(_EMBEDDING, leaf, re.IGNORECASE) and len(target.shape) > 1):
        return Role("embedding", "assumed from name")
    if leaf == "alpha" and parent.isdecimal() and target.shape == (1,):  # Gluon's PReLU in a Sequential
        return Role("slope", "assumed from name")
    return None


def _by_shape(target: Target, leaf: str) -> Role:
    size, beside = len(target.shape), weight_beside(target)
    if size == 1 and beside is not None and leaf.isdigit() and len(beside) > 1:
        return Role("bias", "assumed from shape")
    # one single element is more likely the slope of a PReLU, or a temperature, than the scale of a norm
    if size == 1 and target.shape != (1,) and re.fullmatch(_SCALE, leaf):
        return Role("norm_scale", "assumed from shape")
    kinds: dict[int, Kind] = {2: "linear", 3: "conv", 4: "conv", 5: "conv"}
    return Role(kinds.get(size, "other"), "assumed from shape")
