"""A config and the weights beside it, as they are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from ..configs import Config
from ..configs.sizes import Size, parts_of
from ..tensors.checkpoint import Checkpoint
from .named_parts import NamedParts


class Contradiction(NamedTuple):
    """Something that a config says, and that the weights do not hold.

    Attributes:
        entry: the entry of the config: `num_hidden_layers`.
        says: what it says.
        found: what the file holds.
    """

    entry: str
    says: str
    found: str


class Compared:
    """A config and the weights that it is compared with.

    Attributes:
        config: the config.
        own: the tensors of the model, packed parameters as plain ones.
        dtypes: the number of elements of each dtype, without those of packed parameters.
        packed: whether parameters are packed.
        parts: the parts of the model by names.
    """

    def __init__(self, config: Config, own: Checkpoint, dtypes: Mapping[str, int], packed: bool) -> None:
        """Nothing is compared yet."""
        self.config, self.own, self.dtypes, self.packed = config, own, dtypes, packed
        self.parts = NamedParts(own.kinds())

    @cached_property
    def said(self) -> dict[str, dict[str, Size]]:
        """The sizes that the config tells, by the parts of the model."""
        return parts_of(self.config)

    def sizes(self, *names: str) -> Iterator[tuple[str, str, str, int]]:
        """Yield the part, the name, the entry and the value of each size of these names that is one number."""
        for part, sizes in self.said.items():
            for name in names:
                if name in sizes and isinstance(value := sizes[name].value, int):
                    yield part, name, sizes[name].entry, value


def first(named: Mapping[str, object]) -> str:
    """Return the first name of a mapping that has one."""
    return next(iter(named))
