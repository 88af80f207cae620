"""What a scheme returns: a Distribution, a description of how the elements of a tensor come about. It draws nothing itself.

As text (`str`) it is what the plan of `ckpt reinit -n` shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True)
class Constant:
    """Every element is `value`."""

    value: complex

    def __str__(self) -> str:
        return f"constant({self.value!r})"


@dataclass(frozen=True, slots=True)
class Uniform:
    """Independent elements, uniform on [low, high)."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"uniform({self.low:.6g}, {self.high:.6g})"


@dataclass(frozen=True, slots=True)
class Normal:
    """Independent elements, normal with this mean and standard deviation."""

    mean: float
    std: float

    def __str__(self) -> str:
        return f"normal({self.mean:.6g}, {self.std:.6g})"


@dataclass(frozen=True, slots=True)
class InPlace:
    """Elements that a function writes into the whole tensor at once.

    Attributes:
        text: what the plan shows.
        function: fills a torch tensor of the target's shape in place, drawing from the generator.
        halves: the function works in float16 and bfloat16; otherwise these are drawn in float32 and cast.
        random: the function draws numbers, so it is refused for dtypes other than real floats.
        elementwise: each element is computed on its own, so the bits do not depend on the number of threads.
    """

    text: str
    function: Callable[[Tensor, Generator], object]
    halves: bool = True
    random: bool = True
    elementwise: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Computed:
    """Elements that follow from other values without chance.

    Attributes:
        text: what the plan shows.
        elements: returns all elements, C-contiguous and little-endian, in the target's dtype.
    """

    text: str
    elements: Callable[[], bytes]

    def __str__(self) -> str:
        return self.text


Distribution = Constant | Uniform | Normal | InPlace | Computed
