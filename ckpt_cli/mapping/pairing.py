"""A ready map: the layers of a checkpoint as another framework has them.

Layers are paired by kind and sizes: the k-th of a kind and of these sizes here is the k-th of them there. Tied layers are one layer, unless
the other side has it as often. Without another side, names are new ones, numbered in the order of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..errors import EditError
from ..numbers.dtypes import named
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .axes import Axes, Sizes, merged, rearranged, shape_of, shown, spatial, spatial_count
from .convention import Candidate, Convention, LayerKind, LayerTensors, Shapes
from .outcome import Outcome
from .sums import filled, sum_of


class Template(NamedTuple):
    """The names that the result is to have, with their shapes, and the groups of names that are tied."""

    shapes: Shapes
    ties: Collection[Collection[str]] = ()


class Pair(NamedTuple):
    """A layer here and the same layer there, with the variables of each; the sizes are those of both."""

    here: Candidate
    there: Candidate
    sizes: Sizes


def paired(checkpoint: Checkpoint, ours: Convention, theirs: Convention, like: Template | None) -> Outcome:
    """Return a checkpoint, which has the names and layouts of `ours`, with those of `theirs`.

    Args:
        checkpoint: what is mapped.
        ours: the convention of its framework.
        theirs: the convention of the result.
        like: the names of the result; new ones where it is None.

    Raises:
        EditError: nothing tells the size of an axis, or two biases cannot be added.
    """
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    layers = ours.layers(shapes)
    pairs = _matched(layers, theirs, like) if like else _numbered(_untied(checkpoint, layers) if theirs.once else layers, theirs)
    tensors: dict[str, Tensor] = {}
    dropped: list[str] = []
    for pair in pairs:
        tensors |= {pair.there.tensors[key]: tensor for key, tensor in _variables_there(checkpoint, pair)}
        dropped += [name for key, name in pair.here.tensors.items() if not _has_place(key, pair)]
    for name, first in _tied_names(like, tensors).items():
        tensors[name] = tensors[first]
    done = {name for pair in pairs for name in pair.here.tensors.values()}
    done |= _tied_layers(checkpoint, layers, done)
    training = [name for name in shapes if ours.is_training(name)]
    rest = [name for name in shapes if name not in done and not ours.is_training(name)]
    same = [name for name in rest if like and like.shapes.get(name) == shapes[name] and name not in tensors]
    tensors |= {name: checkpoint[name] for name in same}
    notes = [line for pair in pairs for line in _notes(pair)]
    return Outcome(_in_order_of(like, tensors), [name for name in rest if name not in same], dropped + training, notes)


def _in_order_of(like: Template | None, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    order = {name: at for at, name in enumerate(like.shapes)} if like else {}
    return {name: tensors[name] for name in sorted(tensors, key=lambda name: order.get(name, len(order)))}


def _matched(layers: list[LayerTensors], theirs: Convention, like: Template) -> list[Pair]:
    """Each layer with the first one there that is of its kind and sizes and has no partner yet."""
    others = theirs.layers(like.shapes)
    pairs: dict[int, Pair] = {}
    taken: set[int] = set()
    for likeliest_only in (True, False):
        for number, layer in enumerate(layers):
            if number in pairs:
                continue
            found = ((place, _pair(layer, other, likeliest_only)) for place, other in enumerate(others) if place not in taken)
            place, pair = next(((place, pair) for place, pair in found if pair), (-1, None))
            if pair:
                pairs[number] = pair
                taken.add(place)
    return [pairs[number] for number in sorted(pairs)]


def _tied_layers(checkpoint: Checkpoint, layers: list[LayerTensors], done: Collection[str]) -> set[str]:
    """The names of layers that are tied to tensors already done, and so need no place of their own there."""
    keys = {checkpoint[name].key for name in done}
    return {name for layer in layers for name in layer.names if all(checkpoint[each].key in keys for each in layer.names)}


def _pair(layer: LayerTensors, other: LayerTensors, likeliest_only: bool) -> Pair | None:
    """Both as one kind of layer, where sizes and variables agree; with `likeliest_only` as the kind that each most likely is."""
    for here in layer.candidates[:1] if likeliest_only else layer.candidates:
        for there in other.candidates[:1] if likeliest_only else other.candidates:
            sizes = merged(here.sizes, there.sizes) if here.kind.name == there.kind.name else None
            if sizes is not None and here.kind.required_parts(here.tensors) == there.kind.required_parts(there.tensors):
                return Pair(here, there, sizes)
    return None


def _untied(checkpoint: Checkpoint, layers: list[LayerTensors]) -> list[LayerTensors]:
    """The layers that are not tied to an earlier one."""
    first: dict[frozenset[object], LayerTensors] = {}
    for layer in layers:
        first.setdefault(frozenset(checkpoint[name].key for name in layer.names), layer)
    return list(first.values())


def _numbered(layers: Sequence[LayerTensors], theirs: Convention) -> list[Pair]:
    """Each layer with a new one there, of the likeliest kind that the other framework has."""
    pairs = []
    counts: dict[str, int] = {}
    for number, layer in enumerate(layers):
        here = next((candidate for candidate in layer.candidates if candidate.kind.name in theirs.kinds), None)
        if here is None:
            continue
        kind = theirs.kinds[here.kind.name]
        home = kind.home.format(d=spatial_count(here.sizes))
        count = counts[home] = counts.get(home, -1) + 1
        place = theirs.child.format(n=number, home=f"{home}_{count}" if count else home)
        keys = [key for key, variable in kind.variables.items() if _is_held(key, here) or variable.fill is not None]
        tensors = {key: theirs.new_name(kind, key, place) for key in keys}
        pairs.append(Pair(here, Candidate(kind, tensors, {}), here.sizes))
    return pairs


def _parts(candidate: Candidate) -> set[str]:
    """The parts of a layer's variables, sums taken apart."""
    return {part for key in candidate.tensors for part in key.split("+")}


