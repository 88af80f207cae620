"""A ready map: the layers of a checkpoint as another framework has them.

Layers are paired by name, kind and sizes (matching.py). Tied layers are one layer, unless the other side has it as often. Without another
side, names are new ones: those of layers that have names of their own, and else numbered in the order of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .axes import spatial_count
from .convention import Convention
from .directions import Together
from .kinds import Candidate, LayerKind, LayerTensors, Shapes, Told, told_by
from .matching import Matching, Pair, Side, matched
from .outcome import Outcome
from .variables import has_place, made_there


class Template(NamedTuple):
    """The names that the result is to have.

    Attributes:
        shapes: name → shape.
        ties: the groups of names that are tied.
        told: what a graph or config says of their layers.
    """

    shapes: Shapes
    ties: Collection[Collection[str]] = ()
    told: Told = Told()


def template_of(checkpoint: Checkpoint) -> Template:
    """Return the names, shapes and ties of a checkpoint, for another one to be like it."""
    return Template({name: kind.shape for name, kind in checkpoint.kinds().items()}, checkpoint.ties(), told_by(checkpoint))


def paired(checkpoint: Checkpoint, ours: Convention, theirs: Convention, like: Template | None) -> Outcome:
    """Return a checkpoint, which has the names and layouts of `ours`, with those of `theirs`.

    Args:
        checkpoint: what is mapped.
        ours: the convention of its framework.
        theirs: the convention of the result.
        like: the names of the result; new ones where it is None.

    Raises:
        EditError: names do not decide which layer is which, nothing tells the size of an axis, or two biases cannot be added.
    """
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    layers, pairs, notes = _layers_and_pairs(checkpoint, ours, theirs, like)
    notes += _without_graph(checkpoint, ours)
    tensors: dict[str, Tensor] = {}
    dropped: list[str] = []
    sources: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        for made in made_there(checkpoint, pair):
            name = pair.there.tensors[made.key]
            tensors[name], sources[name] = made.tensor, _sources(made.key, pair)
            notes += made.notes
        notes += _remarks(checkpoint, pair)
        dropped += [name for key, name in pair.here.tensors.items() if not has_place(key, pair.here, pair.there)]
    for name, first in _tied_names(like, tensors).items():
        tensors[name] = tensors[first]
    done = {name for pair in pairs for name in pair.here.tensors.values()}
    done |= _tied_layers(checkpoint, layers, done)
    training = [name for name in shapes if ours.is_training(name)]
    rest = [name for name in shapes if name not in done and not ours.is_training(name)]
    same = [name for name in rest if like and like.shapes.get(name) == shapes[name] and name not in tensors]
    tensors |= {name: checkpoint[name] for name in same}
    unknown = [name for name in rest if name not in same]
    return Outcome(_in_order_of(like, tensors), unknown, dropped + training, list(dict.fromkeys(notes)), sources)


def _remarks(checkpoint: Checkpoint, pair: Pair) -> list[str]:
    """A line where a config says of the layer what no weights carry across."""
    name = next(iter(pair.here.tensors.values()))
    remark = checkpoint.remarks.get(checkpoint.sources.get(name, name))
    return [f"the layer of {name} has {remark}: its weights are carried, and what is made has to do that, too"] if remark else []


def _without_graph(checkpoint: Checkpoint, ours: Convention) -> list[str]:
    """A line for tensors whose values a graph beside the file could replace, where there is none."""
    names = [name for name in checkpoint if ours.graph.fullmatch(name)] if not checkpoint.layers else []
    return [f"no graph beside the file says whether {names[0]} counts as 1 (fix_gamma): its values are taken"] if names else []


def _sources(key: str, pair: Pair) -> tuple[str, ...]:
    """The names here that a variable there is made of."""
    terms = pair.there.kind.variables[key].terms
    return tuple(name for own, name in pair.here.tensors.items() if pair.here.kind.variables[own].terms & terms)


def _layers_and_pairs(
    checkpoint: Checkpoint, ours: Convention, theirs: Convention, like: Template | None
) -> tuple[list[LayerTensors], list[Pair], list[str]]:
    """The layers here, each with its own there, and notes."""
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    told = told_by(checkpoint)
    layers = ours.layers(shapes, told=told)
    if like is None:
        units = ours.directions.together(layers)
        numbered = _numbered(_untied(checkpoint, units) if theirs.once else units, theirs)
        return layers, [pair for _, pair in numbered], _guesses(numbered) + ours.directions.guesses(units)
    others, ties = theirs.layers(like.shapes, told=like.told), checkpoint.ties()
    matching = matched(Side(layers, ties, told.paths), Side(others, like.ties, like.told.paths))
    if _has_composites(matching, layers, others):
        layers, others = ours.layers(shapes, False, told), theirs.layers(like.shapes, False, like.told)
        matching = matched(Side(layers, ties, told.paths), Side(others, like.ties, like.told.paths))
    matching.check()
    return layers, matching.pairs, []


def _has_composites(matching: Matching, here: Sequence[LayerTensors], there: Sequence[LayerTensors]) -> bool:
    """Whether a layer of several, such as attention, has no partner: the other side may have its parts as layers of their own."""
    done = {name for pair in matching.pairs for side in (pair.here, pair.there) for name in side.tensors.values()}
    return any(layer.candidates[0].kind.composite and layer.names[0] not in done for side in (here, there) for layer in side)


def _guesses(numbered: Sequence[tuple[LayerTensors, Pair]]) -> list[str]:
    """A line for layers of which only the shapes say what kind they are, where another kind would have its axes in another order there."""
    taken: dict[tuple[str, str], list[str]] = {}
    for layer, pair in numbered:
        others = [each.kind.name for each in layer.candidates[1:] if not layer.sure and _lies_otherwise(pair, each)]
        if others:
            taken.setdefault((pair.here.kind.name, " or ".join(others)), []).append(layer.names[0])
    return [
        f"taken for {kind} by shape alone, not {other}: {', '.join(names[:5])}{', …' * (len(names) > 5)} (--like OTHER tells it)".replace(
            "_", " "
        )
        for (kind, other), names in taken.items()
    ]


def _lies_otherwise(pair: Pair, other: Candidate) -> bool:
    """Whether the weight would have other axes there if the layer were of the other kind, whose sizes are all known."""
    weight, own = pair.here.kind.variables.get("weight"), pair.there.kind.variables.get("weight")
    if weight is None or own is None or any(len(letters) > 1 and letters in other.sizes for letters in other.sizes):
        return False
    return weight.axes != own.axes and other.kind.variables["weight"].axes != weight.axes


def _in_order_of(like: Template | None, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    order = {name: at for at, name in enumerate(like.shapes)} if like else {}
    return {name: tensors[name] for name in sorted(tensors, key=lambda name: order.get(name, len(order)))}


def _tied_layers(checkpoint: Checkpoint, layers: list[LayerTensors], done: Collection[str]) -> set[str]:
    """The names of layers that are tied to tensors already done, and so need no place of their own there."""
    keys = {checkpoint[name].key for name in done}
    return {name for layer in layers for name in layer.names if all(checkpoint[each].key in keys for each in layer.names)}


def _untied(checkpoint: Checkpoint, units: list[Together]) -> list[Together]:
    """The layers that are not tied to an earlier one."""
    first: dict[tuple[frozenset[object], ...], Together] = {}
    for unit in units:
        first.setdefault(tuple(frozenset(checkpoint[name].key for name in layer.names) for layer in unit), unit)
    return list(first.values())


def _numbered(units: Sequence[Together], theirs: Convention) -> list[tuple[LayerTensors, Pair]]:
    """Each layer with a new one there, of the likeliest kind that the other framework has."""
    pairs = []
    counts: dict[str, int] = {}
    for number, unit in enumerate(units):
        here = next((candidate for candidate in unit[0].candidates if candidate.kind.name in theirs.kinds), None)
        if here is None:
            continue
        kind = theirs.kinds[here.kind.name]
        kinds = (kind,) if len(unit) == 1 else theirs.directions.kinds(kind)
        home = kinds[0].home.format(d=spatial_count(here.sizes))
        count = counts[home] = counts.get(home, -1) + 1
        numbered = theirs.child.format(n=number, home=f"{home}_{count}" if count else home, count=count, kind=home)
        place = unit[0].path if unit[0].named else numbered
        pairs += [(layer, _new_pair(layer, each, theirs, place)) for layer, each in zip(unit, kinds, strict=True)]
    return pairs


def _new_pair(layer: LayerTensors, kind: LayerKind, theirs: Convention, place: str) -> Pair:
    """A layer with a new one of that kind, which is called `place`."""
    here = next(candidate for candidate in layer.candidates if candidate.kind.name == kind.name)
    keys = [key for key, variable in kind.variables.items() if variable.terms <= here.terms or variable.fill is not None]
    return Pair(here, Candidate(kind, {key: theirs.new_name(kind, key, place) for key in keys}, {}), here.sizes)


def _tied_names(like: Template | None, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The names there without a tensor that are tied to one that has it: name → that one."""
    firsts: dict[str, str] = {}
    for group in like.ties if like else ():
        first = next((name for name in group if name in tensors), None)
        if first is not None:
            firsts |= {name: first for name in group if name not in tensors}
    return firsts
