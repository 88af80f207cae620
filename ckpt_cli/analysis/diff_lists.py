"""Lists of differences: what is the same on both sides, one entry a layer, and the largest change first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .diff import Difference, pair_key
from .distance import Numbers, Sums
from .layer_paths import DEEPEST, grouped
from .pair_sums import norms

_NAN = float("nan")
UNCHANGED = "unchanged"


class Sort(StrEnum):
    """The orders of the differences."""

    changed = "changed"
    max_abs = "max_abs"
    rel_l2 = "rel_l2"
    cosine = "cosine"
    name = "name"


def unchanged(a: Checkpoint, b: Checkpoint, names: Sequence[str] | None, differences: Iterable[Difference]) -> Iterator[Difference]:
    """Yield what both checkpoints have and no difference is about.

    Args:
        a: The checkpoint before.
        b: The checkpoint after.
        names: The names that were compared; None for all, and what is in no tensor.
        differences: The differences that were found.

    Yields:
        An entry of the status `unchanged` for each, in the order of `a`.
    """
    wanted = None if names is None else set(names)
    different = {difference.name for difference in differences}
    for mine, yours in ((a.kinds(), b.kinds()), *(((a.undecoded, b.undecoded),) if names is None else ())):
        for name in mine:
            if name in yours and name not in different and (wanted is None or name in wanted):
                yield Difference(UNCHANGED, name)


def _by(figure: Callable[[Numbers], float]) -> Callable[[Difference], Any]:
    """The key that sorts the largest change first: NaN is the largest, and what has no numbers is last."""

    def key(difference: Difference) -> tuple[bool, bool, float]:
        size = figure(difference.numbers) if difference.numbers else 0.0
        return difference.numbers is None, size == size, -size

    return key


_ORDERS: dict[Sort, Callable[[Difference], Any]] = {
    Sort.changed: _by(lambda numbers: numbers.changed),
    Sort.max_abs: _by(lambda numbers: numbers.max_abs),
    Sort.rel_l2: _by(lambda numbers: numbers.rel_l2),
    Sort.cosine: _by(lambda numbers: -numbers.cosine),
    Sort.name: lambda difference: difference.name,
}


def ordered(differences: Iterable[Difference], by: Sort) -> list[Difference]:
    """Sort differences by name, or by one of the numbers, the largest change first."""
    return sorted(differences, key=_ORDERS[by])


def by_layer(
    a: Checkpoint, b: Checkpoint, names: Sequence[str] | None, differences: Sequence[Difference], depth: int = DEEPEST
) -> list[Difference]:
    """Merge the differences of the tensors of each layer, those that are the same included.

    Integers of a layer that has floats count as elements, and are left out of the other numbers: a counter of batches would outweigh the
    weights of a normalisation. What is tied within a layer is counted once.

    Args:
        a: The checkpoint before.
        b: The checkpoint after.
        names: The names that were compared; None for all.
        differences: The differences that were found.
        depth: How many parts of its path tell a layer.

    Returns:
        For each layer an entry with its path as name: the statuses of its differences, joined by commas, or `unchanged`; how many tensors
        it has on each side where these numbers differ. Then what is in no tensor, as it is in `differences`.
    """
    wanted = [*a, *(name for name in b if name not in a)] if names is None else [name for name in names if name in a or name in b]
    found: dict[str, list[Difference]] = {}
    for difference in differences:
        found.setdefault(difference.name, []).append(difference)
    groups = grouped({name: b if name in b else a for name in wanted}, depth)
    layers = [_Layer.of(path, a, b, group, found) for path, group in groups.items()]
    _add_norms_of_equals(layers)
    return [*(layer.difference() for layer in layers), *(each for each in differences if each.name not in a and each.name not in b)]


class _Pair(NamedTuple):
    """A tensor that both sides have in one shape: the one before, and its distance from the one after."""

    tensor: Tensor
    numbers: Numbers | None
    sums: Sums | None
    whole: bool


class _Layer(NamedTuple):
    """What is compared of a layer, each pair of tensors once."""

    path: str
    statuses: dict[str, None]
    before: int
    after: int
    pairs: list[_Pair]

    @classmethod
    def of(cls, path: str, a: Checkpoint, b: Checkpoint, names: list[str], found: dict[str, list[Difference]]) -> _Layer:
        own = [difference for name in names for difference in found.get(name, ())]
        pairs: dict[Any, _Pair] = {}
        for name in names if own else ():
            if name in a and name in b and a[name].shape == b[name].shape:
                one, two = a[name], b[name]
                numbers, sums = next(((each.numbers, each.sums) for each in found.get(name, ()) if each.numbers), (None, None))
                whole = one.dtype.kind in "biu" and two.dtype.kind in "biu"
                pairs[pair_key(one, two)] = _Pair(one, numbers, sums, whole)
        statuses = dict.fromkeys(difference.status for difference in own)
        return cls(path, statuses, sum(name in a for name in names), sum(name in b for name in names), list(pairs.values()))

    def measured(self) -> list[int]:
        """Which pairs make up the numbers: those of integers alone where there are no others."""
        numeric = [at for at, pair in enumerate(self.pairs) if pair.sums or (pair.tensor.numeric and not pair.numbers)]
        return [at for at in numeric if not self.pairs[at].whole] or numeric

    def difference(self) -> Difference:
        before, after = (_tensors(count) if self.before != self.after else "" for count in (self.before, self.after))
        return Difference(",".join(self.statuses) or UNCHANGED, self.path, before, after, self._numbers())

    def _numbers(self) -> Numbers | None:
        changed = sum(pair.numbers.changed for pair in self.pairs if pair.numbers)
        if not changed:
            return None
        elements = sum(pair.numbers.elements if pair.numbers else pair.tensor.numel for pair in self.pairs)
        measured, sums = self.measured(), Sums()
        for at in measured:
            sums.merge(self.pairs[at].sums or Sums())
        figures = sums.figures() if sums.changed else (0.0, 0.0, 1.0) if measured else (_NAN, _NAN, _NAN)
        return Numbers(elements, changed, None, *figures)


def _tensors(count: int) -> str:
    return f"{count} tensor{'s' * (count != 1)}" if count else ""


def _add_norms_of_equals(layers: Sequence[_Layer]) -> None:
    """Read the tensors that are the same, in layers where others changed: their norms are part of the layer's."""
    places: list[tuple[_Layer, int]] = []
    for layer in layers:
        measured = layer.measured()
        if any(layer.pairs[at].sums for at in measured):
            places += [(layer, at) for at in measured if layer.pairs[at].sums is None]
    for (layer, at), sums in zip(places, norms([layer.pairs[at].tensor for layer, at in places]), strict=True):
        layer.pairs[at] = layer.pairs[at]._replace(sums=sums)


