"""What convolutional networks do: ResNet and its kin, EfficientNet and MobileNet."""

from __future__ import annotations

import re
from math import prod, sqrt
from typing import Literal

from ..constant import zeros
from ..distribution import Distribution, Normal, Uniform
from ..roles import Role
from ..scaling import Mode, Nonlinearity, kaiming_normal, kaiming_uniform
from ..target import Target
from . import neutral, preset
from .pytorch import pytorch

_NORM = re.compile(r"(?!(?:.*\.)?stem\.)(.*\.(?:bn|norm|conv|layer\.))(\d)(\.(?:normalization\.)?(?:weight|gain))")


@preset
def resnet(
    target: Target,
    role: Role,
    zero_init: bool = False,
    linear_std: float = 0.0,
    mode: Mode = "fan_out",
    nonlinearity: Nonlinearity = "relu",
    distribution: Literal["normal", "uniform"] = "normal",
    zero_bias: bool = False,
) -> Distribution | None:
    """Convolutions kaiming_normal or kaiming_uniform of this mode and nonlinearity; norms 1 and 0, but with `zero_init` the last norm of
    each block 0; linear layers as torch's, or N(0, linear_std²); biases as torch's, or 0 with `zero_bias`; running statistics 0 and 1.

    He et al. 2015; Goyal et al. 2017 (zero_init, timm's default). transformers', timm's and torchvision's ResNet; with linear_std=0.01 and
    zero_bias torchvision's VGG, MobileNetV2; with mode=fan_in, distribution=uniform and zero_bias SqueezeNet; with mode=fan_in,
    nonlinearity=linear, linear_std=0.01, zero_bias and zero_init timm's NFNet.
    """
    if role == Role.CONV:
        draw = kaiming_normal if distribution == "normal" else kaiming_uniform
        return draw(target, mode=mode, nonlinearity=nonlinearity)
    if zero_init and role == Role.NORM_SCALE and _is_last(target):
        return zeros(target)
    if role == Role.LINEAR and linear_std:
        return Normal(0.0, linear_std)
    return zeros(target) if role == Role.BIAS and zero_bias else pytorch(target, role)


def _is_last(target: Target) -> bool:
    """Whether this is the last norm of a residual block: bn2 where there is no bn3. A stem is no block."""
    found = _NORM.fullmatch(target.name)
    if not found:
        return False
    before, after = (f"{found[1]}{int(found[2]) + step}{found[3]}" in target.shapes for step in (-1, 1))
    return before and not after


@preset
def efficientnet(target: Target, role: Role) -> Distribution | None:
    """Convolutions N(0, 2/fan_out), where a depthwise one has the fan of one channel; linear weights U(±1/√outputs); biases 0; norms 1 and
    0; running statistics 0 and 1.

    Tan & Le 2019; timm's EfficientNet, MobileNetV2 and V3, after TensorFlow's.
    """
    if role == Role.CONV:
        outputs = target.shape[0] if target.shape[1] > 1 else 1
        return Normal(0.0, sqrt(2.0 / max(outputs * prod(target.shape[2:]), 1)))
    if role == Role.LINEAR:
        bound = 1 / sqrt(max(target.shape[0], 1))
        return Uniform(-bound, bound)
    return neutral(target, role)
