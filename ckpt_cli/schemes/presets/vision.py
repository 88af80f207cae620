"""What vision transformers, ConvNeXt and MLP-Mixer do."""

from __future__ import annotations

import re
from math import sqrt

from ..config_entries import std_of
from ..constant import zeros
from ..depth import block_of
from ..distribution import Constant, Distribution, Normal
from ..fans import fans
from ..independent import truncated
from ..roles import Role
from ..scaling import lecun_normal, xavier_uniform
from ..target import Target
from . import neutral, preset
from .pytorch import pytorch

_DRAWN = (Role.LINEAR, Role.CONV, Role.EMBEDDING, Role.TOKEN, Role.POSITION)
_HEAD = re.compile(r"(^|\.)heads?(\.head)?\.(weight|bias)$")
_MASK = re.compile(r"(^|\.)mask_token$")
_MLP = re.compile(r"(^|\.)(fc[12]|linear_[12]|mlp\.\d+)\.\w+$")
_SECOND = re.compile(r"(^|\.)(attn\.proj|mlp\.fc2)\.weight$")  # the projections that end in the residual stream
_TINY = 1e-6  # the std of the biases of JAX's MLP blocks


@preset
def vit(target: Target, role: Role, std: float = 0.0, zero_tokens: bool = False, layer_scale: float = 0.0) -> Distribution | None:
    """Weights, class tokens and positions N(0, σ²) cut off at ±2, mask tokens and tables of relative positions 0, biases 0, norms 1 and 0;
    tokens and positions 0 with `zero_tokens`. σ is `std`; without it, the config's `initializer_range`; else 0.02. Layer scales are
    `layer_scale`; without it, what the config says.

    Dosovitskiy et al. 2021; transformers' ViT, DINOv2, Swin; with `zero_tokens` DeiT, BEiT, AST.
    """
    if _MASK.search(target.name) or (zero_tokens and role in (Role.TOKEN, Role.POSITION)):
        return zeros(target)
    if role == Role.LAYER_SCALE and layer_scale:
        return Constant(layer_scale)
    return truncated(0.0, std_of(target, std, 0.02), -2.0, 2.0) if role in _DRAWN else neutral(target, role)


@preset
def convnext(target: Target, role: Role, std: float = 0.0, layer_scale: float = 0.0) -> Distribution | None:
    """Weights N(0, σ²) cut off at ±2, biases 0, norms 1 and 0, response norms 0, layer scales 10⁻⁶. σ is `std`; without it, the config's
    `initializer_range`; else 0.02. Layer scales are `layer_scale`; without it, the config's `layer_scale_init_value`; else 10⁻⁶.

    Liu et al. 2022, "A ConvNet for the 2020s"; transformers' ConvNextPreTrainedModel, timm's and torchvision's ConvNeXt, MambaOut.
    """
    drawn = vit(target, role, std=std, layer_scale=layer_scale)
    return Constant(_TINY) if drawn is None and role == Role.LAYER_SCALE else drawn


@preset
def timm_vit(
    target: Target, role: Role, std: float = 0.02, token: float = 1e-6, layer_scale: float = 0.0, rescale: bool = False
) -> Distribution | None:
    """Linear weights and positions N(0, std²) cut off at ±2, their biases 0, the convolution of patches as torch's, class tokens
    N(0, token²), norms 1 and 0, layer scales as given. With `rescale`, as BEiT has it, the output projections of attention and MLP are
    divided by √(2·(i + 1)) in block i, and tables of relative positions are 0; else these are drawn as the positions are.

    timm's VisionTransformer, Swin, BEiT (`timm_vit(token=0.02, layer_scale=0.1, rescale=true)`).
    """
    if role == Role.CONV or (role == Role.BIAS and len(target.shapes.get(target.name.removesuffix("bias") + "weight", ())) > 2):
        return pytorch(target, role)
    if role == Role.TOKEN:
        return Normal(0.0, token)
    if role == Role.LAYER_SCALE and layer_scale:
        return Constant(layer_scale)
    if role == Role.RELATIVE_POSITION and rescale:
        return zeros(target)
    if role not in (Role.LINEAR, Role.POSITION, Role.RELATIVE_POSITION):
        return neutral(target, role)
    block = block_of(target)
    by = sqrt(2 * (block + 1)) if rescale and block is not None and _SECOND.search(target.name) else 1
    return truncated(0.0, std / by, -2.0 / by, 2.0 / by)


@preset
def mixer(target: Target, role: Role) -> Distribution | None:
    """Linear weights xavier_uniform, biases of an MLP N(0, 10⁻¹²), other biases 0; the convolution of patches lecun_normal; the head 0;
    norms 1 and 0.

    Tolstikhin et al. 2021, "MLP-Mixer"; timm's MlpMixer, after JAX's, and VisionTransformer(weight_init="jax").
    """
    if _HEAD.search(target.name):
        return zeros(target)
    if role == Role.BIAS:
        return Normal(0.0, _TINY) if _MLP.search(target.name) else zeros(target)
    if role == Role.CONV:
        return lecun_normal(target)
    if role in (Role.POSITION, Role.TOKEN):
        return Normal(0.0, 0.02) if role == Role.POSITION else zeros(target)
    return xavier_uniform(target) if role == Role.LINEAR else neutral(target, role)


@preset
def torchvision_vit(target: Target, role: Role) -> Distribution | None:
    """The MLPs xavier_uniform with biases N(0, 10⁻¹²), attention as torch's MultiheadAttention; the convolution of patches N(0, 1/fan_in)
    cut off at ±2; positions N(0, 0.02²), the class token and the head 0; norms 1 and 0.

    torchvision.models.VisionTransformer.
    """
    if role == Role.CONV:
        return truncated(0.0, 1 / sqrt(max(fans(target).into, 1)), -2.0, 2.0)
    attention = role == Role.LINEAR and not _HEAD.search(target.name) and not _MLP.search(target.name)
    return pytorch(target, role) if attention else mixer(target, role)
