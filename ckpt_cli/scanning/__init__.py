"""Search of a file for code: what loading it elsewhere would import. It goes by the bytes, whether a format claims them or not.

A finding is a name that is not in the list for its container (`safe_names`), or a part that was not understood. Nothing is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..storage.file import File

_MOST_FINDINGS = 1000
_MOST_INFLATED = 256 << 20  # bytes, in a whole file
_MOST_SEARCHED = 48 << 20  # bytes that are searched for pickles that begin anywhere, in a whole file
_MOST_OPCODES = 6_000_000  # in a whole file


class Finding(NamedTuple):
    """One thing that speaks against loading a file.

    Attributes:
        name: The dotted name of what would be imported; empty for a part that was not understood.
        what: What is wrong, in words.
        place: The member of an archive that it is about; empty for the file itself.
    """

    name: str
    what: str
    place: str


class Search:
    """The search of one file: its findings, each once, and what is left of the limits. `containers.Searching` is the whole of it.

    Attributes:
        pickles: How many pickles, or other parts that may hold code, were recognised.
        inflated: How many bytes may still be inflated.
        searched: How many bytes may still be searched for pickles that begin anywhere.
        opcodes: How many opcodes may still be run.
        depth: How many containers are open, one within the other.
    """

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}
        self.pickles = 0
        self.inflated = _MOST_INFLATED
        self.searched = _MOST_SEARCHED
        self.opcodes = _MOST_OPCODES
        self.depth = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, name: str, what: str, place: str) -> None:
        """Add a finding; those beyond a thousand are left out, as there are enough."""
        if len(self._found) < _MOST_FINDINGS:
            self._found[Finding(name, what, place)] = None

    def unread(self, what: str, place: str) -> None:
        """Add a part that was not understood."""
        self.add("", what, place)

    def look(self, file: File, place: str, rules: Any = None, known: bool = False) -> bool:
        """Search a run of bytes, and what lies within it.

        Args:
            file: The bytes.
            place: What they are called; empty for the file itself.
            rules: What is safe in a pickle that stands in no container.
            known: A format that holds data alone has read the bytes.

        Returns:
            Whether it is known what the bytes are.
        """
        raise NotImplementedError

    def member(self, file: File, place: str, known: bool = False) -> None:
        """Search a member of an archive; one that is no known kind of data was not understood."""
        if file.size and not self.look(file, place, known=known):
            self.unread("it is of no kind that is known here", place)


def within(place: str, name: str) -> str:
    """What a part of `place` is called."""
    return f"{place}, {name}" if place else name
