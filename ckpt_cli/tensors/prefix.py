"""Names of two checkpoints that differ by what stands before them: `module.0.weight` and `0.weight`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from shlex import quote
from typing import NamedTuple

from ..errors import number_of
from .checkpoint import Kind

_SAMPLES = 64  # names from which prefixes are guessed; all names are looked at to count whom a guess fits
_TRIED = 8  # guesses
_FEW = 100_000  # names: of more, only prefixes that one side lacks are found
_MOST = 3  # prefixes, one after another: `netG.module.`, `netD.module.`
_PLAIN = re.compile(r"[\w./-]*")  # what means itself in a glob
_SEPARATOR = re.compile(r"[./]")


class Renaming(NamedTuple):
    """A renaming of tensors of one checkpoint, by which they have the names of another.

    Attributes:
        old: What stands before the names in the first.
        new: What stands there in the second.
        tensors: How many tensors of both, of the same shapes, then have one name.
    """

    old: str
    new: str
    tensors: int

    @property
    def rule(self) -> str:
        """The renaming as OLD=NEW, as `rename` and `--map` take it."""
        return f"{self.old}*={self.new}*"

    @property
    def back(self) -> Renaming:
        """The renaming of tensors of the second, by which they have the names of the first."""
        return Renaming(self.new, self.old, self.tensors)

    def renamed(self, name: str) -> str:
        """Return the new name of a tensor of the first."""
        return self.new + name[len(self.old) :] if name.startswith(self.old) else name

    def between(self, a: str, b: str) -> str:
        """Return what differs, in words; `a` and `b` are what the two checkpoints are called."""
        count = number_of(self.tensors, "name")
        if self.old and self.new:
            return f"{count} of {a} begin{'s' * (self.tensors == 1)} with {self.old!r} where {b} has {self.new!r}"
        longer, shorter = (a, b) if self.old else (b, a)
        return f"{longer} has {self.old or self.new!r} before {count} of {shorter}"


def hint(a: Mapping[str, Kind], b: Mapping[str, Kind], called: tuple[str, str], option: str = "--map") -> str:
    """Return a line that says by which prefixes the names differ, with the options that rename those of `a`; empty where by none.

    Args:
        a: Dtypes and shapes by name: `checkpoint.kinds()`.
        b: The same of the other checkpoint.
        called: What the two checkpoints are called.
        option: The option that takes a renaming.
    """
    found = prefixes(a, b)
    options = " ".join(f"{option} {quote(each.rule)}" for each in found)
    return f"{', '.join(each.between(*called) for each in found)}: {options} compare{'s' * (len(found) == 1)} them" if found else ""


def prefixes(a: Mapping[str, Kind], b: Mapping[str, Kind]) -> list[Renaming]:
    """Find the renamings of prefixes, to be made one after another, that give tensors of `a` the names that they have in `b`.

    Args:
        a: Dtypes and shapes by name: `checkpoint.kinds()`.
        b: The same of the other checkpoint.

    Returns:
        The renamings; none where they would not account for most of the names that one of the two alone has, or would take away names that
        both have.
    """
    mine, yours = ({name: kind for name, kind in side.items() if name not in other} for side, other in ((a, b), (b, a)))
    wanted = min(len(mine), len(yours))
    names, found = set(a), list[Renaming]()
    while mine and yours and len(found) < _MOST:
        best = next(_fitting(mine, yours, names, b), None)
        if best is None:
            break
        found.append(best)
        names = {best.renamed(name) for name in names}
        mine = {name: kind for old, kind in mine.items() if (name := best.renamed(old)) not in yours}
        yours = {name: kind for name, kind in yours.items() if name not in names}
    return found if 2 * sum(each.tensors for each in found) > wanted else []


def _fitting(mine: Mapping[str, Kind], yours: Mapping[str, Kind], names: set[str], b: Mapping[str, Kind]) -> Iterator[Renaming]:
    """The candidates that fit some tensors, take away no name that both sides have, and lead no two names to one."""
    for old, new in _candidates(mine, yours):
        picked = [name for name in names if name.startswith(old)]
        if any(name in b for name in picked) or not names.difference(picked).isdisjoint(new + name[len(old) :] for name in picked):
            continue
        pairs = ((kind, yours.get(new + name[len(old) :])) for name, kind in mine.items() if name.startswith(old))
        tensors = sum(other is not None and other.shape == kind.shape for kind, other in pairs)
        least = max(2, max(len(mine), len(yours)) / 2) if old and new else 1  # a few layers may end alike: `pooler.dense`, `head.dense`
        if tensors >= least:
            yield Renaming(old, new, tensors)


def _candidates(mine: Mapping[str, Kind], yours: Mapping[str, Kind]) -> list[tuple[str, str]]:
    """Pairs of prefixes, the likeliest first: what names of one side have before those of the other, or what takes its place.

    Each is also tried with the first part of the name behind it: others may have their names already.
    """
    guesses: Counter[tuple[str, str]] = Counter()
    for old, new, end in _divided(mine, yours):
        part = end[: len(end) - len(_tails(end)[1])] if len(_tails(end)) > 1 else ""
        guesses.update([(old, new), *([(old + part, new + part)] if part else [])])
    plain = (pair for pair, _ in guesses.most_common() if all(map(_PLAIN.fullmatch, pair)))
    return list(islice(plain, _TRIED))


def _divided(mine: Mapping[str, Kind], yours: Mapping[str, Kind]) -> Iterator[tuple[str, str, str]]:
    """What stands before the longest end that a name of each side has in common, and that end; of samples of the names."""
    ours, theirs = (list(side)[:: max(len(side) // _SAMPLES, 1)] for side in (mine, yours))
    whole = [(name, tail, "") for name in ours for tail in _tails(name) if tail in yours]
    whole += [("", tail, name) for name in theirs for tail in _tails(name) if tail in mine]
    yield from ((old[: len(old) - len(tail)], new[: len(new) - len(tail)], tail) for old, tail, new in whole)
    if whole or len(yours) > _FEW:
        return
    ends: dict[str, dict[str, None]] = {tail: {} for name in ours for tail in _tails(name)}
    for name in yours:
        if tail := next((tail for tail in _tails(name) if tail in ends), ""):
            ends[tail][name[: len(name) - len(tail)]] = None
    for name in ours:
        tail = next((tail for tail in _tails(name) if ends[tail]), "")
        yield from ((name[: len(name) - len(tail)], new, tail) for new in ends.get(tail, ()))


def _tails(name: str) -> list[str]:
    """The name, and what stands behind each separator in it: the longest first."""
    return [name, *(name[found.end() :] for found in _SEPARATOR.finditer(name))]
