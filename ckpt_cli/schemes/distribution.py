"""What a scheme returns: a Distribution, a description of how the elements of a tensor come about. It draws nothing itself.

As text (`str`) it is what the plan of `ckpt reinit -n` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


@dataclass(frozen=True, slots=True)
class Rows:
    """Elements of `base`, but for some rows of axis 0.

    Attributes:
        base: the distribution of the whole tensor. What it draws does not depend on the rows.
        rows: the distribution of each row, whose shape lacks axis 0, and of each range of rows. They are drawn after the base, one after
            the other; what comes later overwrites what came before.
    """

    base: Distribution
    rows: Mapping[int | range, Distribution]

    def __str__(self) -> str:
        parts = [f"{_row(where)}={_short(drawn)}" for where, drawn in self.rows.items()]
        return f"rows({', '.join([_short(self.base), *parts])})"


def _row(where: int | range) -> str:
    return f"{where.start}:{where.stop}" if isinstance(where, range) else str(where)


def _short(distribution: Distribution) -> str:
    """The text of a distribution within that of another: zeros and ones by name."""
    constants: dict[complex, str] = {0: "zeros", 1: "ones"}
    return (isinstance(distribution, Constant) and constants.get(distribution.value)) or str(distribution)


Distribution = Constant | Uniform | Normal | InPlace | Computed | Rows
