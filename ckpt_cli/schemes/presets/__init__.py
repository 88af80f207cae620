"""Presets: what a framework, a paper or a family of models does for each role.

A preset is a function under `@preset` from a Target, its Role and parameters of its own to a Distribution; None leaves the tensor as it is.
Its docstring is what `ckpt schemes` prints: the formula, a blank line, the source.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING, Any, Concatenate

from ...registry import Registry
from ..config_entries import number_of
from ..constant import ones, zeros
from ..distribution import Constant, Distribution, InPlace
from ..roles import Role, is_sinusoids
from ..scaling import kaiming_uniform
from ..signature import Signature
from ..target import Target

if TYPE_CHECKING:
    from torch import Generator, Tensor


_MATRICES = (Role.ADAPTER_IN, Role.LINEAR, Role.CONV, Role.EXPERTS, Role.EMBEDDING)


class Preset(Signature):
    """A named function from a Target, its Role and parameters of its own to a Distribution, or None."""

    def __init__(self, function: Callable[Concatenate[Target, Role, ...], Distribution | None]) -> None:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())[2:]
        super().__init__(getattr(function, "__name__", ""), "preset", function, parameters)
        self.function = function

    def __call__(self, target: Target, role: Role, **arguments: Any) -> Distribution | None:
        """Return how a tensor of this role is filled; None leaves it as it is."""
        if role in _MATRICES and len(target.shape) < 2:
            return None  # a name that says weight, and a shape that is none
        if is_sinusoids(target):
            return None  # computed, whatever role its name tells
        return self.function(target, role, **arguments)


presets: Registry[Preset] = Registry("preset", "ckpt_cli.schemes.presets")

KERNELS = (Role.LINEAR, Role.CONV, Role.RECURRENT_INPUT)
_ZERO = (
    Role.BIAS, Role.RECURRENT_BIAS, Role.NORM_SHIFT, Role.RUNNING_MEAN, Role.COUNTER, Role.RESPONSE, Role.RELATIVE_POSITION,
    Role.ADAPTER_OUT,
)  # fmt: skip
_LAYER_SCALES = ("layer_scale_init_value", "layerscale_value", "layer_scale_initial_scale", "layer_scale_init")
WEIGHTS = (*KERNELS, Role.RECURRENT, Role.EMBEDDING)


def preset(function: Callable[Concatenate[Target, Role, ...], Distribution | None]) -> Preset:
    """Register a function as the preset of its own name.

    Raises:
        ValueError: another preset has that name.
    """
    made = Preset(function)
    return presets.add(made.name, made)


def neutral(target: Target, role: Role) -> Distribution | None:
    """Return what all frameworks agree on: biases, shifts and means 0, scales and variances 1, counters 0.

    A layer scale is what the config says, and a temperature. Of LoRA, A is kaiming_uniform(a=√5) and B 0 (PEFT: reset_lora_parameters).
    D of Mamba is 1, and A is −1 … −N in each row (S4D-real, Gu et al. 2022).
    """
    if role in (Role.NORM_SCALE, Role.RUNNING_VAR):
        return ones(target)
    if role in _ZERO:
        return zeros(target)
    if role == Role.ADAPTER_IN:
        return kaiming_uniform(target, a=sqrt(5))
    if role == Role.LAYER_SCALE:
        value = number_of(target, *_LAYER_SCALES)
        return None if value is None else Constant(value)
    if role == Role.LOGIT and target.name.endswith("scale"):
        value = number_of(target, "logit_scale_init_value")
        return None if value is None else Constant(value)
    return _state_space(target) if role == Role.STATE_SPACE else None


def _state_space(target: Target) -> Distribution | None:
    """D and the logarithm of A; other parameters of state spaces depend on the family."""
    leaf = target.name.rpartition(".")[2]
    if leaf in ("D", "Ds", "ssm_d"):
        return ones(target)
    if leaf != "A_log" or len(target.shape) != 2:
        return None

    def fill(tensor: Tensor, generator: Generator) -> None:
        import torch

        tensor.copy_(torch.log(torch.arange(1, tensor.shape[1] + 1, dtype=torch.float32)).expand_as(tensor))

    return InPlace(f"log(1 … {target.shape[1]}) in each row", fill, halves=False, random=False)
