"""Initializers of Keras as schemes: what a config says of one, with the fans of the tensor that it fills."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

from ..architectures.layers import Shape


class NotTold(Exception):
    """How a tensor is initialised cannot be told; the text says why."""


class Seen(NamedTuple):
    """A tensor as an initializer sees it.

    Attributes:
        shape: its shape.
        inputs: its axes of inputs, for an EinsumDense.
        outputs: its axes of outputs.
    """

    shape: Shape
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    def fan(self, by_axes: bool) -> str:
        """Return the fans as the argument `fan`, counted as `compute_fans` does (keras/src/initializers/random_initializers.py).

        Args:
            by_axes: whether the release of Keras counts those of an EinsumDense by its equation.
        """
        shape = self.shape
        if by_axes and (self.inputs or self.outputs):
            into, out = (prod(shape[axis] for axis in axes) for axes in (self.inputs, self.outputs))
        elif len(shape) < 2:
            into = out = prod(shape)
        else:
            into, out = prod(shape[:-1]), prod(shape[:-2]) * shape[-1]
        if not into or not out:
            raise NotTold("it has no elements")
        return f"fan={into}x{out}"


def scheme_of(initializer: Any, seen: Seen) -> str:
    """Return the scheme that draws what an initializer does.

    Args:
        initializer: as a config has it: a name, or an object with `class_name` and `config`.
        seen: the tensor.

    Raises:
        NotTold: it is no initializer of Keras, or has arguments that make no sense.
    """
    name, arguments = _parts(initializer)
    make = _SCHEMES.get(name.lower().replace("_", "").removesuffix("initializer"))
    if make is None:
        raise NotTold(f"the initializer {name[:60]} is not one of Keras'")
    return make(arguments, seen)


def _parts(initializer: Any) -> tuple[str, Mapping[str, Any]]:
    """The name of an initializer, and its arguments."""
    if isinstance(initializer, str):
        return initializer, {}
    if not isinstance(initializer, Mapping) or not isinstance(initializer.get("class_name"), str):
        raise NotTold("its initializer is not named")
    name: str = initializer["class_name"]
    if initializer.get("registered_name") is not None or str(initializer.get("module") or "keras").split(".")[0] != "keras":
        raise NotTold(f"the initializer {name[:60]} is not one of Keras'")
    arguments = initializer.get("config")
    return name, arguments if isinstance(arguments, Mapping) else {}


def _number(arguments: Mapping[str, Any], name: str, default: float) -> float:
    value = arguments.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise NotTold(f"its initializer's {name} is no number")
    return value


def _constant(arguments: Mapping[str, Any], seen: Seen) -> str:
    return f"constant({_number(arguments, 'value', 0.0)})"


def _drawn(scheme: str, **defaults: float) -> Callable[[Mapping[str, Any], Seen], str]:
    """The scheme with numbers of the config as arguments, whose names and defaults are Keras'."""
    return lambda arguments, seen: f"{scheme}({', '.join(f'{key}={_number(arguments, key, value)}' for key, value in defaults.items())})"


def _by_fans(scheme: str) -> Callable[[Mapping[str, Any], Seen], str]:
    """The scheme with the tensor's own fans. Releases that count fans by axes write `input_axes`."""
    return lambda arguments, seen: f"{scheme}({seen.fan('input_axes' in arguments)})"


def _variance_scaling(arguments: Mapping[str, Any], seen: Seen) -> str:
    mode, distribution = arguments.get("mode", "fan_in"), arguments.get("distribution", "truncated_normal")
    known = ("uniform", "untruncated_normal", "truncated_normal", "normal")
    if mode not in ("fan_in", "fan_out", "fan_avg") or distribution not in known:
        raise NotTold("its initializer's mode or distribution is not known")
    scale, fan = _number(arguments, "scale", 1.0), seen.fan("input_axes" in arguments)
    return f"variance_scaling(scale={scale}, mode={mode}, distribution={distribution}, {fan})"


def _of_matrix(scheme: str) -> Callable[[Mapping[str, Any], Seen], str]:
    """A scheme of matrices. Keras flattens all axes but the last into rows, and ckpt's schemes all but the first."""

    def make(arguments: Mapping[str, Any], seen: Seen) -> str:
        if len(seen.shape) != 2:
            raise NotTold(f"{scheme} over the last of {len(seen.shape)} axes is no scheme of ckpt")
        return f"{scheme}(gain={_number(arguments, 'gain', 1.0)})"

    return make


# initializer in small letters, without `_` and `Initializer` → its scheme
_SCHEMES: dict[str, Callable[[Mapping[str, Any], Seen], str]] = {
    "zeros": lambda arguments, seen: "zeros",
    "zero": lambda arguments, seen: "zeros",
    "ones": lambda arguments, seen: "ones",
    "one": lambda arguments, seen: "ones",
    "constant": _constant,
    "randomnormal": _drawn("random_normal", mean=0.0, stddev=0.05),
    "normal": _drawn("random_normal", mean=0.0, stddev=0.05),
    "randomuniform": _drawn("random_uniform", minval=-0.05, maxval=0.05),
    "uniform": _drawn("random_uniform", minval=-0.05, maxval=0.05),
    "truncatednormal": _drawn("truncated_normal", mean=0.0, stddev=0.05),
    "variancescaling": _variance_scaling,
    "glorotuniform": _by_fans("glorot_uniform"),
    "xavieruniform": _by_fans("glorot_uniform"),
    "glorotnormal": _by_fans("glorot_normal"),
    "xaviernormal": _by_fans("glorot_normal"),
    "heuniform": _by_fans("he_uniform"),
    "henormal": _by_fans("he_normal"),
    "lecununiform": _by_fans("lecun_uniform"),
    "lecunnormal": _by_fans("lecun_normal"),
    "orthogonal": _of_matrix("orthogonal"),
    "identity": _of_matrix("identity"),
}
