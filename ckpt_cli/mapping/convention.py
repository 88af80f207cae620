"""Conventions of frameworks, read from `conventions/NAME.toml`, and the layers that a checkpoint has by one of them.

title      the framework, for people                 pattern    a variable's name; LEAF stands for what a layer calls it
separator  what divides its names                    training   names that belong to the training, not to the model
format     the file format it writes by itself       child      the name of a new layer of a container: by its number n, or its home
layout     oi or io, as of Format                    constants  whether constants are among the parameters
preset     the preset of its own initialisation      written    which of a variable's names is written: 0 the first, -1 the last
kinds      another convention with the same kinds    once       a layer that is used twice is stored once
under      what all new names begin with             groups     what may come before a name, and divides the tensors of one layer
strict     a layer whose own name matches a kind's class is of no other kind
own        names that begin with this give layers their own name, which new names keep
graph      names of tensors whose values only a graph beside the file tells
embedding  names of embeddings that have no layer: the variable's name is the layer's
split      a layer that is two elsewhere: which of its variables are which of the two layers'
directions how the two directions of a recurrent layer are told, and called where they are new (directions.py)

A kind of layer is its variables, each with the names it goes by and the letters of its axes; a letter has one size throughout the layer.
What a variable is made of is said in kinds.py. `equal` lists letters of one size. A variable with `fill` is made of that value where the
source has none, and left out where the target has none.
The names and shapes of its variables tell what kind a layer is, and its type where the file says it; where several kinds have those, the
layer's own name does (`class`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import UnknownName, did_you_mean
from .directions import Directions
from .kinds import Candidate, LayerKind, LayerTensors, Shapes, Told, candidate, kind_of


class _Place(NamedTuple):
    """Where the tensors of a layer are: what comes before and behind what it calls them."""

    before: str
    behind: str = ""

    @property
    def path(self) -> str:
        """The name of the layer."""
        return self.before.rstrip("/.:_") + self.behind


class _Split(NamedTuple):
    """A layer that is several elsewhere: how it is called, a variable that only it has, and which variables each of the layers has."""

    own_name: re.Pattern[str]
    leaf: str
    layers: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> _Split:
        """Return what a table of a convention's file says."""
        return cls(re.compile(str(table["class"]), re.IGNORECASE), str(table["leaf"]), table["layers"])

    def divides(self, own_name: str, leaves: Mapping[str, str]) -> bool:
        """Whether a layer is one that is divided."""
        parts = [layer for layer in self.layers.values() if any(leaf in leaves for leaf in layer)]
        return len(parts) > 1 and (self.leaf in leaves or self.own_name.fullmatch(_unnumbered(own_name)) is not None)


_Groups = dict[_Place, dict[str, str]]


