"""What refers to an open file: it is immutable, so its copy is itself, and no other process can take it over."""

from __future__ import annotations

from typing import NoReturn, Self

from ..errors import UsageError


class Uncopied:
    """A base class. With a copy, a descriptor would have two owners: the one that goes first would close it under the other."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise UsageError("what is open cannot be pickled", "give the other process the path, or pickle values: state_dict(), array()")