def _is_held(key: str, here: Candidate) -> bool:
    """Whether the layer has that variable: itself, as part of a sum, or in parts."""
    return set(key.split("+")) <= _parts(here)


def _has_place(key: str, pair: Pair) -> bool:
    """Whether the layer there has a variable for this one here."""
    return bool(set(key.split("+")) & _parts(pair.there))


def _variables_there(checkpoint: Checkpoint, pair: Pair) -> Iterator[tuple[str, Tensor]]:
    """The variables there (key, tensor), each made of what is here."""
    for key in pair.there.tensors:
        variable = pair.there.kind.variables[key]
        after = _axes(pair.there.kind, key, pair.sizes)
        if key in pair.here.tensors:
            yield key, _rearranged(checkpoint, pair, key, after)
        elif "+" in key and _is_held(key, pair.here):
            parts = key.split("+")
            yield key, sum_of([(pair.here.tensors[part], _rearranged(checkpoint, pair, part, after)) for part in parts])
        elif whole := next((other for other in pair.here.tensors if key in other.split("+")), None):
            tensor = _rearranged(checkpoint, pair, whole, after)
            first = whole.split("+")[0] == key
            yield key, tensor if first else filled(tensor.dtype, tensor.shape, 0)
        elif variable.fill is not None:
            dtype = named(variable.dtype) if variable.dtype else checkpoint[next(iter(pair.here.tensors.values()))].dtype
            yield key, filled(dtype, shape_of(after, pair.sizes), variable.fill)


def _notes(pair: Pair) -> Iterator[str]:
    """A line for each variable that is two on the other side."""
    here, there = pair.here.tensors, pair.there.tensors
    for key in here.keys() - there.keys():
        first, *others = [there[part] for part in key.split("+") if part in there] if "+" in key else [""]
        if others:
            yield f"{here[key]} becomes {first}, and {', '.join(others)} is 0: there, their sum is what counts"
    for key in there.keys() - here.keys():
        if "+" in key and _is_held(key, pair.here):
            yield f"{there[key]} is the sum of {' and '.join(here[part] for part in key.split('+'))}"


def _rearranged(checkpoint: Checkpoint, pair: Pair, key: str, after: Axes) -> Tensor:
    """A variable here with the axes that it has there."""
    name = pair.here.tensors[key]
    before = _axes(pair.here.kind, key, pair.sizes)
    unknown = [letter for letter in "".join(before) if letter not in pair.sizes]
    if unknown:
        shape = show_shape(checkpoint[name].shape)
        raise EditError(
            f"{name} of {shape}: nothing tells the size of {unknown[0]} in {shown(before)}", "name a checkpoint that it is to be like"
        )
    return rearranged(checkpoint[name], name, before, after, pair.sizes)


def _axes(kind: LayerKind, key: str, sizes: Sizes) -> Axes:
    return spatial(kind.variables[key].axes, spatial_count(sizes))


def _tied_names(like: Template | None, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The names there without a tensor that are tied to one that has it: name → that one."""
    firsts: dict[str, str] = {}
    for group in like.ties if like else ():
        first = next((name for name in group if name in tensors), None)
        if first is not None:
            firsts |= {name: first for name in group if name not in tensors}
    return firsts
