"""Conventions of frameworks, read from `conventions/NAME.toml`, and the layers that a checkpoint has by one of them.

title      the framework, for people                 pattern    a variable's name; LEAF stands for what a layer calls it
separator  what divides its names                    training   names that belong to the training, not to the model
format     the file format it writes by itself       child      the name of a new layer of a container: by its number n, or its home
layout     oi or io, as of Format                    constants  whether constants are among the parameters
preset     the preset of its own initialisation      written    which of a variable's names is written: 0 the first, -1 the last
kinds      another convention with the same kinds    once       a layer that is used twice is stored once
strict     a layer whose own name matches a kind's class is of no other kind

A kind of layer is its variables, each with the names it goes by and the letters of its axes; a letter has one size throughout the layer.
`a+b` is a variable that is the sum of two. `equal` lists letters of one size. A variable with `fill` is made of that value where the source
has none, and left out where the target has none.
The names and shapes of its variables tell what kind a layer is; where several kinds have those, the layer's own name does (`class`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.resources import files
from typing import Any, NamedTuple

from ..errors import UnknownName, did_you_mean
from .axes import Axes, Sizes, axes_of, parse, solved

Shapes = Mapping[str, tuple[int, ...]]


class Variable(NamedTuple):
    """A variable of a kind of layer.

    Attributes:
        names: what layers call it.
        axes: how its axes lie.
        optional: whether a layer may lack it.
        fill: the value of its elements where the source has none; None where it must have one.
        dtype: its dtype where it is made of `fill`; empty for that of its layer.
    """

    names: tuple[str, ...]
    axes: Axes
    optional: bool = False
    fill: float | None = None
    dtype: str = ""


class LayerKind(NamedTuple):
    """A kind of layer in one convention.

    Attributes:
        name: the same in all conventions: `dense`, `conv`, `lstm`.
        variables: key → variable; a key `a+b` is the sum of two.
        sizes: the sizes of letters that all such layers share.
        own_name: a pattern of the names that such layers have; empty where a name tells nothing.
        home: what new layers of the kind are called.
        equal: letters of one size.
    """

    name: str
    variables: Mapping[str, Variable]
    sizes: Sizes
    own_name: str
    home: str
    equal: str

    def required_parts(self, keys: Iterable[str]) -> set[str]:
        """Return the parts of these variables, sums taken apart; without those that can be filled or left out."""
        return {part for key in keys if self.variables[key].fill is None for part in key.split("+")}


class Candidate(NamedTuple):
    """A kind that a layer may be, the tensor that each of its variables is (key → name), and the sizes of its letters."""

    kind: LayerKind
    tensors: Mapping[str, str]
    sizes: Sizes


class LayerTensors(NamedTuple):
    """The names of the tensors of one layer, and the kinds that it may be, the likeliest first."""

    names: tuple[str, ...]
    candidates: tuple[Candidate, ...]


class Convention:
    """What a framework calls the variables of its layers and how it lays them out; the attributes are the keys listed above."""

    def __init__(self, name: str, table: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
        self.name = name
        self.title, self.separator, self.format = (str(table[key]) for key in ("title", "separator", "format"))
        self.preset, self.layout, self.child = (str(table[key]) for key in ("preset", "layout", "child"))
        self.written = int(table.get("written", 0))
        self.strict, self.once, self.constants = (bool(table.get(key, False)) for key in ("strict", "once", "constants"))
        self.kinds = {kind: _kind(kind, facts) for kind, facts in kinds.items()}
        self._pattern, self._training = str(table["pattern"]), re.compile(str(table["training"]), re.IGNORECASE)

    @cached_property
    def _name(self) -> re.Pattern[str]:
        """The pattern of a variable's name; its group `leaf` is what the layer calls it."""
        leaves = {leaf for kind in self.kinds.values() for variable in kind.variables.values() for leaf in variable.names}
        known = "|".join(map(re.escape, sorted(leaves, key=len, reverse=True)))
        return re.compile(self._pattern.replace("LEAF", f"(?P<leaf>{known})"), re.DOTALL)

    def is_training(self, name: str) -> bool:
        """Return whether the name belongs to the training, not to the model."""
        return self._training.fullmatch(name) is not None

    def new_name(self, kind: LayerKind, key: str, layer: str) -> str:
        """Return the name of a variable of a new layer, which is called `layer`."""
        return f"{layer}{self.separator}{kind.variables[key].names[self.written]}"

    def layers(self, shapes: Shapes) -> list[LayerTensors]:
        """Return the layers that have these tensors, in their order; in natural order where the names are sorted, as some formats do."""
        groups: dict[tuple[str, str], dict[str, str]] = {}
        for name in shapes:
            match = None if self.is_training(name) else self._name.fullmatch(name)
            if match:
                groups.setdefault((name[: match.start("leaf")], name[match.end("leaf") :]), {})[match["leaf"]] = name
        places = list(groups)
        if places == sorted(places):
            places.sort(key=lambda place: [natural(part) for part in place])
        found = ((groups[place], self._candidates(place[0], groups[place], shapes)) for place in places)
        return [LayerTensors(tuple(leaves.values()), candidates) for leaves, candidates in found if candidates]

    def _candidates(self, before: str, leaves: Mapping[str, str], shapes: Shapes) -> tuple[Candidate, ...]:
        """The kinds that a layer may be: `before` is what comes before the leaves of its tensors (leaf → name)."""
        layer = re.split(r"[/.:]", before.rstrip("/.:_"))[-1]
        names = (layer, re.sub(r"[_-]?\d+$", "", layer))
        rank = {True: 0, None: 1, False: 2}
        ranked = [
            (rank[_name_matches(kind, names)], candidate)
            for kind in self.kinds.values()
            if (candidate := _candidate(kind, leaves, shapes)) is not None
        ]
        decided = self.strict and any(_name_matches(kind, names) for kind in self.kinds.values())
        return tuple(candidate for order, candidate in sorted(ranked, key=lambda each: each[0]) if order == 0 or not decided)


