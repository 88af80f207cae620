"""Fans: how many inputs and outputs a weight connects, from its shape and the layout of its framework."""

from __future__ import annotations

import re
from math import prod
from typing import NamedTuple

from ..errors import EditError, UsageError
from .target import Layout, Target


class Fans(NamedTuple):
    """Fan-in and fan-out of a weight."""

    into: int
    out: int

    def mode(self, name: str) -> float:
        """Return `fan_in`, `fan_out` or their mean `fan_avg`; at least 1, since a dimension of 0 leaves nothing to draw."""
        return max({"fan_in": self.into, "fan_out": self.out, "fan_avg": (self.into + self.out) / 2}[name], 1)


def fans(target: Target, fan: str = "") -> Fans:
    """Return the fans of a weight.

    oi (torch): out×in×kernel…, fan_in = shape[1]·∏kernel, fan_out = shape[0]·∏kernel, as torch.nn.init counts them.
    io (Keras): kernel…×in×out, fan_in = shape[-2]·∏kernel, fan_out = shape[-1]·∏kernel, as Keras counts them.

    Args:
        target: the weight, of two dimensions or more.
        fan: a Layout in place of the target's, or both numbers as INxOUT (`768x2304`).

    Raises:
        UsageError: `fan` is neither.
        EditError: the target has fewer than two dimensions.
    """
    given = re.fullmatch(r"(\d+)x(\d+)", fan)
    if given and int(given[1]) and int(given[2]):
        return Fans(int(given[1]), int(given[2]))
    if fan not in ("", *Layout):
        raise UsageError(f"fan={fan} is no layout", "give oi (out x in), io (in x out) or both numbers, such as fan=768x2304")
    shape = target.shape
    if len(shape) < 2:
        kind = "a vector" if shape else "a scalar"
        raise EditError(f"{kind} has no fan-in and fan-out", "use zeros, constant or uniform(a, b) for a bias", target.name)
    if (fan or target.layout) == Layout.IN_OUT:
        return Fans(shape[-2] * prod(shape[:-2]), shape[-1] * prod(shape[:-2]))
    return Fans(shape[1] * prod(shape[2:]), shape[0] * prod(shape[2:]))
