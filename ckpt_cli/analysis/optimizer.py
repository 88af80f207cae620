"""Optimizer states (moments, momentum, master weights) and averages of the weights, each matched to its parameter.

The layout is that of torch.optim.Optimizer.state_dict(): `state` is keyed by number. `param_groups` lists the numbers in the order in which
the optimizer was given the parameters, and `param_names` lists their names if it was given any. Some files key `state` by name. Without
names, a single group is taken for `model.parameters()` if all shapes agree. Else a state is matched if exactly one parameter has its shape,
or left unmatched. `optimizer_slots` has the files of Keras, TensorFlow and optax.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..architectures import recognition
from ..architectures.layers import Shape
from ..architectures.prefixes import TRAINING
from ..tensors.checkpoint import Checkpoint
from .optimizer_slots import variables_of_slots
from .summary import is_buffer

_STATE = re.compile(r"(?P<home>(?:.*\.)?)state\.(?P<key>.+)\.(?P<slot>[^.]+)", re.DOTALL)
_MASTER = re.compile(r"(?P<home>(?:.*\.)?)fp32_from_fp16_params\.(?P<group>\d{1,9})\.(?P<number>\d{1,9})", re.DOTALL)
_GROUP = re.compile(r"(?P<home>(?:.*\.)?)param_groups\.(?P<group>\d{1,9})\.(?P<kind>params|param_names)\.\d{1,9}", re.DOTALL)
_OPTIMIZER = re.compile(r"(^|[._])optim", re.IGNORECASE)
_DEEPEST = 5  # parts that may stand before the name of a parameter in that of its average


class Optimizer(NamedTuple):
    """The state of one optimizer in a file.

    Attributes:
        groups: For each group of parameters, the keys of their states, in order.
        names: For each group, the names of the parameters, in order; empty where the file has none.
        states: By key, the names of the tensors that the optimizer keeps for that parameter.
    """

    groups: list[list[str]]
    names: list[list[str]]
    states: dict[str, list[str]]


def states(checkpoint: Checkpoint) -> dict[str, str | None]:
    """Match optimizer states and averages to parameters.

    Returns:
        The name of each tensor that an optimizer keeps, or that is an average, and the name of its parameter; None where it is not certain.
        In file order.
    """
    optimizers = list(_optimizers(checkpoint))
    kept = {name for optimizer in optimizers for names in optimizer.states.values() for name in names}
    candidates = list(_candidates(checkpoint, kept))
    of: dict[str, str | None] = {}
    for optimizer in optimizers:
        shapes = {key: {checkpoint[name].shape for name in names} for key, names in optimizer.states.items()}
        parameters = _matched(optimizer, shapes, candidates)
        of |= {name: parameters.get(key) for key, names in optimizer.states.items() for name in names}
    of |= variables_of_slots(checkpoint)
    if candidates:
        of |= _averages(checkpoint, kept | of.keys(), candidates[0])
    return {name: of[name] for name in checkpoint if name in of}


def kept_by_optimizers(checkpoint: Checkpoint) -> set[str]:
    """Return the names of the tensors that optimizers keep, averages of the weights not among them."""
    kept = {name for optimizer in _optimizers(checkpoint) for names in optimizer.states.values() for name in names}
    return kept.union(variables_of_slots(checkpoint))


def _optimizers(checkpoint: Checkpoint) -> Iterator[Optimizer]:
    """The optimizers in a file: states beside `param_groups`, or below a name such as `optimizer`."""
    lists: dict[tuple[str, str], dict[int, list[str]]] = {}
    for path, value in checkpoint.objects.items():
        if found := _GROUP.fullmatch(path):
            lists.setdefault((found["home"], found["kind"]), {}).setdefault(int(found["group"]), []).append(str(value))
    homes: dict[str, dict[str, list[str]]] = {home: {} for home, _ in lists}
    for name in checkpoint:
        found = _STATE.fullmatch(name)
        if found and (found["home"] in homes or _OPTIMIZER.search(found["home"])):
            homes.setdefault(found["home"], {}).setdefault(found["key"], []).append(name)
    for home, by_key in homes.items():
        groups, names = ([ids for _, ids in sorted(lists.get((home, kind), {}).items())] for kind in ("params", "param_names"))
        for name in checkpoint:
            if (found := _MASTER.fullmatch(name)) and found["home"] == home:
                by_key.setdefault(_key_at(groups, int(found["group"]), int(found["number"])), []).append(name)
        yield Optimizer(groups, names, by_key)


def _key_at(groups: list[list[str]], group: int, number: int) -> str:
    return groups[group][number] if group < len(groups) and number < len(groups[group]) else f"{group}.{number}"


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
            if len(keys) == len(parameters) and all(key in order and parameters[order[key]] in its for key, its in shapes.items()):
                return order
    alone = {key: name for key, its in shapes.items() if key not in said and (name := _by_shape(its, candidates))}
    return named | alone


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


def _averages(checkpoint: Checkpoint, kept: set[str], parameters: Mapping[str, Shape]) -> dict[str, str | None]:
    """Averages of parameters (`ema.module.0.weight`), matched by the end of their names and by shape."""
    ends: dict[str, list[str]] = {}
    for name in parameters:
        pieces = name.split(".")
        for start in range(min(len(pieces), _DEEPEST)):
            ends.setdefault(".".join(pieces[start:]), []).append(name)
    found: dict[str, str | None] = {}
    for name in checkpoint:
        parts = name.split(".")
        if name in kept or name in parameters or not TRAINING.search(parts[0]):
            continue
        tails = (".".join(parts[start:]) for start in range(1, min(len(parts) - 1, _DEEPEST)))
        same = next((ends[tail] for tail in tails if tail in ends), [])
        if len(same) == 1 and parameters[same[0]] == checkpoint[name].shape:
            found[name] = same[0]
    return found
