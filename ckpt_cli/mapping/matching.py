"""Which layer here is which there: of those that could be each other by kind and sizes, names decide; what they leave open is an error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ..errors import EditError, first_few
from .axes import Sizes, merged
from .deciding import decided
from .kinds import Candidate, LayerTensors
from .words import LayerName

_SHOWN = 10  # names of either side in an error


class Pair(NamedTuple):
    """A layer here and the same layer there, with the variables of each; the sizes are those of both."""

    here: Candidate
    there: Candidate
    sizes: Sizes


class Side(NamedTuple):
    """The layers of one side, which names are tied there, and the paths of their layers where a graph or config tells other ones."""

    layers: Sequence[LayerTensors]
    ties: Collection[Collection[str]]
    paths: Mapping[str, str] = MappingProxyType({})

    def names(self, indices: Iterable[int]) -> dict[int, LayerName]:
        """Return the names of these layers: those that a graph or config gives them, where these say anything."""
        told = {index: LayerName(self.paths.get(self.layers[index].names[0], "")) for index in indices}
        if all(name.path for name in told.values()) and any(name.words for name in told.values()):
            return told
        return {index: LayerName(self.layers[index].path) for index in told}


class Matching(NamedTuple):
    """The pairs of layers, in the order of those here, and the groups of layers (here, there) that could still be each other."""

    pairs: list[Pair]
    open: list[tuple[list[LayerTensors], list[LayerTensors]]]

    def check(self) -> None:
        """Raise EditError where something is open: which is which would be a guess."""
        if not self.open:
            return
        here, there = self.open[0]
        these, those = (first_few([layer.names[0] for layer in side], _SHOWN) for side in (here, there))
        count = len(self.open) - 1
        more = f", and so for {count:,} more group{'s' * (count > 1)} of layers" if count else ""
        raise EditError(
            f"{these} could {'each ' * (len(here) > 1)}become {those}: neither names nor sizes decide{more}",
            "say which by rules: --map RULES.toml; or leave out by --select and --drop what is not meant",
        )


def matched(here: Side, there: Side) -> Matching:
    """Return which layer here is which there: first as the kind that each most likely is, then as any that it may be."""
    pairs: dict[int, tuple[int, Pair]] = {}
    still_open: list[tuple[list[LayerTensors], list[LayerTensors]]] = []
    for likeliest_only in (True, False):
        still_open = []
        for group in _groups(here.layers, there.layers, likeliest_only):
            ours, theirs = map(set, group)
            known = {index: other for index, (other, _) in pairs.items() if index in ours or other in theirs}
            found, left = _matched_group(group, here, there, known, likeliest_only)
            pairs |= found
            still_open += [left] if left[0] and left[1] else []
    return Matching([pairs[index][1] for index in sorted(pairs)], still_open)


_Group = tuple[list[int], list[int]]  # the layers here and there that may be each other


def _matched_group(
    group: _Group, here: Side, there: Side, known: dict[int, int], likeliest_only: bool
) -> tuple[dict[int, tuple[int, Pair]], tuple[list[LayerTensors], list[LayerTensors]]]:
    """The pairs in a group that names decide (index here → index there, pair), and the layers that could still be each other.

    `known` are pairs of these layers already.
    """
    ours, theirs = group
    if len(ours) != len(theirs):
        ours, theirs = _untied([*known, *ours], here), _untied([*known.values(), *theirs], there)
    names, others = here.names(ours), there.names(theirs)
    found = {
        index: (other, pair)
        for index, other in decided(names, others, known).items()
        if (pair := paired_as_one(here.layers[index], there.layers[other], likeliest_only)) is not None
    }
    done, taken = {*known, *found}, {*known.values(), *(other for other, _ in found.values())}
    open_ours = {index: names[index] for index in ours if index not in done}
    open_theirs = {other: others[other] for other in theirs if other not in taken}
    left = _that_could_be(open_ours, open_theirs), _that_could_be(open_theirs, open_ours)
    return found, ([here.layers[index] for index in left[0]], [there.layers[index] for index in left[1]])


def _that_could_be(names: dict[int, LayerName], others: dict[int, LayerName]) -> list[int]:
    """The layers whose names do not contradict the role of every other name."""
    roles = {other.roles: other for other in others.values()}.values()  # thousands of names have a few roles
    return [index for index, name in names.items() if not all(name.contradicts(other) for other in roles)]


def _untied(indices: Iterable[int], side: Side) -> list[int]:
    """These layers, without those that are tied to an earlier one of them."""
    group_of = {name: number for number, names in enumerate(side.ties) for name in names}
    first: dict[frozenset[object], int] = {}
    for index in indices:
        first.setdefault(frozenset(group_of.get(name, name) for name in side.layers[index].names), index)
    return list(first.values())


class _Form(NamedTuple):
    """What layers have to have in common to be one: kind, variables, and sizes that do not contradict each other."""

    kind: str
    terms: frozenset[str]
    sizes: tuple[tuple[str, int], ...]

    def fits(self, other: _Form) -> bool:
        """Whether a layer of this form may be one of the other."""
        return (self.kind, self.terms) == (other.kind, other.terms) and merged(dict(self.sizes), dict(other.sizes)) is not None


def _form(candidate: Candidate) -> _Form:
    terms = frozenset(candidate.kind.required_terms(candidate.tensors))
    return _Form(candidate.kind.name, terms, tuple(sorted(candidate.sizes.items())))


def _groups(ours: Sequence[LayerTensors], theirs: Sequence[LayerTensors], likeliest_only: bool) -> Iterator[_Group]:
    """The layers of either side that are connected by the forms that they may have."""
    forms = [
        {index: {_form(each) for each in _kinds(layer, likeliest_only)} for index, layer in enumerate(side)} for side in (ours, theirs)
    ]
    known = [{form for found in side.values() for form in found} for side in forms]
    groups: list[tuple[set[_Form], set[_Form]]] = []
    links = [({one}, {two for two in known[1] if one.fits(two)}) for one in known[0]]
    links += [(found, set()) for found in forms[0].values()] + [(set(), found) for found in forms[1].values()]
    for here, there in links:
        touching = [group for group in groups if group[0] & here or group[1] & there]
        groups = [group for group in groups if group not in touching]
        groups.append((here.union(*(group[0] for group in touching)), there.union(*(group[1] for group in touching))))
    found = [
        ([index for index, own in forms[0].items() if own & here], [index for index, own in forms[1].items() if own & there])
        for here, there in groups
    ]
    yield from sorted(group for group in found if group[0] and group[1])


def _kinds(layer: LayerTensors, likeliest_only: bool) -> tuple[Candidate, ...]:
    return layer.candidates[:1] if likeliest_only else layer.candidates


def paired_as_one(layer: LayerTensors, other: LayerTensors, likeliest_only: bool) -> Pair | None:
    """Return both as one kind of layer, where sizes and variables agree."""
    for here in _kinds(layer, likeliest_only):
        for there in _kinds(other, likeliest_only):
            sizes = merged(here.sizes, there.sizes) if here.kind.name == there.kind.name else None
            if sizes is not None and here.kind.required_terms(here.tensors) == there.kind.required_terms(there.tensors):
                return Pair(here, there, sizes)
    return None
