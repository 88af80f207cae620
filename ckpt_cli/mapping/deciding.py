"""Which of several layers here is which of several there, of the same kind and sizes: by their names, never by chance.

1. Names that are spelled alike, apart from separators, capitals and usual short forms, are one layer's, where their numbers agree.
2. Layers whose names have the same of the words that occur on both sides: the only one here is the only one there, if the names of one
   side have no other words, or both say the same role (query, key …), or there are no other layers of these sizes.
3. Several of those, as many here as there, that differ by numbers alone on either side, follow each other by these numbers: `dense`,
   `dense_1`, `dense_2` are `0`, `2`, `4`.

What this leaves open is not decided. Step 2 is repeated as long as it finds something, with the words of what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from .words import LayerName

Pairs = dict[int, int]  # index here → index there
Names = Mapping[int, LayerName]
K = TypeVar("K")


def decided(here: Names, there: Names, known: Pairs) -> Pairs:
    """Return the pairs that names decide, of layers that could all be each other.

    Args:
        here: index → name.
        there: index → name.
        known: pairs of them that are decided already.
    """
    common = _common(here.values()) | _common(there.values())
    pairs = known | _spelled_alike(*_open(here, there, known))
    while True:
        found = _same_words(*_open(here, there, pairs), common, alone=not pairs)
        if not found:
            return {index: other for index, other in pairs.items() if index not in known}
        pairs |= found


def _open(here: Names, there: Names, pairs: Pairs) -> tuple[Names, Names]:
    """The names that are in no pair."""
    taken = set(pairs.values())
    return {index: here[index] for index in here if index not in pairs}, {index: there[index] for index in there if index not in taken}


def _common(names: Collection[LayerName]) -> frozenset[str]:
    """The words that all of several names have: they do not tell one from another."""
    return frozenset.intersection(*(name.words for name in names)) if len(names) > 1 else frozenset()


def _spelled_alike(here: Names, there: Names) -> Pairs:
    """Pairs of names that are one, where all numbers of one side occur on the other."""
    pairs: Pairs = {}
    others = _classes(there, lambda name: name.spelling)
    for spelling, ours in _classes(here, lambda name: name.spelling).items():
        theirs = others.get(spelling, [])
        by_number = {there[index].numbers: index for index in theirs}
        numbers = {here[index].numbers: index for index in ours}
        agree = numbers.keys() <= by_number.keys() or numbers.keys() >= by_number.keys()
        apart = len(numbers) == len(ours) and len(by_number) == len(theirs)
        if agree and apart and any(part != "#" for part in spelling):
            pairs |= {index: by_number[number] for number, index in numbers.items() if number in by_number}
    return pairs


def _same_words(here: Names, there: Names, common: frozenset[str], alone: bool) -> Pairs:
    """Pairs of names that have the same of the words that occur on both sides, without those in `common`.

    `alone` says that no other layers of these sizes have been paired.
    """
    shared = (_words(here.values()) & _words(there.values())) - common
    others = _classes(there, lambda name: name.words & shared)
    pairs: Pairs = {}
    for words, indices in _classes(here, lambda name: name.words & shared).items():
        ours = {index: here[index] for index in indices}
        theirs = {index: there[index] for index in others.get(words, [])}
        whole = alone and len(ours) == len(here) and len(theirs) == len(there)
        if len(ours) == len(theirs) and (whole or _say_the_same(ours, theirs, words | common)) and not _contradict(ours, theirs):
            pairs |= _by_number(ours, theirs)
    return pairs


def _say_the_same(here: Names, there: Names, words: frozenset[str]) -> bool:
    """Whether the names of one side have no words but these, or all names say the same role."""
    accounted = any(all(name.words <= words for name in names.values()) for names in (here, there))
    roles = {name.roles for names in (here, there) for name in names.values()}
    return accounted or (len(roles) == 1 and any(next(iter(roles))))


def _contradict(here: Names, there: Names) -> bool:
    sides = [{name.roles: name for name in names.values()}.values() for names in (here, there)]  # thousands of names have a few roles
    return any(one.contradicts(two) for one in sides[0] for two in sides[1])


def _words(names: Iterable[LayerName]) -> frozenset[str]:
    return frozenset(word for name in names for word in name.words)


def _by_number(here: Names, there: Names) -> Pairs:
    """Pairs of as many names here as there, where those of either side differ by numbers alone."""
    if len(here) > 1 and not (_numbered(here) and _numbered(there)):
        return {}
    first, second = (sorted(names, key=lambda index: names[index].place) for names in (here, there))
    return dict(zip(first, second, strict=True))


def _numbered(names: Names) -> bool:
    """Whether the names are one skeleton with different numbers."""
    return len({name.skeleton for name in names.values()}) == 1 and len({name.place for name in names.values()}) == len(names)


def _classes(names: Names, key: Callable[[LayerName], K]) -> dict[K, list[int]]:
    classes: dict[K, list[int]] = {}
    for index, name in names.items():
        classes.setdefault(key(name), []).append(index)
    return classes