class Convention:
    """What a framework calls the variables of its layers and how it lays them out; the attributes are the keys listed above."""

    def __init__(self, name: str, table: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
        self.name = name
        self.title, self.separator, self.format = (str(table[key]) for key in ("title", "separator", "format"))
        self.preset, self.layout, self.child = (str(table[key]) for key in ("preset", "layout", "child"))
        self.written, self.under = int(table.get("written", 0)), str(table.get("under", ""))
        self.strict, self.once, self.constants = (bool(table.get(key, False)) for key in ("strict", "once", "constants"))
        self.kinds = {kind: kind_of(kind, facts) for kind, facts in kinds["kind"].items()}
        self.directions = Directions.of(table["directions"])
        self._split = [_Split.of(each) for each in kinds.get("split", {}).values()]
        self._pattern, self._training = str(table["pattern"]), re.compile(str(table["training"]), re.IGNORECASE)
        self._group, self._own = re.compile(str(table.get("groups", "$^"))), re.compile(str(table.get("own", "$^")))
        self.graph = re.compile(str(table.get("graph", "$^")))
        self._embedding = re.compile(str(table.get("embedding", "$^")))
        self._leaves = {leaf for kind in self.kinds.values() for variable in kind.variables.values() for leaf in variable.names if leaf}
        self._leaves |= {leaf for split in self._split for names in split.layers.values() for leaf in names}
        self._names = [self._name_pattern(composite) for composite in (False, True)]

    def _name_pattern(self, composite: bool) -> re.Pattern[str]:
        """The pattern of the name of a variable of composite kinds, or of the others; its group `leaf` is what the layer calls it."""
        variables = (variable for kind in self.kinds.values() if kind.composite == composite for variable in kind.variables.values())
        leaves = {leaf for variable in variables for leaf in variable.names}
        leaves |= {leaf for split in self._split if not composite for names in split.layers.values() for leaf in names}
        known = (re.escape(leaf).replace("\\.", "[./]") for leaf in sorted(leaves, key=len, reverse=True) if leaf)
        return re.compile(self._pattern.replace("LEAF", f"(?P<leaf>{'|'.join(known) or '$^'})"), re.DOTALL)

    def is_training(self, name: str) -> bool:
        """Return whether the name belongs to the training, not to the model."""
        return self._training.fullmatch(name) is not None

    def new_name(self, kind: LayerKind, key: str, layer: str) -> str:
        """Return the name of a variable of a new layer, which is called `layer`."""
        variable = kind.variables[key]
        leaf = variable.names[self.written].replace(".", self.separator)
        under = self.under if variable.under is None else variable.under
        prefix = "" if leaf.startswith(kind.prefix) else kind.prefix
        return f"{under}{layer}{self.separator}{prefix}{leaf}{kind.suffix}"

    def layers(self, shapes: Shapes, composite: bool = True, told: Told = Told()) -> list[LayerTensors]:  # noqa: B008
        """Return the layers that have these tensors, in their order; in natural order where the names are sorted, as some formats do.

        Args:
            shapes: name → shape.
            composite: whether layers of composite kinds are looked for; otherwise what they are made of are layers.
            told: what a config or a graph says of their layers.
        """
        known = [name for name in shapes if not self.is_training(name)]
        found = list(self._composites(known, shapes)) if composite else []
        taken = {name for _, layer in found for name in layer.names}
        found += self._simple([name for name in known if name not in taken], shapes, told)
        order = {name: at for at, name in enumerate(known)}
        found.sort(key=lambda each: order[each[1].names[0]])
        places = [place for place, _ in found]
        if places == sorted(places):
            found.sort(key=lambda each: [natural(part) for part in each[0]])
        return [layer for _, layer in found]

    def _composites(self, names: Iterable[str], shapes: Shapes) -> Iterator[tuple[_Place, LayerTensors]]:
        """The layers of composite kinds, each with its place."""
        kinds = [kind for kind in self.kinds.values() if kind.composite]
        for place, leaves in self._groups(names, self._names[True]).items():
            found = tuple(each for kind in kinds if (each := candidate(kind, leaves, shapes)) is not None)
            if found:
                yield place, LayerTensors(tuple(leaves.values()), found, place.path)

    def _simple(self, names: Iterable[str], shapes: Shapes, told: Told) -> Iterator[tuple[_Place, LayerTensors]]:
        """The layers of all other kinds, each with its place."""
        for place, own_name, leaves in self._divided(self._groups(names, self._names[False], told.leaves)):
            candidates, sure = self._candidates(own_name, leaves, shapes, told.types)
            if candidates:
                named = all(self._own.match(name) for name in leaves.values())
                yield place, LayerTensors(tuple(leaves.values()), candidates, place.path, named, sure)

    def _groups(self, names: Iterable[str], pattern: re.Pattern[str], told: Mapping[str, str] = MappingProxyType({})) -> _Groups:
        """The tensors of each layer: what it calls them → their names. `told` says what it calls those that have numbers alone."""
        groups: _Groups = {}
        for name in names:
            match = pattern.fullmatch(name)
            if match and match["leaf"]:
                place = _Place(self._group.sub("", name[: match.start("leaf")], count=1), name[match.end("leaf") :])
                own = told.get(name, "")
                groups.setdefault(place, {})[own if own in self._leaves else match["leaf"].replace("/", ".")] = name
            elif self._embedding.fullmatch(name):
                groups[_Place(self._group.sub("", name, count=1))] = {"": name}
        return groups

    def _divided(self, groups: _Groups) -> Iterator[tuple[_Place, str, dict[str, str]]]:
        """Each group with the name that tells its kind; a layer that is two elsewhere is divided into them."""
        for place, leaves in groups.items():
            own_name = re.split(r"[/.:]", place.before.rstrip("/.:_"))[-1]
            split = next((split for split in self._split if split.divides(own_name, leaves)), None)
            if split is None:
                yield place, own_name, leaves
                continue
            for kind, renamed in split.layers.items():
                own = {leaf: leaves[theirs] for theirs, leaf in renamed.items() if theirs in leaves}
                yield _Place(f"{place.before}{kind}", place.behind), kind, own

    def _candidates(
        self, own_name: str, leaves: Mapping[str, str], shapes: Shapes, types: Mapping[str, str]
    ) -> tuple[tuple[Candidate, ...], bool]:
        """The kinds that a layer of this name may be, the likeliest first, and whether that is the only one that is so likely."""
        kinds = self._kinds_of_type({types[name] for name in leaves.values() if name in types})
        rank = {True: 0, None: 1, False: 2}
        ranked = [
            (rank[_name_matches(kind, own_name)], found)
            for kind in kinds
            if not kind.composite and (found := candidate(kind, leaves, shapes)) is not None
        ]
        decided = self.strict and any(_name_matches(kind, own_name) for kind in self.kinds.values())
        kept = sorted((each for each in ranked if each[0] == 0 or not decided), key=lambda each: each[0])
        return tuple(found for _, found in kept), len(kept) == 1 or bool(kept and kept[0][0] == 0)

    def _kinds_of_type(self, types: set[str]) -> list[LayerKind]:
        """The kinds that layers of these types are; all where no type tells it."""
        kinds = list(self.kinds.values())
        return [kind for kind in kinds if kind.types and any(re.fullmatch(kind.types, each) for each in types)] or kinds


def _unnumbered(name: str) -> str:
    return re.sub(r"[_-]?\d+$", "", name)


def _name_matches(kind: LayerKind, own_name: str) -> bool | None:
    """Whether a layer's name says that it is of this kind; None where no name would."""
    names = (own_name, _unnumbered(own_name))
    return any(re.fullmatch(kind.own_name, name, re.IGNORECASE) for name in names) if kind.own_name else None


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts dense_10 after dense_2, and dense before dense_1."""
    return [(int(run) if run.isdecimal() and len(run) < 19 else -1, run) for run in re.findall(r"\d+|\D+", text.rstrip("/."))]


_conventions: dict[str, Convention] = {}


def framework_names() -> list[str]:
    """Return the names of the frameworks whose conventions are known."""
    entries = (entry.name for entry in (files(__package__) / "conventions").iterdir())
    return sorted(name.removesuffix(".toml") for name in entries if name.endswith(".toml"))


def convention(name: str) -> Convention:
    """Return the convention of that framework.

    Raises:
        UnknownName: there is none.
    """
    if name not in _conventions:
        known = framework_names()
        if name not in known:
            raise UnknownName(f"no framework is called {name!r}", did_you_mean(name, known) or f"one of {', '.join(known)}")
        table = _table(name)
        _conventions[name] = Convention(name, table, _table(table["kinds"]) if "kinds" in table else table)
    return _conventions[name]


def _table(name: str) -> dict[str, Any]:
    """What stands in the file of that framework."""
    import tomllib

    return tomllib.loads((files(__package__) / "conventions" / f"{name}.toml").read_text(encoding="utf-8"))
