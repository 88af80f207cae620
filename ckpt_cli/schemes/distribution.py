"""What a scheme answers: a Draw, which says how the elements come about, and draws nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True)
class Fill:
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
    """Independent elements, normal."""

    mean: float
    std: float

    def __str__(self) -> str:
        return f"normal({self.mean:.6g}, {self.std:.6g})"


@dataclass(frozen=True, slots=True)
class Whole:
    """What needs the whole tensor at once: `function` fills it in place, out of the generator.

    `halves`: torch can do it in float16 and bfloat16. `random`: it has no meaning for integers. `elementwise`: it does arithmetic on each
    element alone, so that its bits do not depend on the number of threads.
    """

    says: str
    function: Callable[[Tensor, Generator], object]
    halves: bool = True
    random: bool = True
    elementwise: bool = False

    def __str__(self) -> str:
        return self.says


@dataclass(frozen=True, slots=True)
class Values:
    """Elements that are computed from others without chance: `elements` gives them C-contiguous, little-endian."""

    says: str
    elements: Callable[[], bytes]

    def __str__(self) -> str:
        return self.says


Draw = Fill | Uniform | Normal | Whole | Values
