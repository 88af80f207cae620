"""What torch.nn's layers do in reset_parameters."""

from __future__ import annotations

import re
from math import prod, sqrt

from ..distribution import Draw, Fill, Normal, Uniform
from ..roles import Kind
from ..scaling import kaiming_uniform, xavier_normal, xavier_uniform
from ..target import Target, weight_beside
from . import neutral, preset


@preset
def pytorch(target: Target, role: Kind) -> Draw | None:
    """Linear and convolution weights kaiming_uniform(a=√5), that is U(±1/√fan_in), as are their biases; embeddings N(0, 1);
    recurrent layers U(±1/√hidden) throughout; attention's joint projection xavier_uniform, its biases 0; norms 1 and 0;
    running statistics 0 and 1; PReLU 0.25. The padding row of an embedding is not known, and drawn like the others.

    torch.nn: Linear, _ConvNd, Embedding, RNNBase, MultiheadAttention, _NormBase, PReLU: reset_parameters.
    """
    leaf = target.name.rpartition(".")[2]
    if role in ("recurrent", "recurrent_input", "recurrent_bias"):
        return _recurrent(target)
    if role in ("linear", "conv"):
        joint = re.fullmatch(r"(in|[qkv])_proj_weight", leaf)
        return xavier_uniform(target, fan="oi") if joint else kaiming_uniform(target, a=sqrt(5))
    if role == "bias":
        return _bias(target, leaf)
    fixed: dict[str, Draw] = {"embedding": Normal(0.0, 1.0), "slope": Fill(0.25)}
    return fixed.get(role) or neutral(target, role)


def _bias(target: Target, leaf: str) -> Draw:
    """U(±1/√fan_in) of the weight beside it; attention's are 0, and its bias_k and bias_v Xavier-normal."""
    if leaf in ("bias_k", "bias_v") and len(target.shape) == 3:
        return xavier_normal(target, fan="oi")
    weight = weight_beside(target)
    if weight is None or len(weight) < 2 or _of_attention(target):
        return Fill(0)
    fan_in = prod(weight[1:]) if target.layout == "oi" else prod(weight[:-1])
    return Uniform(-1 / sqrt(fan_in), 1 / sqrt(fan_in)) if fan_in else Fill(0)


def _of_attention(target: Target) -> bool:
    joint = re.sub(r"out_proj\.bias$", "in_proj_bias", target.name)
    return joint.endswith("in_proj_bias") and joint in target.shapes


def _recurrent(target: Target) -> Draw | None:
    """U(±1/√hidden); hidden stands in the weight from state to state, or in the projection where there is one."""
    shapes = target.shapes
    projection = shapes.get(re.sub(r"(weight|bias)_(ih|hh|hr)", "weight_hr", target.name))
    own = shapes.get(re.sub(r"(weight|bias)_(ih|hh)|[ih]2h_(weight|bias)", _own_state, target.name))
    hidden = (projection or own or (0,))[-1] if target.layout == "oi" else (own or (0,))[0]
    return Uniform(-1 / sqrt(hidden), 1 / sqrt(hidden)) if hidden else None


def _own_state(found: re.Match[str]) -> str:
    return "h2h_weight" if "2h" in found[0] else "weight_hh"
