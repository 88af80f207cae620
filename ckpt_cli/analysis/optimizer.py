"""Optimizer states (moments, momentum, master weights) and averages of the weights, each matched to its parameter.

The layout is that of torch.optim.Optimizer.state_dict(): `state` is keyed by number. `param_groups` lists the numbers in the order in which
the optimizer was given the parameters, and `param_names` lists their names if it was given any. Some files key `state` by name. Without
names, a single group is taken for `model.parameters()` if all shapes agree. Else a state is matched if exactly one parameter has its shape,
or left unmatched. `optimizer_slots` has the files of Keras, TensorFlow and optax.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..architectures import recognition
from ..architectures.layers import Shape
from ..architectures.prefixes import TRAINING
from ..tensors.checkpoint import Checkpoint
from .averages import Average, averages
from .buffers import is_buffer
from .optimizer_slots import variables_of_slots
from .optimizer_states import Optimizer, kept, optimizers


def states(checkpoint: Checkpoint) -> dict[str, str | None]:
    """Match optimizer states and averages to parameters.

    Returns:
        The name of each tensor that an optimizer keeps, or that is an average, and the name of its parameter; None where it is not certain.
        In file order.
    """
    found = list(optimizers(checkpoint))
    candidates = list(_candidates(checkpoint, {name for one in found for names in one.states.values() for name in names}))
    of: dict[str, str | None] = {}
    for optimizer in found:
        shapes = {key: {checkpoint[name].shape for name in names} for key, names in optimizer.states.items()}
        parameters = _matched(optimizer, shapes, candidates)
        of |= {name: parameters.get(key) for key, names in optimizer.states.items() for name in names}
    of |= variables_of_slots(checkpoint)
    for average in averages(checkpoint):
        of |= average.of
    return {name: of[name] for name in checkpoint if name in of}


def of_model(checkpoint: Checkpoint, names: Iterable[str]) -> list[str]:
    """Return the names that are no state of an optimizer and no average; all where there are no others."""
    kept, names = states(checkpoint), list(names)
    return [name for name in names if name not in kept] or names


def kept_by_optimizers(checkpoint: Checkpoint) -> set[str]:
    """Return the names of the tensors that optimizers keep, averages of the weights not among them."""
    return {*kept(checkpoint), *variables_of_slots(checkpoint)}


def training_state(checkpoint: Checkpoint, known: Sequence[Average] | None = None) -> set[str]:
    """Return the names of what a training keeps beside the model: by optimizers, and as averages of the weights.

    Nothing where that would be all: then a file has an average alone, and that is the model in it.

    Args:
        checkpoint: The file.
        known: The averages in it, where they are known.
    """
    averaged = averages(checkpoint) if known is None else known
    found = {*kept_by_optimizers(checkpoint), *(name for average in averaged for name in average.of)}
    return found if len(found) < len(checkpoint) else set()


def _candidates(checkpoint: Checkpoint, kept: set[str]) -> Iterator[dict[str, Shape]]:
    """Lists of parameters that the optimizer may have been given, the likeliest first: name → shape, in order, tied ones once."""
    tied = checkpoint.tied_to()
    rest = {name: tensor for name, tensor in checkpoint.items() if name not in kept and name not in tied}
    shapes = {name: tensor.shape for name, tensor in checkpoint.items()}
    model = recognition.resolve_arch("auto", shapes, checkpoint.ties(), checkpoint.layers)
    if model:
        own = {name for name in model.shapes if name not in model.buffers}
        yield {name: tensor.shape for name, tensor in rest.items() if name.startswith(model.prefix) and name[len(model.prefix) :] in own}
    tops: dict[str, dict[str, Shape]] = {}
    for name, tensor in rest.items():
        top = name.partition(".")[0]
        if not is_buffer(name, tensor, None) and not TRAINING.search(top):
            tops.setdefault(top, {})[name] = tensor.shape
    yield from tops.values()
    if len(tops) > 1:
        yield {name: shape for names in tops.values() for name, shape in names.items()}


def _matched(optimizer: Optimizer, shapes: Mapping[str, set[Shape]], candidates: list[dict[str, Shape]]) -> dict[str, str]:
    """The key of each state → the name of its parameter."""
    keys = [key for group in optimizer.groups for key in group]
    names = dict(zip(keys, (name for group in optimizer.names for name in group), strict=False))
    said = {key: names.get(key, key) for key in shapes if key in names or not key.isdecimal()}
    named = {key: name for key, own_name in said.items() if (name := _by_name(own_name, shapes[key], candidates))}
    if len(optimizer.groups) == 1 and not said:
        for parameters in candidates:
            order = dict(zip(keys, parameters, strict=False))
            if len(keys) == len(parameters) and all(key in order and _fit(its, parameters[order[key]]) for key, its in shapes.items()):
                return order
    alone = {key: name for key, its in shapes.items() if key not in said and (name := _by_shape(its, candidates))}
    return named | alone


def _fit(states: set[Shape], parameter: Shape) -> bool:
    """Whether the states are those of such a parameter: one has its shape, or is a sum of it along some axes, as Adafactor keeps them."""
    return parameter in states or any(max(shape) > 1 and is_sum(shape, parameter) for shape in states - {()})


def is_sum(shape: Shape, whole: Shape) -> bool:
    """Whether a shape is another one with axes left out, or with one element there."""
    sizes = iter(whole)
    return all(any(size == n for n in sizes) for size in shape if size != 1)


def _by_name(own_name: str, shapes: set[Shape], candidates: list[dict[str, Shape]]) -> str | None:
    """The one parameter that has this name, or this name behind a prefix, and the shape of one of the states."""
    for parameters in candidates:
        names = [name for name, shape in parameters.items() if (name == own_name or name.endswith(f".{own_name}")) and shape in shapes]
        if len(names) == 1:
            return names[0]
    return None


def _by_shape(shapes: set[Shape], candidates: list[dict[str, Shape]]) -> str | None:
    """The one parameter in the likeliest list that has the shape of one of the states."""
    names = [name for name, shape in (candidates[0] if candidates else {}).items() if shape in shapes - {()}]
    return names[0] if len(names) == 1 else None
