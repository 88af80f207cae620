"""Presets: what a framework, or a paper, does for each role.

A preset is a function under `@preset` from a Target and its Role to a Distribution; None leaves the tensor as it is. Its docstring is what
`ckpt schemes` prints.
"""

from __future__ import annotations

from collections.abc import Callable

from ...registry import Registry
from ..constant import ones, zeros
from ..distribution import Distribution
from ..roles import Role
from ..target import Target

Preset = Callable[[Target, Role], Distribution | None]

presets: Registry[Preset] = Registry("preset", "ckpt_cli.schemes.presets")

KERNELS = (Role.LINEAR, Role.CONV, Role.RECURRENT_INPUT)
WEIGHTS = (*KERNELS, Role.RECURRENT, Role.EMBEDDING)


def preset(function: Preset) -> Preset:
    """Register a function as the preset of its own name.

    Raises:
        ValueError: another preset has that name.
    """
    return presets.add(getattr(function, "__name__", ""), function)


def neutral(target: Target, role: Role) -> Distribution | None:
    """Return what all frameworks agree on: biases, shifts and means 0, scales and variances 1, counters 0."""
    if role in (Role.NORM_SCALE, Role.RUNNING_VAR):
        return ones(target)
    if role in (Role.BIAS, Role.RECURRENT_BIAS, Role.NORM_SHIFT, Role.RUNNING_MEAN, Role.COUNTER):
        return zeros(target)
    return None
