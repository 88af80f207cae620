"""Presets: what a framework, a paper or a family of models does for each role.

A preset is a function under `@preset` from a Target, its Role and parameters of its own to a Distribution; None leaves the tensor as it is.
Its docstring is what `ckpt schemes` prints: the formula, a blank line, the source.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate

from ...registry import Registry
from ..constant import ones, zeros
from ..distribution import Distribution
from ..roles import Role
from ..signature import Signature
from ..target import Target


class Preset(Signature):
    """A named function from a Target, its Role and parameters of its own to a Distribution, or None."""

    def __init__(self, function: Callable[Concatenate[Target, Role, ...], Distribution | None]) -> None:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())[2:]
        super().__init__(getattr(function, "__name__", ""), "preset", function, parameters)
        self.function = function

    def __call__(self, target: Target, role: Role, **arguments: Any) -> Distribution | None:
        """Return how a tensor of this role is filled; None leaves it as it is."""
        return self.function(target, role, **arguments)


presets: Registry[Preset] = Registry("preset", "ckpt_cli.schemes.presets")

KERNELS = (Role.LINEAR, Role.CONV, Role.RECURRENT_INPUT)
WEIGHTS = (*KERNELS, Role.RECURRENT, Role.EMBEDDING)


def preset(function: Callable[Concatenate[Target, Role, ...], Distribution | None]) -> Preset:
    """Register a function as the preset of its own name.

    Raises:
        ValueError: another preset has that name.
    """
    made = Preset(function)
    return presets.add(made.name, made)


def neutral(target: Target, role: Role) -> Distribution | None:
    """Return what all frameworks agree on: biases, shifts and means 0, scales and variances 1, counters 0."""
    if role in (Role.NORM_SCALE, Role.RUNNING_VAR):
        return ones(target)
    if role in (Role.BIAS, Role.RECURRENT_BIAS, Role.NORM_SHIFT, Role.RUNNING_MEAN, Role.COUNTER):
        return zeros(target)
    return None
