"""Recurrent layers that are the two directions of one, as Bidirectional and `bidirectional=True` make them: told by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import EditError
from .kinds import Candidate, LayerKind, LayerTensors

Together = tuple[LayerTensors, ...]  # a layer alone, or the forward and the backward direction of one


class Ends(NamedTuple):
    """What variables of a new layer have before and behind their names, as of LayerKind."""

    prefix: str = ""
    suffix: str = ""


class Directions(NamedTuple):
    """How a framework names the directions of a bidirectional layer.

    Attributes:
        pattern: the path of a direction. Its group `backward` is there where it is that one; all others are the same in both. A group
            `deeper` is there where a direction is more than one cell.
        home: what new bidirectional layers are called; empty where that is what layers of one direction are called, too.
        forward: the ends of new names in this direction.
        backward: the same in the other one.
        untold: the path of a cell that may be a direction, though its name does not say so.
    """

    pattern: re.Pattern[str]
    home: str
    forward: Ends
    backward: Ends
    untold: re.Pattern[str]

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Directions:
        """Return what the table of a convention's file says."""
        told, untold = (re.compile(str(table.get(key, "$^"))) for key in ("told", "untold"))
        return cls(told, str(table.get("home", "")), Ends(**table["forward"]), Ends(**table["backward"]), untold)

    def kinds(self, kind: LayerKind) -> tuple[LayerKind, LayerKind]:
        """Return the kind as new layers of either direction have it."""
        kind = kind._replace(home=self.home or kind.home)
        one, two = (kind._replace(prefix=ends.prefix, suffix=ends.suffix) for ends in (self.forward, self.backward))
        return one, two

    def together(self, layers: Sequence[LayerTensors]) -> list[Together]:
        """Return the layers, those that are two directions of one together, in the order of the first of them.

        Raises:
            EditError: a backward direction has no forward one of its kind and sizes.
        """
        groups: dict[object, _Group] = {}
        for number, layer in enumerate(layers):
            match = self.pattern.fullmatch(layer.path) if _is_recurrent(layer.candidates[0]) else None
            facts = match.groupdict() if match else {"number": str(number), "alone": ""}
            backward, deeper = (facts.pop(key, None) is not None for key in ("backward", "deeper"))
            group = groups.setdefault((deeper, *facts.values()), _Group([], [], deeper))
            (group.backward if backward else group.forward).append(layer)
        return [together for group in groups.values() for together in group.checked()]

    def guesses(self, units: Sequence[Together]) -> list[str]:
        """Return a line for cells of the same sizes, two of which could be the directions of one layer."""
        alike: dict[tuple[object, ...], list[str]] = {}
        for unit in units:
            cell = unit[0].candidates[0]
            if len(unit) == 1 and _is_recurrent(cell) and self.untold.fullmatch(unit[0].path):
                alike.setdefault((cell.kind.name, *sorted(cell.sizes.items())), []).append(unit[0].path)
        paths = [path for group in alike.values() if len(group) > 1 for path in group]
        listed = ", ".join(paths[:5]) + ", …" * (len(paths) > 5)
        return (
            [f"taken for layers of one direction, which their names do not say: {listed} (rules tell it: --map RULES.toml)"]
            if paths
            else []
        )


class _Group(NamedTuple):
    """Layers whose names are one but for their direction."""

    forward: list[LayerTensors]
    backward: list[LayerTensors]
    deeper: bool

    def checked(self) -> list[Together]:
        """Return them as one layer of two directions, or as layers of one direction each."""
        if not self.backward:
            return [(layer,) for layer in self.forward]
        layers = [*self.forward, *self.backward]
        forms = [(each.kind.name, each.sizes, each.tensors.keys()) for each in (layer.candidates[0] for layer in layers)]
        if len(self.forward) == len(self.backward) == 1 and forms[0] == forms[1] and not self.deeper:
            return [(layers[0], layers[1])]
        names = ", ".join(layer.names[0] for layer in layers)
        what = "they are no pair of one kind and of the same sizes" if self.forward else "no forward direction is beside it"
        raise EditError(f"{names}: the backward direction has no new name: {what}", "--like FILE says what it becomes")


def _is_recurrent(candidate: Candidate) -> bool:
    return any(term.startswith("recurrent") for term in candidate.terms)
