"""Kinds of layers in one convention, as its file lists them: the variables of a layer, and how their axes lie.

A variable is one cell, or several: `a|b` is two variables one after another along the axis `b`, and `parts = "ifgo"` are gates along the
axis `g`, in that order. A cell is the sum of its terms: `a+b` is a variable that is the sum of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

from ..tensors.checkpoint import Checkpoint
from .axes import Axes, Sizes, axes_of, parse, solved

Shapes = Mapping[str, tuple[int, ...]]
Cell = tuple[str, ...]  # the terms of a sum: ("input.i",), ("input_bias.i", "recurrent_bias.i")
_JOINED = "bg"  # the letters of axes along which cells lie


class Told(NamedTuple):
    """What a config or a graph says of tensors, by their names: the types and paths of their layers, and what these call them."""

    types: Mapping[str, str] = MappingProxyType({})
    paths: Mapping[str, str] = MappingProxyType({})
    leaves: Mapping[str, str] = MappingProxyType({})


def told_by(checkpoint: Checkpoint) -> Told:
    """Return what is known of the layers of a checkpoint besides its names."""
    places = checkpoint.layer_of
    types = {name: checkpoint.layers[path] for name, (path, _) in places.items() if path in checkpoint.layers}
    return Told(types, {name: path for name, (path, _) in places.items()}, {name: leaf for name, (_, leaf) in places.items()})


class Variable(NamedTuple):
    """A variable of a kind of layer.

    Attributes:
        names: what layers call it.
        axes: how its axes lie.
        cells: what it is made of, in order.
        counts: how many cells lie along `b` and `g`, for those of the two that its axes have.
        optional: whether a layer may lack it.
        fill: the value of its elements where the source has none; None where it must have one.
        dtype: its dtype where it is made of `fill`; empty for that of its layer.
        under: what its name begins with, where that is not the convention's own.
    """

    names: tuple[str, ...]
    axes: Axes
    cells: tuple[Cell, ...]
    counts: Sizes
    optional: bool = False
    fill: float | None = None
    dtype: str = ""
    under: str | None = None

    @property
    def terms(self) -> set[str]:
        """The terms of all its cells."""
        return {term for cell in self.cells for term in cell}

    def places(self) -> list[dict[str, int]]:
        """Return the index of each cell along `b` and `g`."""
        return [dict(zip(self.counts, at, strict=True)) for at in product(*map(range, self.counts.values()))]


class LayerKind(NamedTuple):
    """A kind of layer in one convention.

    Attributes:
        name: the same in all conventions: `dense`, `conv`, `lstm`.
        variables: key → variable.
        own_name: a pattern of the names that such layers have; empty where a name tells nothing.
        types: a pattern of the types that a file gives such layers; empty where it gives none.
        home: what new layers of the kind are called.
        equal: letters of one size.
        composite: whether it is made of what could be layers of its own, as attention is of projections.
        prefix: what a variable of a new layer has before its name: `l0_`.
        suffix: what it has behind it: `_l0`.
        complete: the beginning of names, such as `vars.`, which say what a variable is only where the layer has all of them.
    """

    name: str
    variables: Mapping[str, Variable]
    own_name: str
    types: str
    home: str
    equal: str
    composite: bool
    prefix: str
    suffix: str
    complete: str

    def required_terms(self, keys: Iterable[str]) -> set[str]:
        """Return the terms of these variables, without those that can be filled or left out."""
        return {term for key in keys if self.variables[key].fill is None for term in self.variables[key].terms}


class Candidate(NamedTuple):
    """A kind that a layer may be, the tensor that each of its variables is (key → name), and the sizes of its letters."""

    kind: LayerKind
    tensors: Mapping[str, str]
    sizes: Sizes

    @property
    def terms(self) -> set[str]:
        """The terms of its variables."""
        return {term for key in self.tensors for term in self.kind.variables[key].terms}


class LayerTensors(NamedTuple):
    """The tensors of one layer.

    Attributes:
        names: their names.
        candidates: the kinds that it may be, the likeliest first.
        path: what their names have in common.
        named: whether that is known to be the layer's own name.
        sure: whether names decided that it is of the first kind.
    """

    names: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    path: str
    named: bool = False
    sure: bool = True


def candidate(kind: LayerKind, leaves: Mapping[str, str], shapes: Shapes) -> Candidate | None:
    """Return the kind with these tensors (leaf → name) as its variables; None where names or shapes contradict it."""
    tensors = {key: leaves[leaf] for key, variable in kind.variables.items() for leaf in variable.names if leaf in leaves}
    needed = {key for key, variable in kind.variables.items() if not variable.optional and variable.fill is None}
    if len(tensors) < len(leaves) or len(set(tensors.values())) < len(leaves) or needed - tensors.keys():
        return None
    if kind.complete and len(tensors) < len(kind.variables) and any(leaf.startswith(kind.complete) for leaf in leaves):
        return None
    sizes: Sizes | None = {}
    for key in [*tensors, *tensors]:  # a later variable may tell a size that an earlier one leaves open
        sizes = _sizes(kind.variables[key], shapes[tensors[key]], sizes) if sizes is not None else None
    if sizes is None or len({sizes.get(letter) for letter in kind.equal}) > 1:
        return None
    return Candidate(kind, tensors, sizes)


def _sizes(variable: Variable, shape: tuple[int, ...], sizes: Sizes) -> Sizes | None:
    """`sizes` and those that follow from the shape of a variable; None where it contradicts them."""
    axes = axes_of(variable.axes, shape)
    found = solved(axes, shape, sizes | variable.counts) if axes is not None else None
    return None if found is None else {letter: size for letter, size in found.items() if letter not in _JOINED}


def kind_of(name: str, facts: Mapping[str, Any]) -> LayerKind:
    """Return the kind that a table of a convention's file says."""
    variables = {key: _variable(key, each) for key, each in facts.items() if isinstance(each, dict)}
    texts = {key: str(facts.get(key, "")) for key in ("home", "equal", "types", "prefix", "suffix", "complete")}
    return LayerKind(name, variables, own_name=str(facts.get("class", "")), composite=bool(facts.get("composite")), **texts)


def _variable(key: str, facts: Mapping[str, Any]) -> Variable:
    keys, parts = key.split("|"), str(facts.get("parts", ""))
    cells = tuple(tuple(f"{term}.{part}" if part else term for term in each.split("+")) for each in keys for part in parts or ("",))
    axes = parse(facts["axes"])
    counts = {letter: count for letter, count in (("b", len(keys)), ("g", len(parts))) if letter in "".join(axes)}
    if prod(counts.values()) != len(cells):
        raise ValueError(f"{key}: its axes {facts['axes']} have no place for {len(cells)} cells")
    names = tuple(str(each).replace("/", ".") for each in facts["name"])
    return Variable(names, axes, cells, counts, bool(facts.get("optional")), facts.get("fill"), facts.get("dtype", ""), facts.get("under"))
