"""What names, of which there may be very many, go on from what was typed: by their parts, as paths do."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from ..show.escape import escape
from ..tensors.selection import natural, part_end

_FEW = 64  # names that are listed whole
_MOST = 1000  # more candidates than anyone reads


class Candidate(NamedTuple):
    """A word that could stand at the cursor; `whole`: nothing need follow, so that a space may."""

    text: str
    whole: bool = True


def starting(words: Iterable[str], typed: str) -> list[Candidate]:
    return [Candidate(word) for word in words if word.startswith(typed)]


def by_part(names: Iterable[str], typed: str, separator: str = ".") -> list[Candidate]:
    """The names that begin as `typed` does; where they are many, their next parts, where these are not one and the same."""
    left = [name for name in names if name.startswith(typed)]
    found = dict.fromkeys(left) if len(left) <= _FEW else _parts(left, len(typed), separator)
    while len(found) == 1 and len(left) > 1:
        found = _parts(left, len(next(iter(found))), separator)
    shown = [text for text in islice(found, _MOST) if escape(text) == text]  # what a terminal would act on is never offered
    exact = set(left) if len(left) <= _FEW else {name for name in left if name in found}
    return [Candidate(text, text in exact) for text in sorted(shown, key=natural)]


def _parts(names: list[str], at: int, separator: str) -> dict[str, None]:
    """Each name as far as the end of the part at `at`, its separator included."""
    return dict.fromkeys(name[: part_end(name, at, separator) + 1] for name in names)


def by_last_part(names: Iterable[str], typed: str, separator: str = ".") -> list[Candidate]:
    """Patterns `*.weight`, for what begins so."""
    leaves = dict.fromkeys(name.rpartition(separator)[2] for name in names)
    made = ((leaf, f"*{separator}{leaf}") for leaf in islice(leaves, _MOST))
    return [Candidate(pattern) for leaf, pattern in made if pattern.startswith(typed) and escape(leaf) == leaf]
