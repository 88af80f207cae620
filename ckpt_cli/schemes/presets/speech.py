"""What wav2vec 2.0 and its kin do."""

from __future__ import annotations

import re
from math import sqrt

from ..distribution import Distribution, Normal, Uniform
from ..roles import Role
from ..scaling import kaiming_normal
from ..target import Target, weight_beside
from . import neutral, preset
from .pytorch import pytorch
from .transformers import bert

_AS_TORCH = re.compile(r"(^|\.)(feature_projection\.projection|project_(hid|q))\.\w+$")
_POSITIONS = re.compile(r"(^|\.)pos_conv_embed\.")


@preset
def wav2vec2(target: Target, role: Role, std: float = 0.0, zero_bias: bool = False) -> Distribution | None:
    """Convolutions of the feature extractor kaiming_normal, their biases U(±1/√fan_in); the projection of the features as torch's linear
    layer; the convolution of positions as torch's under weight normalisation, its bias 0; the mask vector and the codebook U(0, 1), the
    quantiser's projection N(0, 1); other weights N(0, σ²), biases 0; norms 1 and 0. With `zero_bias`, the projection of the features is as
    other weights and all biases are 0. σ is `std`; without it, the config's `initializer_range`; else 0.02.

    Baevski et al. 2020; transformers' Wav2Vec2PreTrainedModel, WavLM, UniSpeech, Mimi; with `zero_bias` HuBERT, SEW. `weight_gain` is left
    as it is.
    """
    positions = _POSITIONS.search(target.name)
    if (_AS_TORCH.search(target.name) and not zero_bias) or (positions and role == Role.CONV and not target.name.endswith(".weight")):
        return pytorch(target, role)
    if role in (Role.TOKEN, Role.CODEBOOK):
        return Uniform(0.0, 1.0)
    if role == Role.CONV:
        return kaiming_normal(target)
    if role == Role.LINEAR and target.name.endswith("weight_proj.weight"):
        return Normal(0.0, 1.0)
    weight = weight_beside(target) if role == Role.BIAS and not positions and not zero_bias else None
    if weight is not None and len(weight) == 3:
        bound = 1 / sqrt(max(weight[1] * weight[2], 1))
        return Uniform(-bound, bound)
    return neutral(target, role) if role == Role.BIAS else bert(target, role, std=std)
