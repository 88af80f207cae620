"""Which tensor of a base each change of an adapter is for: by name and shape, never by a guess.

The names of a base and of an adapter may differ by what they begin with (`model.`, `bert.`, `model.diffusion_model.`), in the same way for
all layers of a model. The way that fits most layers is taken; where two ways fit as many, and mean different tensors, that is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .layer import Change, Layer, Need
from .operations import Operation, Replace
from .places import Places, Portions, shape_of


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
        inputs_first: whether the base keeps matrices as inputs × outputs where shapes do not tell (GPT-2's Conv1D).
    """

    def __init__(self, every: Sequence[Places], inputs_first: bool) -> None:
        self.every, self.inputs_first = every, inputs_first

    def match(self, component: str, changes: Sequence[Change], flat: bool) -> Matched:
        """Return what becomes of the changes of one model of a pipeline."""
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
        """Take changes that fit what replaces a tensor, and not the tensor, for ones that fit: embeddings that were resized."""
        resized = {match.portions: match.operation.shape for match in result.matches if isinstance(match.operation, Replace)}
        for change, portions in list(result.misfits):
            if portions in resized:
                operation = self._operation(change, (portions[0]._replace(shape=resized[portions]),))
                if operation is not None:
                    result.misfits.remove((change, portions))
                    result.matches.append(Match(change, (portions[0]._replace(shape=resized[portions]),), operation))

    def _likelihood(self, way: Way) -> tuple[int, int]:
        return self.every.index(way.places), len(way.strip) + len(way.add)

    def _ways(self, changes: Sequence[Change], flat: bool, by_shape: bool) -> Counter[Way]:
        """The ways, and how many changes fit by each: by name, and by shape where that is asked for."""
        counts: Counter[Way] = Counter()
        for change in changes:
            found = set()
            for places in self.every:
                for strip, add, portions in self._candidates(places, change, flat):
                    if not by_shape or self._operation(change, portions) is not None:
                        found.add(Way(places, strip, add))
            counts.update(found)
        return counts

    def _candidates(self, places: Places, change: Change, flat: bool) -> Iterator[tuple[str, str, Portions]]:
        ends = places.ends(flat)
        for strip in _beginnings(change.layer.module, flat):
            for path, add in ends.get(change.layer.module[len(strip) :], ()):
                if change.leaf in places.layers[path] and not (strip and add):
                    yield strip, add, places.layers[path][change.leaf]

    def _operation(self, change: Change, portions: Portions) -> Operation | None:
        """The change as it is for a tensor, transposed where that keeps its inputs first; None where it does not fit."""
        shape, operation = shape_of(portions), change.operation
        if isinstance(operation, Replace) and operation.resizes(shape):
            return operation
        straight, turned = operation.fits(shape), operation.transposed()
        if turned is not None and turned.fits(shape) and (not straight or self.inputs_first) and len(portions) == 1:
            return turned
        return operation if straight else None

    def _with(self, component: str, way: Way, changes: Sequence[Change], flat: bool) -> Matched:
        result = Matched(component, way, [], [], [], [])
        for change in changes:
            portions = self._found(way, change, flat)
            operation = self._operation(change, portions) if portions else None
            if operation is not None:
                result.matches.append(Match(change, portions, operation))
            elif portions:
                result.misfits.append((change, portions))
            elif change.need == Need.OR_NEW:
                result.new.append((way.add + change.layer.module.removeprefix(way.strip), change))
            elif change.need == Need.THERE:
                result.missing.append(change)
        return result

    def _found(self, way: Way, change: Change, flat: bool) -> Portions:
        """The tensor of a change by one way; empty where there is none, or more than one."""
        found = {portions for strip, add, portions in self._candidates(way.places, change, flat) if strip == way.strip and add == way.add}
        return found.pop() if len(found) == 1 else ()

    def _rival(self, ways: Sequence[Way], changes: Sequence[Change], flat: bool) -> tuple[str, ...]:
        """A layer, and the tensors that two ways give it; nothing where all ways that fit as many give the same ones."""
        for change in changes:
            found = {portions: None for way in ways if (portions := self._found(way, change, flat))}
            if len(found) > 1:
                return (change.key, *(portions[0].name for portions in found))
        return ()


def _beginnings(module: str, flat: bool) -> Iterator[str]:
    """What may be taken from the beginning of a path: whole parts, up to the first number. Of a flat one nothing."""
    yield ""
    end = -1
    while not flat and (end := module.find(".", end + 1)) > 0:
        if any(part.isdigit() for part in module[:end].split(".")):
            return
        yield module[: end + 1]