class Listed(NamedTuple):
    """What is listed of two checkpoints, and in which order.

    Attributes:
        a: The checkpoint before.
        b: The checkpoint after.
        names: The names that were compared; None for all.
        differences: What differs.
        sort: By what it is sorted; None for the order of the files.
        depth: How many parts of its path tell a layer, where a line is a layer.
        unchanged: Whether what is the same is listed, instead of what differs.
    """

    a: Checkpoint
    b: Checkpoint
    names: list[str] | None
    differences: list[Difference]
    sort: Sort | None
    depth: int | None
    unchanged: bool

    def entries(self) -> list[Difference]:
        """Return the lines of the list."""
        if self.depth is not None:
            return [layer for layer in self._layers() if (layer.status == UNCHANGED) == self.unchanged]
        return self.in_order(list(self.same()) if self.unchanged else self.differences)

    def in_order(self, differences: list[Difference], otherwise: Sort | None = None) -> list[Difference]:
        """Sort differences as --sort says."""
        by = self.sort or otherwise
        return ordered(differences, by) if by else differences

    def counts(self) -> dict[str, int]:
        """Return how many lines there are of each status, `unchanged` last."""
        if self.depth is not None:
            counts = Counter(layer.status for layer in self._layers())
            same = counts.pop(UNCHANGED, 0)
        else:
            counts, same = Counter(difference.status for difference in self.differences), sum(1 for _ in self.same())
        return {**counts, UNCHANGED: same}

    def same(self) -> Iterator[Difference]:
        """Yield what both checkpoints have and no difference is about."""
        return unchanged(self.a, self.b, self.names, self.differences)

    def _layers(self) -> list[Difference]:
        depth = DEEPEST if self.depth is None else self.depth
        return self.in_order(by_layer(self.a, self.b, self.names, self.differences, depth), Sort.rel_l2)
