"""Fans: how many inputs and outputs a weight connects, from its shape and the layout of its framework."""

from __future__ import annotations

import re
from math import prod
from typing import NamedTuple

from ..errors import EditError, UsageError
from .target import Target


class Fans(NamedTuple):
    """Fan-in and fan-out."""

    into: int
    out: int

    def mode(self, name: str) -> float:
        """`fan_in`, `fan_out`, or their mean `fan_avg`; at least 1 where a dimension is 0, as nothing is drawn then."""
        return max({"fan_in": self.into, "fan_out": self.out, "fan_avg": (self.into + self.out) / 2}[name], 1)


def fans(target: Target, fan: str = "") -> Fans:
    """The fans of a weight.

    oi (torch): out×in×kernel…, fan_in = shape[1]·∏kernel, fan_out = shape[0]·∏kernel, as torch.nn.init counts them.
    io (Keras): kernel…×in×out, fan_in = shape[-2]·∏kernel, fan_out = shape[-1]·∏kernel, as Keras counts them.
    `fan` overrides the target's layout, or gives both numbers: `fan=768x2304` (in x out).
    """
    given = re.fullmatch(r"(\d+)x(\d+)", fan)
    if given and int(given[1]) and int(given[2]):
        return Fans(int(given[1]), int(given[2]))
    if fan not in ("", "oi", "io"):
        raise UsageError(f"fan={fan} is no layout", "give oi (out x in), io (in x out) or both numbers, such as fan=768x2304")
    shape = target.shape
    if len(shape) < 2:
        kind = "a vector" if shape else "a scalar"
        raise EditError(f"{kind} has no fan-in and fan-out", "use zeros, constant or uniform(a, b) for a bias", target.name)
    if (fan or target.layout) == "io":
        return Fans(shape[-2] * prod(shape[:-2]), shape[-1] * prod(shape[:-2]))
    return Fans(shape[1] * prod(shape[2:]), shape[0] * prod(shape[2:]))
