"""What torch.nn's layers do in reset_parameters."""

from __future__ import annotations

import re
from math import prod, sqrt

from ..distribution import Constant, Distribution, Normal, Uniform
from ..roles import Role
from ..scaling import kaiming_uniform, xavier_normal, xavier_uniform
from ..target import Layout, Target, weight_beside
from . import neutral, preset


@preset
def pytorch(target: Target, role: Role, layer_scale: float = 0.0) -> Distribution | None:
    """Linear and convolution weights kaiming_uniform(a=√5), that is U(±1/√fan_in), as are their biases; embeddings N(0, 1);
    recurrent layers U(±1/√hidden) throughout; attention's joint projection xavier_uniform, its biases 0; norms 1 and 0;
    running statistics 0 and 1; PReLU 0.25. The padding row of an embedding is not known, and drawn like the others. Layer scales, which
    torch has none of, are `layer_scale` where it is given.

    torch.nn: Linear, _ConvNd, Embedding, RNNBase, MultiheadAttention, _NormBase, PReLU: reset_parameters.
    """
    leaf = target.name.rpartition(".")[2]
    if role in (Role.RECURRENT, Role.RECURRENT_INPUT, Role.RECURRENT_BIAS):
        return _recurrent(target)
    if role in (Role.LINEAR, Role.CONV):
        joint = re.fullmatch(r"(in|[qkv])_proj_weight", leaf)
        return xavier_uniform(target, fan="oi") if joint else kaiming_uniform(target, a=sqrt(5))
    if role == Role.BIAS:
        return _bias(target, leaf)
    fixed: dict[Role, Distribution] = {Role.EMBEDDING: Normal(0.0, 1.0), Role.SLOPE: Constant(0.25)}
    if layer_scale:
        fixed[Role.LAYER_SCALE] = Constant(layer_scale)
    return fixed.get(role) or neutral(target, role)


def _bias(target: Target, leaf: str) -> Distribution:
    """U(±1/√fan_in), fan_in being that of the weight beside it. Attention's biases are 0, except bias_k and bias_v: Xavier-normal."""
    if leaf in ("bias_k", "bias_v") and len(target.shape) == 3:
        return xavier_normal(target, fan="oi")
    weight = weight_beside(target)
    if weight is None or len(weight) < 2 or _of_attention(target):
        return Constant(0)
    fan_in = prod(weight[1:]) if target.layout == Layout.OUT_IN else prod(weight[:-1])
    return Uniform(-1 / sqrt(fan_in), 1 / sqrt(fan_in)) if fan_in else Constant(0)


def _of_attention(target: Target) -> bool:
    """Whether this is the bias of an attention's joint projection, or of its output projection."""
    joint = re.sub(r"out_proj\.bias$", "in_proj_bias", target.name)
    return joint.endswith("in_proj_bias") and joint in target.shapes


def _recurrent(target: Target) -> Distribution | None:
    """U(±1/√hidden); the shape of the state-to-state weight tells hidden, or that of the projection where there is one."""
    shapes = target.shapes
    projection = shapes.get(re.sub(r"(weight|bias)_(ih|hh|hr)", "weight_hr", target.name))
    recurrent = shapes.get(re.sub(r"(weight|bias)_(ih|hh)|[ih]2h_(weight|bias)", _recurrent_weight, target.name))
    hidden = (projection or recurrent or (0,))[-1] if target.layout == Layout.OUT_IN else (recurrent or (0,))[0]
    return Uniform(-1 / sqrt(hidden), 1 / sqrt(hidden)) if hidden else None


def _recurrent_weight(leaf: re.Match[str]) -> str:
    """What the weight from state to state is called beside this variable."""
    return "h2h_weight" if "2h" in leaf[0] else "weight_hh"
