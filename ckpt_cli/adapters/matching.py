"""Which tensor of a base each change of an adapter is for: by name and shape, never by a guess.

The names of a base and of an adapter may differ by what they begin with (`model.`, `bert.`, `model.diffusion_model.`), in the same way for
all layers of a model. The way that fits most layers is taken; where two ways fit as many, and mean different tensors, that is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .layer import Change, Layer, Need
from .operations import InputsFirst, Operation
from .places import MOST_PARTS, Places, Portions, shape_of
from .replacing import Replace


class Way(NamedTuple):
    """How names of an adapter become names of a base: `strip` is taken from their beginning, or `add` is put there."""

    places: Places
    strip: str
    add: str


class Match(NamedTuple):
    """A change, and the tensor that it is for."""

    change: Change
    portions: Portions
    operation: Operation


class Matched(NamedTuple):
    """What became of the changes of one model of a pipeline.

    Attributes:
        component: the model.
        way: how its names became those of the base; None where nothing fits.
        matches: the changes that fit.
        new: the changes whose tensors are added, with their names.
        missing: the changes for which there is no tensor.
        misfits: the changes whose tensor has another shape, with the tensor.
        rivals: a layer that two ways give different tensors, and these; empty where the way is clear.
    """

    component: str
    way: Way | None
    matches: list[Match]
    new: list[tuple[str, Change]]
    missing: list[Change]
    misfits: list[tuple[Change, Portions]]
    rivals: tuple[str, ...] = ()

    def unfit(self) -> list[Layer]:
        """Return the layers of the changes that do not fit."""
        return [change.layer for change in (*self.missing, *(change for change, _ in self.misfits))]


class Matcher:
    """Matches the changes of adapters with the tensors of a base.

    Args:
        every: the layers of the base, in its own words first.
        inputs_first: whether the base keeps inputs × outputs where shapes do not tell.
    """

    def __init__(self, every: Sequence[Places], inputs_first: InputsFirst) -> None:
        self.every, self.inputs_first = every, inputs_first

    def match(self, component: str, changes: Sequence[Change], flat: bool) -> Matched:
        """Return what becomes of the changes of one model of a pipeline, whose names have underscores for dots where they are `flat`."""
        counts = self._ways(changes, flat, by_shape=True) or self._ways(changes, flat, by_shape=False)
        if not counts:
            return Matched(component, None, [], [], list(changes), [])
        most = max(counts.values())
        best = sorted((way for way, count in counts.items() if count == most), key=self._likelihood)
        is_exact = not (best[0].strip or best[0].add or best[0].places.words)
        result = self._with(component, best[0], changes, flat)
        self._fit_resized(result)
        return result if is_exact else result._replace(rivals=self._rival(best, changes, flat))

    def _fit_resized(self, result: Matched) -> None:
        """Accept changes that fit the replacement of a tensor and not the tensor itself: those of embeddings that were resized."""
        resized = {match.portions: match.operation.shape for match in result.matches if isinstance(match.operation, Replace)}
        for change, portions in list(result.misfits):
            if portions in resized:
                larger = (portions[0]._replace(shape=resized[portions]),)
                operation = change.operation.placed(shape_of(larger), self.inputs_first)
                if operation is not None:
                    result.misfits.remove((change, portions))
                    result.matches.append(Match(change, larger, operation))

    def _likelihood(self, way: Way) -> tuple[int, int]:
        return self.every.index(way.places), len(way.strip) + len(way.add)

    def _ways(self, changes: Sequence[Change], flat: bool, by_shape: bool) -> Counter[Way]:
        """The ways, and how many changes fit by each: by name, and by shape where that is asked for."""
        counts: Counter[Way] = Counter()
        for change in changes:
            found: dict[Way, None] = {}
            for places in self.every:
                for way, _, operation in self._candidates(places, change, flat):
                    if not by_shape or operation is not None:
                        found[way] = None
            counts.update(list(found))
        return counts

    def _candidates(self, places: Places, change: Change, flat: bool) -> Iterator[tuple[Way, Portions, Operation | None]]:
        """The tensors of such a name, each with the change as it is for that: transposed, say; None where it does not fit."""
        ends = places.ends(flat)
        for strip in _beginnings(change.layer.module, flat):
            for path, add in ends.get(change.layer.module[len(strip) :], ()):
                for leaf, operation in change.operations.items() if not (strip and add) else ():
                    if portions := places.layers[path].get(leaf):
                        yield Way(places, strip, add), portions, operation.placed(shape_of(portions), self.inputs_first)

    def _with(self, component: str, way: Way, changes: Sequence[Change], flat: bool) -> Matched:
        result = Matched(component, way, [], [], [], [])
        for change in changes:
            portions, operation = self._found(way, change, flat)
            if operation is not None:
                result.matches.append(Match(change, portions, operation))
            elif portions:
                result.misfits.append((change, portions))
            elif change.need == Need.OR_NEW:
                path = way.add + change.layer.module.removeprefix(way.strip)
                result.new.append((f"{path}.{change.layer.leaf}" if path else change.layer.leaf, change))
            elif change.need == Need.THERE:
                result.missing.append(change)
        return result

    def _found(self, way: Way, change: Change, flat: bool) -> tuple[Portions, Operation | None]:
        """The tensor of a change by one way, and the change as it is for that; nothing where there is none, or more than one."""
        found = [(portions, operation) for each, portions, operation in self._candidates(way.places, change, flat) if each == way]
        fitting = [(portions, operation) for portions, operation in found if len(found) == 1 or operation is not None]
        return fitting[0] if len(fitting) == 1 else ((), None)

    def _rival(self, ways: Sequence[Way], changes: Sequence[Change], flat: bool) -> tuple[str, ...]:
        """A layer that two of the best ways match with different tensors, and these tensors; empty where there is none."""
        for change in changes:
            found = {portions: None for way in ways if (portions := self._found(way, change, flat)[0])}
            if len(found) > 1:
                return (change.key, *(portions[0].name for portions in found))
        return ()


def _beginnings(module: str, flat: bool) -> Iterator[str]:
    """What may be taken from the beginning of a path: whole parts, up to the first number. Of a flat one nothing."""
    yield ""
    end = -1
    while not flat and module.count(".") <= MOST_PARTS and (end := module.find(".", end + 1)) > 0:
        if any(part.isdigit() for part in module[:end].split(".")):
            return
        yield module[: end + 1]
