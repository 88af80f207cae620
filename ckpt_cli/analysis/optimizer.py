"""What an optimizer keeps of each parameter (moments, momentum, master weights), averages of the weights, and the parameter each is of.

As torch.optim.Optimizer.state_dict() has it: `state` by number, the numbers in `param_groups` in the order in which the parameters were
given to the optimizer, with their names in `param_names` where it was given names; or `state` by name. Without names, a single group is
taken for `model.parameters()`, if all shapes agree; else a state is matched where one parameter alone has its shape, or left unmatched.
What the files of Keras, TensorFlow and optax tell is in slots.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..architectures import recognition
from ..architectures.layers import Shape
from ..architectures.prefixes import TRAINING
from ..tensors.checkpoint import Checkpoint
from .optimizer_slots import told
from .summary import is_buffer

_STATE = re.compile(r"(?P<home>(?:.*\.)?)state\.(?P<key>.+)\.(?P<slot>[^.]+)", re.DOTALL)
_MASTER = re.compile(r"(?P<home>(?:.*\.)?)fp32_from_fp16_params\.(?P<group>\d{1,9})\.(?P<number>\d{1,9})", re.DOTALL)
_GROUP = re.compile(r"(?P<home>(?:.*\.)?)param_groups\.(?P<group>\d{1,9})\.(?P<kind>params|param_names)\.\d{1,9}", re.DOTALL)
_OPTIMIZER = re.compile(r"(^|[._])optim", re.IGNORECASE)
_DEEPEST = 5  # what may stand before a parameter's own name in that of its average


class Optimizer(NamedTuple):
    """One optimizer's part of a file: its groups of keys and of names, in order, and its tensors, by key."""

    groups: list[list[str]]
    names: list[list[str]]
    states: dict[str, list[str]]


def states(checkpoint: Checkpoint) -> dict[str, str | None]:
    """Name of what an optimizer keeps, or of an average → the name of its parameter; None where that cannot be told. In file order."""
    optimizers = list(found_in(checkpoint))
    kept = {name for optimizer in optimizers for names in optimizer.states.values() for name in names}
    candidates = list(models(checkpoint, kept))
    of: dict[str, str | None] = {}
    for optimizer in optimizers:
        shapes = {key: {checkpoint[name].shape for name in names} for key, names in optimizer.states.items()}
        parameters = matched(optimizer, shapes, candidates)
        of |= {name: parameters.get(key) for key, names in optimizer.states.items() for name in names}
    of |= told(checkpoint)
    if candidates:
        of |= averages(checkpoint, kept | of.keys(), candidates[0])
    return {name: of[name] for name in checkpoint if name in of}


def found_in(checkpoint: Checkpoint) -> Iterator[Optimizer]:
    """The optimizers of a file: what lies beside `param_groups`, or is called one."""
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
                by_key.setdefault(key_at(groups, int(found["group"]), int(found["number"])), []).append(name)
        yield Optimizer(groups, names, by_key)


def key_at(groups: list[list[str]], group: int, number: int) -> str:
    return groups[group][number] if group < len(groups) and number < len(groups[group]) else f"{group}.{number}"


def models(checkpoint: Checkpoint, kept: set[str]) -> Iterator[dict[str, Shape]]:
    """What may be the parameters that an optimizer was given, in order, the likeliest first: name → shape, what is tied once."""
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


def matched(optimizer: Optimizer, shapes: Mapping[str, set[Shape]], candidates: list[dict[str, Shape]]) -> dict[str, str]:
    """Key of a state → the name of its parameter."""
    keys = [key for group in optimizer.groups for key in group]
    called = dict(zip(keys, (name for group in optimizer.names for name in group), strict=False))
    said = {key: called.get(key, key) for key in shapes if key in called or not key.isdecimal()}
    found = {key: name for key, its in said.items() if (name := resolved(its, shapes[key], candidates))}
    if len(optimizer.groups) == 1 and not said:
        for parameters in candidates:
            order = dict(zip(keys, parameters, strict=False))
            if len(keys) == len(parameters) and all(key in order and parameters[order[key]] in its for key, its in shapes.items()):
                return order
    alone = {key: name for key, its in shapes.items() if key not in said and (name := by_shape(its, candidates))}
    return found | alone


def resolved(own: str, shapes: set[Shape], candidates: list[dict[str, Shape]]) -> str | None:
    """The parameter that goes by this name, or by it under some prefix, and has the shape of a state of its."""
    for parameters in candidates:
        names = [name for name, shape in parameters.items() if (name == own or name.endswith(f".{own}")) and shape in shapes]
        if len(names) == 1:
            return names[0]
    return None


def by_shape(shapes: set[Shape], candidates: list[dict[str, Shape]]) -> str | None:
    """The one parameter of the likeliest model that has the shape of a state."""
    names = [name for name, shape in (candidates[0] if candidates else {}).items() if shape in shapes - {()}]
    return names[0] if len(names) == 1 else None


def averages(checkpoint: Checkpoint, kept: set[str], parameters: Mapping[str, Shape]) -> dict[str, str | None]:
    """Copies of parameters under the name of a training's (`ema.module.0.weight`), by the end of their path and their shape."""
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
