"""What CLIP and SigLIP do, in the names of transformers."""

from __future__ import annotations

import re
from math import log, sqrt

from ..config_entries import factor_of, number_of, std_of
from ..constant import zeros
from ..depth import layers_of_stack
from ..distribution import Constant, Distribution, Normal
from ..fans import fans
from ..independent import truncated
from ..roles import Role
from ..scaling import TRUNCATED_STD, xavier_uniform
from ..target import Target
from . import neutral, preset

_TINY = 1e-6  # the std of the biases of JAX's MLP blocks
_MLP = re.compile(r"(^|\.)fc[12]\.\w+$")
_ATTENTION = re.compile(r"(^|\.)(self_attn\.([qkv]|out)_proj\.weight|in_proj_weight)$")


@preset
def clip(target: Target, role: Role, factor: float = 0.0) -> Distribution | None:
    """Embeddings and the convolution of patches N(0, (0.02·f)²); queries, keys, values N(0, f²/(2·layers·width)), as the second layer of an
    MLP is; its first N(0, f²/(2·width)); output projections, the class token and the projections into the common space N(0, f²/width);
    norms 1 and 0, biases 0; the temperature log(1/0.07). f is `factor`; without it, the config's `initializer_factor`; else 1.

    Radford et al. 2021; transformers' CLIPPreTrainedModel. Layers are counted tower by tower.
    """
    scale, leaf = factor_of(target, factor), target.name
    if role in (Role.EMBEDDING, Role.CONV):
        return Normal(0.0, scale * std_of(target, 0.0, 0.02))
    if role == Role.TOKEN and target.shape:
        return Normal(0.0, scale / sqrt(max(target.shape[-1], 1)))
    if role == Role.LOGIT and leaf.endswith("scale"):
        value = number_of(target, "logit_scale_init_value")
        return Constant(log(1 / 0.07) if value is None else value)
    if role != Role.LINEAR:
        return neutral(target, role)
    width = target.shape[1]
    if re.search(r"[qkv]_proj\.weight$", leaf):
        width *= 2 * layers_of_stack(target)
    elif leaf.endswith("fc1.weight"):
        width *= 2
    elif leaf.endswith("fc2.weight"):
        width = target.shape[0] * 2 * layers_of_stack(target)
    return Normal(0.0, scale / sqrt(max(width, 1)))


@preset
def siglip(target: Target, role: Role) -> Distribution | None:
    """Attention, MLP and the pooling head's query xavier_uniform, biases of an MLP N(0, 10⁻¹²), other biases 0; embeddings N(0, 1/width);
    the convolution of patches and other linear layers lecun_normal, cut off at ±2; norms 1 and 0; logit scale and bias 0.

    Zhai et al. 2023; transformers' SiglipPreTrainedModel, after JAX's.
    """
    if role == Role.EMBEDDING:
        return Normal(0.0, 1 / sqrt(max(target.shape[-1], 1)))
    if role == Role.LOGIT:
        return zeros(target)
    if role == Role.BIAS:
        return Normal(0.0, _TINY) if _MLP.search(target.name) else zeros(target)
    if role == Role.TOKEN and len(target.shape) < 2:
        return None
    if role == Role.TOKEN or (role == Role.LINEAR and (_MLP.search(target.name) or _ATTENTION.search(target.name))):
        return xavier_uniform(target)
    if role in (Role.LINEAR, Role.CONV):
        return truncated(0.0, 1 / sqrt(max(fans(target).into, 1)) / TRUNCATED_STD, -2.0, 2.0)
    return neutral(target, role)
