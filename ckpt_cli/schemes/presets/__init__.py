"""Presets: what a framework, or a paper, does for each role. A preset is a decorated function from a Target and its role to a Draw;
None leaves the tensor as it is."""

from __future__ import annotations

from collections.abc import Callable

from ...registry import Registry
from ..constant import ones, zeros
from ..distribution import Draw
from ..roles import Kind
from ..target import Target

Preset = Callable[[Target, Kind], Draw | None]

presets: Registry[Preset] = Registry("preset", "ckpt_cli.schemes.presets")


def preset(function: Preset) -> Preset:
    """Register a function as the preset of its own name."""
    return presets.add(getattr(function, "__name__", ""), function)


def neutral(target: Target, kind: Kind) -> Draw | None:
    """What all frameworks agree on: biases, shifts and means 0, scales and variances 1, counters 0."""
    if kind in ("norm_scale", "running_var"):
        return ones(target)
    if kind in ("bias", "recurrent_bias", "norm_shift", "running_mean", "counter"):
        return zeros(target)
    return None
