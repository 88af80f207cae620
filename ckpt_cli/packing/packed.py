"""What is known of a packed parameter, and the registry of packings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ..registry import ModuleRegistry
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    from ..tensors.checkpoint import Checkpoint
    from .headers import Headers


class Packed(NamedTuple):
    """A packed parameter.

    Attributes:
        name: the name that it has in the plain model.
        title: how it is packed, in words: `GPTQ 4 bit, group 128`.
        shape: its shape in the plain model.
        parts: the names of the tensors that it is kept in. The first one is the main one, in whose place the plain tensor goes.
        decode: returns the plain tensor, whose values are computed as they are read.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    parts: tuple[str, ...]
    decode: Callable[[], Tensor]

    @property
    def main(self) -> str:
        """The name of the tensor that holds the values themselves, without their scales."""
        return self.parts[0]


class Packing:
    """A way to pack parameters. A subclass sets the attributes, defines `at`, and is registered by `packings.add`.

    Attributes:
        name: what it is called in the registry; its module is `packing_NAME`.
        leaves: how the names of tensors end that announce a packed parameter: the last part, or its end where it begins with `_`.
        markers: the last parts of the names of tensors that say of a whole file that it is packed this way.
    """

    name: str
    leaves: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()

    def candidates(self, headers: Headers) -> Iterable[str]:
        """Return the names of the tensors that may announce a packed parameter."""
        return headers.ending(self.leaves)

    def at(self, headers: Headers, name: str) -> Packed | None:
        """Return the packed parameter that the tensor `name` announces; None where it announces none of this packing.

        Raises:
            Malformed: it announces one, and what belongs to it is missing or does not fit.
        """
        raise NotImplementedError

    def settled(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint whose parameters of this packing are decoded, without what else says that they are packed."""
        return checkpoint


packings: ModuleRegistry[Packing] = ModuleRegistry("packing", "ckpt_cli.packing", "packing_")
