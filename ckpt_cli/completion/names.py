"""Candidates among names, of which there may be very many: they are completed part by part, as paths are."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from ..show.escape import escape
from ..tensors.selection import natural, part_end

_FEW = 64  # names that are listed whole
_MOST = 1000  # candidates that are listed at all


class Candidate(NamedTuple):
    """A word that could stand at the cursor. `whole`: it is complete, so that a space may follow."""

    text: str
    whole: bool = True


def starting(words: Iterable[str], typed: str) -> list[Candidate]:
    """Return the words that begin with `typed`."""
    return [Candidate(word) for word in words if word.startswith(typed)]


def by_part(names: Iterable[str], typed: str, separator: str = ".") -> list[Candidate]:
    """Return the names that begin with `typed`; if they are many, the parts that come next, where these differ."""
    matching = [name for name in names if name.startswith(typed)]
    texts = dict.fromkeys(matching) if len(matching) <= _FEW else _parts(matching, len(typed), separator)
    while len(texts) == 1 and len(matching) > 1:
        texts = _parts(matching, len(next(iter(texts))), separator)
    shown = [text for text in islice(texts, _MOST) if escape(text) == text]  # what a terminal would act on is never offered
    whole = set(matching) if len(matching) <= _FEW else {name for name in matching if name in texts}
    return [Candidate(text, text in whole) for text in sorted(shown, key=natural)]


def _parts(names: list[str], at: int, separator: str) -> dict[str, None]:
    """Return each name up to the end of the part at index `at`, its separator included."""
    return dict.fromkeys(name[: part_end(name, at, separator) + 1] for name in names)


def by_last_part(names: Iterable[str], typed: str, separator: str = ".") -> list[Candidate]:
    """Return the patterns such as `*.weight` that begin with `typed`."""
    leaves = dict.fromkeys(name.rpartition(separator)[2] for name in names)
    patterns = ((leaf, f"*{separator}{leaf}") for leaf in islice(leaves, _MOST))
    return [Candidate(pattern) for leaf, pattern in patterns if pattern.startswith(typed) and escape(leaf) == leaf]
