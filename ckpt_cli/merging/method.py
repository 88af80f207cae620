"""What a method of merging is, what it is told of a tensor, and the registry of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..registry import ModuleRegistry

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]
    Values = Sequence[Array]  # the same elements of each source; of the base first, where the method has one


class How(NamedTuple):
    """What a method is told of one tensor.

    Attributes:
        weights: The weight of each source; None where none are given.
        density: The part of the differences from the base that is kept, over 0 and up to 1.
        seed: The seed of what is random.
        name: The name of the tensor, so that each has random numbers of its own.
    """

    weights: tuple[float, ...] | None = None
    density: float = 1.0
    seed: int = 0
    name: str = ""

    def weights_or(self, default: float, count: int) -> tuple[float, ...]:
        """Return the weights; `default` for each of `count` sources where none are given."""
        return (default,) * count if self.weights is None else self.weights


class Method:
    """A way to merge. A subclass sets the attributes, defines `merge`, and is registered by `methods.add`.

    Attributes:
        name: What it is called; its module is `method_NAME`.
        has_base: Whether it merges differences from a base.
        least: The fewest sources, without the base.
        most: The most sources; 0 for any number.
        has_density: Whether it takes a density, and then it needs one.
        usual_density: What its paper uses, for the error that asks for one.
        has_seed: Whether it is random.
        orders: Whether it compares values, so that it cannot merge complex ones.
        studies: Whether it must know the whole tensor before it merges an element.
    """

    name: str
    has_base: bool = False
    least: int = 2
    most: int = 0
    has_density: bool = False
    usual_density: float = 1.0
    has_seed: bool = False
    orders: bool = False
    studies: bool = False

    def study(self, blocks: Callable[[], Iterator[Values]], how: How) -> Any:
        """Return what must be known of the whole tensor.

        Args:
            blocks: Reads all values of the sources, in blocks; may be called more than once.
            how: What is told of the tensor.

        Raises:
            EditError: The tensor cannot be merged in this way.
        """
        return None

    def merge(self, values: Values, how: How, first: int, known: Any) -> Array:
        """Return the merged values of a block, in a scratch buffer or an array of its own.

        Args:
            values: Those of each source, of one axis and one dtype: float32, float64, or a complex one. They must not be changed.
            how: What is told of the tensor.
            first: The index of the first of these elements in the tensor.
            known: What `study` found.
        """
        raise NotImplementedError


methods: ModuleRegistry[Method] = ModuleRegistry("method of merging", "ckpt_cli.merging", "method_")
