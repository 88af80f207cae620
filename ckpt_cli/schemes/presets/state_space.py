"""What Mamba and RWKV do."""

from __future__ import annotations

import re
from math import sqrt
from typing import TYPE_CHECKING

from ..config_entries import count_of, flag_of, number_of, std_of
from ..constant import ones
from ..depth import count_layers
from ..distribution import Distribution, InPlace, Normal, Uniform
from ..matrices import orthogonal
from ..roles import Role
from ..scaling import kaiming_uniform
from ..target import Target
from . import neutral, preset

if TYPE_CHECKING:
    from torch import Generator, Tensor

_STEPS = re.compile(r"(^|\.)(dt_bias|dt_proj\.bias|ssm_dt\.bias)$")


@preset
def mamba(target: Target, role: Role, std: float = 0.0) -> Distribution | None:
    """Embeddings and linear weights N(0, σ²), output projections and the convolution over time kaiming_uniform(a=√5), its bias 0; the
    projection to Δ U(±scale/√rank), its bias such that softplus(b) is log-uniform from dt_min to dt_max; A = −1 … −N in each row, D 1;
    norms 1. σ is `std`; without it, the config's `initializer_range`; else 0.1.

    Gu & Dao 2023; transformers' MambaPreTrainedModel, Mamba 2, Falcon Mamba. A of Mamba 2 is log(1 … heads).
    """
    layer = target.name.rpartition(".")[0].rpartition(".")[2]
    if _STEPS.search(target.name):
        return _steps(target)
    if role == Role.CONV or (role == Role.LINEAR and layer == "out_proj"):
        drawn = kaiming_uniform(target, a=sqrt(5))
        layers = count_of(target, "num_hidden_layers", "n_layer") or count_layers(target)
        scaled = layer == "out_proj" and isinstance(drawn, Uniform) and flag_of(target, "rescale_prenorm_residual") and layers
        return Uniform(drawn.low / sqrt(layers), drawn.high / sqrt(layers)) if scaled and isinstance(drawn, Uniform) else drawn
    if role == Role.LINEAR and layer == "dt_proj":
        bound = (number_of(target, "time_step_scale") or 1.0) / sqrt(max(target.shape[1], 1))
        return Uniform(-bound, bound)
    if role in (Role.LINEAR, Role.EMBEDDING):
        return Normal(0.0, std_of(target, std, 0.1))
    return neutral(target, role)


def _steps(target: Target) -> Distribution:
    """softplus⁻¹(Δ), Δ = exp(U(log dt_min, log dt_max)) and at least a floor."""
    low, high = number_of(target, "time_step_min") or 1e-3, number_of(target, "time_step_max") or 0.1
    floor = number_of(target, "time_step_floor") or 1e-4

    def fill(tensor: Tensor, generator: Generator) -> None:
        import torch

        steps = torch.empty_like(tensor).uniform_(generator=generator)
        steps = (low * (high / low) ** steps).clamp(min=floor)
        tensor.copy_(steps + torch.log(-torch.expm1(-steps)))

    return InPlace(f"inverse softplus of a log-uniform step from {low:.6g} to {high:.6g}", fill, halves=False)


@preset
def rwkv(target: Target, role: Role) -> Distribution | None:
    """Linear weights orthogonal with gain √(outputs/inputs) where that is above 1, the output layer's halved; embeddings orthogonal with
    gain 10⁻⁴·√(longer side); norms 1 and 0; time_first 1. Decays and mixtures follow from the depth and are left as they are.

    Peng et al. 2023; transformers' RwkvPreTrainedModel (RWKV 4).
    """
    if role == Role.EMBEDDING:
        return orthogonal(target, gain=1e-4 * sqrt(max(target.shape)))
    if role == Role.LINEAR:
        gain = sqrt(max(target.shape[0] / max(target.shape[1], 1), 1.0))
        return orthogonal(target, gain=gain / 2 if re.search(r"(^|\.)(head|lm_head)\.weight$", target.name) else gain)
    return ones(target) if target.name.endswith("time_first") else neutral(target, role)