def _name_matches(kind: LayerKind, names: tuple[str, ...]) -> bool | None:
    """Whether one of a layer's names says that it is of this kind; None where no name would."""
    return any(re.fullmatch(kind.own_name, name, re.IGNORECASE) for name in names) if kind.own_name else None


def _candidate(kind: LayerKind, leaves: Mapping[str, str], shapes: Shapes) -> Candidate | None:
    """The kind with these tensors as its variables; None where names or shapes contradict it."""
    tensors = {key: leaves[leaf] for key, variable in kind.variables.items() for leaf in variable.names if leaf in leaves}
    needed = {key for key, variable in kind.variables.items() if not variable.optional and variable.fill is None}
    if len(tensors) < len(leaves) or len(set(tensors.values())) < len(leaves) or needed - tensors.keys():
        return None
    sizes: Sizes | None = dict(kind.sizes)
    for key in [*tensors, *tensors]:  # a later variable may tell a size that an earlier one leaves open
        shape = shapes[tensors[key]]
        axes = axes_of(kind.variables[key].axes, shape)
        sizes = None if axes is None or sizes is None else solved(axes, shape, sizes)
    if sizes is None or len({sizes.get(letter) for letter in kind.equal}) > 1:
        return None
    return Candidate(kind, tensors, sizes)


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts dense_10 after dense_2, and dense before dense_1."""
    return [(int(run) if run.isdecimal() and len(run) < 19 else -1, run) for run in re.findall(r"\d+|\D+", text.rstrip("/."))]


def _kind(name: str, facts: Mapping[str, Any]) -> LayerKind:
    """A kind as its table in the file says it."""
    variables = {
        key: Variable(tuple(each["name"]), parse(each["axes"]), each.get("optional", False), each.get("fill"), each.get("dtype", ""))
        for key, each in facts.items()
        if isinstance(each, dict) and key != "sizes"
    }
    own_name, home, equal = (str(facts.get(key, "")) for key in ("class", "home", "equal"))
    return LayerKind(name, variables, dict(facts.get("sizes", {})), own_name, home, equal)


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
        _conventions[name] = Convention(name, table, _table(table["kinds"])["kind"] if "kinds" in table else table["kind"])
    return _conventions[name]


def _table(name: str) -> dict[str, Any]:
    """What stands in the file of that framework."""
    import tomllib

    return tomllib.loads((files(__package__) / "conventions" / f"{name}.toml").read_text(encoding="utf-8"))
