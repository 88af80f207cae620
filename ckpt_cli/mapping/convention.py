"""Conventions of frameworks, read from `conventions/NAME.toml`, and the layers that a checkpoint has by one of them.

title      the framework, for people                pattern    a variable's name; LEAF stands for what a layer calls it
separator  what divides its names                   training   names that are the training's, not the model's
format     the file it is written to by itself      child      what a new layer of a container is called: by its number n, or its home
layout     as of Format: oi or io                   constants  whether constants are among the parameters
preset     its own initialisation                   written    which of a variable's names is written: 0 the first, -1 the last
kinds      another convention with the same kinds    once       a layer that is used twice is there once
strict     where a layer's own name tells its kind, it is of no other

A kind of layer is its variables, each with the names it goes by and the letters of its axes; a letter is one size throughout the layer.
`a+b` is a variable that is the sum of two. `equal`: letters of one size. `fill`: made of that value where the other side has none, and
left out where that has no place for it.
What a layer is, is told by the names and shapes of its variables; where several kinds have those, by its own name (`class`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from typing import Any, NamedTuple

from ..errors import UnknownName, did_you_mean
from .axes import Axes, Sizes, bound, fitted, parse

Shapes = Mapping[str, tuple[int, ...]]


class Variable(NamedTuple):
    names: tuple[str, ...]
    axes: Axes
    optional: bool = False
    fill: float | None = None
    dtype: str = ""


class Kind(NamedTuple):
    """A type of layer in one convention. `called` tells it by the layer's own name, `home` is what new ones are called."""

    name: str
    variables: Mapping[str, Variable]
    sizes: Sizes
    called: str
    home: str
    equal: str

    def atoms(self, keys: Iterator[str] | Mapping[str, object]) -> set[str]:
        """The variables that are no sums, but for those that can be made or left out."""
        return {atom for key in keys if self.variables[key].fill is None for atom in key.split("+")}


class Fit(NamedTuple):
    """A kind that a layer may be, which tensor each of its variables is, and the sizes of its letters."""

    kind: Kind
    tensors: Mapping[str, str]
    sizes: Sizes


class Layer(NamedTuple):
    """Tensors of one layer, and the kinds that it may be, the likeliest first."""

    names: tuple[str, ...]
    fits: tuple[Fit, ...]


class Convention:
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
        leaves = {leaf for kind in self.kinds.values() for variable in kind.variables.values() for leaf in variable.names}
        known = "|".join(map(re.escape, sorted(leaves, key=len, reverse=True)))
        return re.compile(self._pattern.replace("LEAF", f"(?P<leaf>{known})"), re.DOTALL)

    def is_training(self, name: str) -> bool:
        return self._training.fullmatch(name) is not None

    def new(self, kind: Kind, key: str, home: str) -> str:
        """The name of a variable of a new layer, which is called `home`."""
        return f"{home}{self.separator}{kind.variables[key].names[self.written]}"

    def layers(self, shapes: Shapes) -> list[Layer]:
        """The layers that have these tensors, in their order: natural order where names are sorted, as some formats do."""
        groups: dict[tuple[str, str], dict[str, str]] = {}
        for name in shapes:
            found = None if self.is_training(name) else self._name.fullmatch(name)
            if found:
                groups.setdefault((name[: found.start("leaf")], name[found.end("leaf") :]), {})[found["leaf"]] = name
        places = list(groups)
        if places == sorted(places):
            places.sort(key=lambda place: [natural(part) for part in place])
        return [Layer(tuple(groups[place].values()), fits) for place in places if (fits := self._fits(place[0], groups[place], shapes))]

    def _fits(self, before: str, leaves: Mapping[str, str], shapes: Shapes) -> tuple[Fit, ...]:
        own = re.split(r"[/.:]", before.rstrip("/.:_"))[-1]
        plain = re.sub(r"[_-]?\d+$", "", own)
        rank = {True: 0, None: 1, False: 2}
        found = [(rank[_told(kind, (own, plain))], fit) for kind in self.kinds.values() if (fit := _fit(kind, leaves, shapes)) is not None]
        told = any(_told(kind, (own, plain)) for kind in self.kinds.values()) and self.strict
        return tuple(fit for order, fit in sorted(found, key=lambda each: each[0]) if order == 0 or not told)


def _told(kind: Kind, names: tuple[str, ...]) -> bool | None:
    """Whether one of its names tells that a layer is of this kind; None where no name would."""
    return any(re.fullmatch(kind.called, name, re.IGNORECASE) for name in names) if kind.called else None


def _fit(kind: Kind, leaves: Mapping[str, str], shapes: Shapes) -> Fit | None:
    """The kind with these tensors as its variables; None where names or shapes speak against it."""
    tensors = {key: leaves[leaf] for key, variable in kind.variables.items() for leaf in variable.names if leaf in leaves}
    needed = {key for key, variable in kind.variables.items() if not variable.optional and variable.fill is None}
    if len(tensors) < len(leaves) or len(set(tensors.values())) < len(leaves) or needed - tensors.keys():
        return None
    sizes: Sizes | None = dict(kind.sizes)
    for key in [*tensors, *tensors]:  # what one variable leaves open, a later one may tell
        shape = shapes[tensors[key]]
        axes = fitted(kind.variables[key].axes, shape)
        sizes = None if axes is None or sizes is None else bound(axes, shape, sizes)
    if sizes is None or len({sizes.get(letter) for letter in kind.equal}) > 1:
        return None
    return Fit(kind, tensors, sizes)


def natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts dense_10 after dense_2, and dense before dense_1."""
    return [(int(run) if run.isdecimal() and len(run) < 19 else -1, run) for run in re.findall(r"\d+|\D+", text.rstrip("/."))]


def _kind(name: str, facts: Mapping[str, Any]) -> Kind:
    variables = {
        key: Variable(tuple(each["name"]), parse(each["axes"]), each.get("optional", False), each.get("fill"), each.get("dtype", ""))
        for key, each in facts.items()
        if isinstance(each, dict) and key != "sizes"
    }
    return Kind(
        name, variables, dict(facts.get("sizes", {})), str(facts.get("class", "")), str(facts.get("home", "")), str(facts.get("equal", ""))
    )


_known: dict[str, Convention] = {}


def names() -> list[str]:
    """The frameworks whose conventions are known."""
    found = (entry.name for entry in (files(__package__) / "conventions").iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


def convention(name: str) -> Convention:
    """The convention of that framework. Raises UnknownName."""
    if name not in _known:
        if name not in names():
            raise UnknownName(f"no framework is called {name!r}", did_you_mean(name, names()) or f"one of {', '.join(names())}")
        table = _table(name)
        _known[name] = Convention(name, table, _table(table["kinds"])["kind"] if "kinds" in table else table["kind"])
    return _known[name]


def _table(name: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((files(__package__) / "conventions" / f"{name}.toml").read_text(encoding="utf-8"))
