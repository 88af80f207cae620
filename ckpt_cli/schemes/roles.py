"""Roles: what a tensor is in its layer. This is the one place that decides it: by the layer's type if known, else by name and shape.

What nothing tells is `unknown`; it is not guessed. The names are in `role_names`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..numbers.dtypes import named
from .config_entries import flag_of, type_of
from .role_names import (
    ADAPTERS,
    BIAS,
    EMBEDDING,
    ENDINGS,
    EXPERTS,
    HEADS,
    LAYERS,
    LEAVES,
    NORM,
    SCALE,
    SCALE_ANYWHERE,
    SINUSOIDS,
    TRAINING,
    TYPES,
    WEIGHT,
    Family,
    Role,
)
from .target import Target, weight_beside

__all__ = ["ClassifiedRole", "Role", "is_sinusoids", "role_of"]


class ClassifiedRole(NamedTuple):
    """A role and how it was decided: `by type Linear`, `by model type whisper`, `by dtype`, `assumed from name`, `assumed from shape`."""

    role: Role
    reason: str


class _Name(NamedTuple):
    """A tensor and the parts of its name.

    Attributes:
        target: the tensor.
        path: the parts before the leaf.
        leaf: the last part, without Keras' `:0`.
    """

    target: Target
    path: list[str]
    leaf: str

    @property
    def parent(self) -> str:
        """The last part of the path; an index within a Sequential tells nothing, so what holds it does."""
        return next((part for part in reversed(self.path) if not part.isdecimal()), "")

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.target.shape)

    def beside(self, leaf: str) -> tuple[int, ...] | None:
        """The shape of a tensor of the same layer; None where there is none."""
        return self.target.shapes.get(self.target.name[: len(self.target.name) - len(self.leaf)] + leaf)


FROM_NAME = "assumed from name"
FROM_SHAPE = "assumed from shape"
BY_DTYPE = "by dtype"
NOTHING_TELLS = "neither name nor shape tells"


def role_of(target: Target, layer_type: str | None = None) -> ClassifiedRole:
    """Decide what a tensor is in its layer.

    Args:
        target: the tensor.
        layer_type: the class name of the layer that holds it, where an architecture or the file states it.
    """
    *path, leaf = re.split(r"[./]", re.sub(r"^(arg|aux):", "", target.name))  # MXNet's Module puts arg: or aux: before all names
    name = _Name(target, path, leaf.removesuffix(":0"))
    if named(target.dtype).kind != "f" or target.dtype == "float8_e8m0fnu":  # the latter holds scales of other tensors
        return ClassifiedRole(Role.COUNTER, FROM_NAME) if leaf == "num_batches_tracked" else ClassifiedRole(Role.OTHER, BY_DTYPE)
    if TRAINING.search(target.name):
        return ClassifiedRole(Role.OTHER, FROM_NAME)
    if is_sinusoids(target):
        return ClassifiedRole(Role.COMPUTED, f"by model type {type_of(target)}")
    by_leaf = _by_leaf(name)
    if layer_type and (by_type := _by_type(name, layer_type, by_leaf)):
        return ClassifiedRole(by_type, f"by type {layer_type}")
    if by_leaf or (by_leaf := _by_name(name)):
        return ClassifiedRole(by_leaf, FROM_NAME)
    by_shape = _by_shape(name)
    return ClassifiedRole(by_shape, FROM_SHAPE) if by_shape else ClassifiedRole(Role.UNKNOWN, NOTHING_TELLS)


def is_sinusoids(target: Target) -> bool:
    """Return whether a tensor is a table of positions that its model computes, by the `model_type` of the config."""
    kind = type_of(target)
    return any(
        re.fullmatch(types, kind) and re.fullmatch(names, target.name) and (not entry or flag_of(target, entry))
        for types, names, entry in SINUSOIDS
    )


def _by_leaf(name: _Name) -> Role | None:
    """The role of a tensor whose own name tells it, whatever its layer is."""
    ending = next((role for pattern, role in ENDINGS if re.search(rf"(^|_)({pattern})$", name.leaf)), None)
    return ending or _of_pair(name) or next((role for pattern, role in LEAVES if re.fullmatch(pattern, name.leaf)), None)


def _of_pair(name: _Name) -> Role | None:
    """The role of a tensor that means something beside another one: weight and spectral normalisation, masks, D of Mamba, γ."""
    *_, one, two = ("", "", *name.path)
    if (one, two) == ("parametrizations", "weight") and name.leaf == "original0":
        return Role.WEIGHT_GAIN
    if name.leaf in ("weight_u", "weight_v", "_u", "_v") and name.rank == 1:
        return Role.COMPUTED  # singular vectors
    if name.leaf in ("D", "Ds", "A") and (name.beside("A_log") or name.beside("A_logs") or name.beside("dt_bias")):
        return Role.STATE_SPACE
    if re.fullmatch(r"positional_(embedding|encoding_gaussian_matrix)", name.leaf) and name.rank == 2 and name.target.shape[0] == 2:
        return Role.COMPUTED  # the random frequencies of SAM's positions, for x and y
    if name.leaf in ("bias_k", "bias_v"):  # of torch's MultiheadAttention, but for the pair bias_u and bias_v of Transformer-XL
        return Role.ATTENTION_BIAS if name.beside("bias_u") else Role.BIAS
    if name.leaf == "biases" and name.beside("scales"):
        return Role.OTHER  # of MLX's packed weights
    if name.leaf == "weight" and name.rank >= 2 and (adapter := _of_adapter(name)):
        return adapter
    if name.leaf == "pos_embed" and name.parent == "pos_embed":
        return Role.COMPUTED  # the sinusoids of diffusers' PatchEmbed
    if name.leaf == "embed" and name.parent == "codebook":
        return Role.CODEBOOK
    square = name.rank == 4 and name.target.shape[:2] == (1, 1) and name.target.shape[2] == name.target.shape[3] > 1
    if name.leaf == "bias" and square:
        return Role.COMPUTED  # the causal mask of GPT-2 and its kin
    return _of_gamma(name) if re.search(r"(^|_)(gamma|beta)$", name.leaf) else None


def _of_adapter(name: _Name) -> Role | None:
    """The role of a matrix of LoRA, whose layer may be called after the adapter: `lora_A.default.weight`."""
    return next((role for pattern, role in ADAPTERS for part in name.path[-2:] if re.fullmatch(pattern, part)), None)


def _of_gamma(name: _Name) -> Role | None:
    """The role of `gamma` and `beta`: of a norm, but a `gamma` that is alone outside of a norm scales a residual branch."""
    if re.fullmatch(LAYERS[0][0], name.parent):
        return LAYERS[0][1]
    kind = "gamma" if name.leaf.endswith("gamma") else "beta"
    others = {"gamma", "beta", "running_mean", "moving_mean"} - {kind}
    alone = not any(name.beside(name.leaf.removesuffix(kind) + other) for other in others)
    in_norm = NORM.fullmatch(name.parent) or NORM.match(name.leaf.removesuffix(kind))
    if alone and not in_norm:
        return Role.LAYER_SCALE if kind == "gamma" else None
    return Role.NORM_SCALE if kind == "gamma" else Role.NORM_SHIFT


def _by_type(name: _Name, layer_type: str, by_leaf: Role | None) -> Role | None:
    family = next((family for pattern, family in TYPES if re.search(pattern, layer_type)), None)
    if by_leaf == Role.LAYER_SCALE and family == Family.NORM:
        return Role.NORM_SCALE
    if family is None or (by_leaf and family != Family.SLOPE):
        return by_leaf
    bias = BIAS.fullmatch(name.leaf) is not None
    if family == Family.SINUSOIDS:
        return Role.COMPUTED
    if family == Family.RESPONSE:
        return Role.RESPONSE
    if family == Family.RECURRENT:
        return Role.RECURRENT_BIAS if bias else Role.RECURRENT_INPUT
    if family == Family.NORM:
        return Role.NORM_SHIFT if bias else Role.NORM_SCALE
    if bias:
        return Role.BIAS
    if name.rank < 2 and family != Family.SLOPE:  # the scale of a quantised weight, say
        return Role.OTHER
    weights = {Family.EMBEDDING: Role.EMBEDDING, Family.LINEAR: Role.LINEAR, Family.SLOPE: Role.SLOPE}
    # Hugging Face's Conv1D is a linear layer: its weight has two dimensions
    return weights.get(family) or (Role.LINEAR if name.rank == 2 else Role.CONV)


def _by_name(name: _Name) -> Role | None:
    """The role of a tensor that the name of its layer tells."""
    leaf, weight = name.leaf, weight_beside(name.target)
    if of_layer := next((role for pattern, role in LAYERS if re.fullmatch(pattern, name.parent)), None):
        return of_layer
    norm = NORM.fullmatch(name.parent) is not None
    if BIAS.fullmatch(leaf):
        return None if weight is not None and not norm and len(weight) == 1 else Role.NORM_SHIFT if norm else Role.BIAS
    if norm and SCALE.fullmatch(leaf):
        return Role.NORM_SCALE
    if norm and leaf in ("mean", "var"):  # Flax's
        return Role.RUNNING_MEAN if leaf == "mean" else Role.RUNNING_VAR
    if leaf == "alpha" and name.path[-1:] and name.path[-1].isdecimal() and name.target.shape == (1,):
        return Role.SLOPE  # Gluon's PReLU in a Sequential
    return _of_weight(name)


def _of_weight(name: _Name) -> Role | None:
    """The role of a weight of two axes or more that the name of its layer tells."""
    if name.rank >= 3 and any(EXPERTS.fullmatch(part) for part in name.path[-3:]):
        return Role.EXPERTS
    if name.rank == 3 and name.parent.lower().endswith("linear"):
        return Role.EXPERTS  # a linear layer with an axis more is one for each expert
    if name.rank == 3 and HEADS.fullmatch(name.parent if name.leaf == "kernel" else name.leaf):
        return Role.LINEAR
    if name.rank < 2:
        return None
    if EMBEDDING.fullmatch(name.leaf):
        return Role.EMBEDDING
    if name.rank == 2 and EMBEDDING.fullmatch(name.parent) and WEIGHT.fullmatch(name.leaf):
        # fairseq calls its sinusoids `weights`; an embedding has no bias
        return Role.COMPUTED if name.leaf == "weights" else None if name.beside("bias") else Role.EMBEDDING
    return Role.CONV if re.fullmatch(r"(\w+_)?conv1d", name.parent) and name.leaf == "weight" else None


def _by_shape(name: _Name) -> Role | None:
    weight = weight_beside(name.target)
    if BIAS.fullmatch(name.leaf):
        return Role.NORM_SHIFT
    if name.rank == 1 and weight is not None and name.leaf.isdigit() and len(weight) > 1:
        return Role.BIAS
    # a single element is more likely the slope of a PReLU, or a temperature, than the scale of a norm
    if name.rank == 1 and name.target.shape != (1,) and SCALE_ANYWHERE.fullmatch(name.leaf):
        return Role.NORM_SCALE
    weights = {2: Role.LINEAR, 3: Role.CONV, 4: Role.CONV, 5: Role.CONV}
    return weights.get(name.rank) if WEIGHT.fullmatch(name.leaf) else None
