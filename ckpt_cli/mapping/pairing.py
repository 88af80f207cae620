"""A ready map: the layers of a checkpoint as another framework has them.

Layers are paired by what they are: the k-th of a type and of these sizes here is the k-th of them there. What is tied is one layer, unless
the other side has it as often. Where there is no other side, the names are new ones, numbered in the order of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..errors import EditError
from ..numbers.dtypes import named
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .axes import Axes, Sizes, agreed, moved, shape_of, shown, spatial
from .layers import Convention, Fit, Kind, Layer, Shapes
from .sums import added, filled


class Like(NamedTuple):
    """The names that are wanted: shapes, and groups of names that are tied."""

    shapes: Shapes
    ties: Collection[Collection[str]] = ()


class Pair(NamedTuple):
    """A layer here as a layer there: `here` and `there` are its variables; the sizes are those of both."""

    here: Fit
    there: Fit
    sizes: Sizes


class Paired(NamedTuple):
    """The tensors under their new names; names that no layer has; names left out, since they have no place there or are the training's;
    and what is to be said of variables that are one here and two there."""

    tensors: dict[str, Tensor]
    rest: list[str]
    left: list[str]
    said: list[str]


def paired(checkpoint: Checkpoint, ours: Convention, theirs: Convention, like: Like | None) -> Paired:
    """`checkpoint`, which has the names and layouts of `ours`, with those of `theirs`."""
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    layers = ours.layers(shapes)
    pairs = _matched(layers, theirs, like) if like else _numbered(_untied(checkpoint, layers) if theirs.once else layers, theirs)
    tensors: dict[str, Tensor] = {}
    left: list[str] = []
    for pair in pairs:
        made = {pair.there.tensors[key]: tensor for key, tensor in _made(checkpoint, pair)}
        tensors |= made
        left += [name for key, name in pair.here.tensors.items() if not _wanted(key, pair)]
    for name, first in _tied_names(like, tensors).items():
        tensors[name] = tensors[first]
    done = {name for pair in pairs for name in pair.here.tensors.values()}
    done |= _tied_layers(checkpoint, layers, done)
    training = [name for name in shapes if ours.is_training(name)]
    rest = [name for name in shapes if name not in done and not ours.is_training(name)]
    same = [name for name in rest if like and like.shapes.get(name) == shapes[name] and name not in tensors]
    tensors |= {name: checkpoint[name] for name in same}
    order = {name: at for at, name in enumerate(like.shapes)} if like else {}
    ordered = {name: tensors[name] for name in sorted(tensors, key=lambda name: order.get(name, len(order)))}
    return Paired(ordered, [name for name in rest if name not in same], left + training, [line for pair in pairs for line in _said(pair)])


def _matched(layers: list[Layer], theirs: Convention, like: Like) -> list[Pair]:
    """Each layer with the first one there that is of its kind and sizes and has no partner yet."""
    wanted = theirs.layers(like.shapes)
    pairs: dict[int, Pair] = {}
    taken: set[int] = set()
    for surest in (True, False):
        for number, layer in enumerate(layers):
            found = ((place, _pair(layer, other, surest)) for place, other in enumerate(wanted) if place not in taken)
            place, pair = next(((place, pair) for place, pair in found if pair), (-1, None)) if number not in pairs else (-1, None)
            if pair:
                pairs[number] = pair
                taken.add(place)
    return [pairs[number] for number in sorted(pairs)]


def _tied_layers(checkpoint: Checkpoint, layers: list[Layer], done: Collection[str]) -> set[str]:
    """The names of layers that are tied to what is done, and need no place of their own there."""
    keys = {checkpoint[name].key for name in done}
    return {name for layer in layers for name in layer.names if all(checkpoint[one].key in keys for one in layer.names)}


def _pair(layer: Layer, other: Layer, surest: bool) -> Pair | None:
    """Both as one kind of layer, where sizes and variables agree. `surest`: as the kind that each is first of all."""
    for here in layer.fits[:1] if surest else layer.fits:
        for there in other.fits[:1] if surest else other.fits:
            sizes = agreed(here.sizes, there.sizes) if here.kind.name == there.kind.name else None
            if sizes is not None and here.kind.atoms(here.tensors) == there.kind.atoms(there.tensors):
                return Pair(here, there, sizes)
    return None


def _untied(checkpoint: Checkpoint, layers: list[Layer]) -> list[Layer]:
    """The layers that are not tied to an earlier one."""
    found: dict[frozenset[object], Layer] = {}
    for layer in layers:
        found.setdefault(frozenset(checkpoint[name].key for name in layer.names), layer)
    return list(found.values())


def _numbered(layers: Sequence[Layer], theirs: Convention) -> list[Pair]:
    """New names, for each layer as the kind that it is first of all."""
    pairs = []
    homes: dict[str, int] = {}
    for number, layer in enumerate(layers):
        here = next((fit for fit in layer.fits if fit.kind.name in theirs.kinds), None)
        if here is None:
            continue
        kind = theirs.kinds[here.kind.name]
        home = kind.home.format(d=sum(letter in here.sizes for letter in "DHW"))
        count = homes[home] = homes.get(home, -1) + 1
        place = {"n": number, "home": f"{home}_{count}" if count else home}
        keys = [key for key, variable in kind.variables.items() if _given(key, here) or variable.fill is not None]
        tensors = {key: theirs.new(kind, key, theirs.child.format(**place)) for key in keys}
        pairs.append(Pair(here, Fit(kind, tensors, {}), here.sizes))
    return pairs


def _given(key: str, here: Fit) -> bool:
    """Whether the layer has that variable, be it as part of a sum or in parts."""
    held = {atom for own in here.tensors for atom in own.split("+")}
    return set(key.split("+")) <= held


def _wanted(key: str, pair: Pair) -> bool:
    """Whether the layer there has a variable for this one here."""
    return bool(set(key.split("+")) & {atom for own in pair.there.tensors for atom in own.split("+")})


def _made(checkpoint: Checkpoint, pair: Pair) -> Iterator[tuple[str, Tensor]]:
    """The variables there, each of what is here."""
    for key in pair.there.tensors:
        variable = pair.there.kind.variables[key]
        after = _axes(pair.there.kind, key, pair.sizes)
        if key in pair.here.tensors:
            yield key, _moved(checkpoint, pair, key, after)
        elif "+" in key and _given(key, pair.here):
            parts = key.split("+")
            yield key, added([(pair.here.tensors[part], _moved(checkpoint, pair, part, after)) for part in parts])
        elif whole := next((own for own in pair.here.tensors if key in own.split("+")), None):
            tensor = _moved(checkpoint, pair, whole, after)
            first = whole.split("+")[0] == key
            yield key, tensor if first else filled(tensor.dtype, tensor.shape, 0)
        elif variable.fill is not None:
            dtype = named(variable.dtype) if variable.dtype else checkpoint[next(iter(pair.here.tensors.values()))].dtype
            yield key, filled(dtype, shape_of(after, pair.sizes), variable.fill)


def _said(pair: Pair) -> Iterator[str]:
    """A line for each variable that is two on the other side."""
    here, there = pair.here.tensors, pair.there.tensors
    for key in here.keys() - there.keys():
        first, *others = [there[part] for part in key.split("+") if part in there] if "+" in key else [""]
        if others:
            yield f"{here[key]} becomes {first}, and {', '.join(others)} is 0: there, their sum is what counts"
    for key in there.keys() - here.keys():
        if "+" in key and _given(key, pair.here):
            yield f"{there[key]} is the sum of {' and '.join(here[part] for part in key.split('+'))}"


def _moved(checkpoint: Checkpoint, pair: Pair, key: str, after: Axes) -> Tensor:
    name = pair.here.tensors[key]
    before = _axes(pair.here.kind, key, pair.sizes)
    unknown = [letter for letter in "".join(before) if letter not in pair.sizes]
    if unknown:
        shape = show_shape(checkpoint[name].shape)
        raise EditError(
            f"{name} of {shape}: nothing tells the size of {unknown[0]} in {shown(before)}", "name a checkpoint that it is to be like"
        )
    return moved(checkpoint[name], name, before, after, pair.sizes)


def _axes(kind: Kind, key: str, sizes: Sizes) -> Axes:
    return spatial(kind.variables[key].axes, sum(letter in sizes for letter in "DHW"))


def _tied_names(like: Like | None, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names that are tied there, to one that has its tensor, and have none themselves: name → that one."""
    found: dict[str, str] = {}
    for group in like.ties if like else ():
        first = next((name for name in group if name in tensors), None)
        if first is not None:
            found |= {name: first for name in group if name not in tensors}
    return found
