"""Whose the variables of an optimizer are, where names or a fixed order tell: in the files of Keras, TensorFlow, Flax and optax.

    dense/kernel/.OPTIMIZER_SLOT/optimizer/m    TensorFlow 2: the variable, then the slot
    dense/kernel/Adam_1                         TensorFlow 1, whose optimizers call a slot by their own name
    optimizer/vars/5, optimizer/_variables/5    Keras 3: iteration, learning rate, then all slots of each trainable variable, in order
    optimizer_weights/Adam/dense/kernel/m:0     Keras 2; Keras 3 writes adam/sequential_dense_kernel_momentum
    opt_state.0.mu.params.Dense_0.kernel        optax: trees of the shape of the parameters

As in tensorflow/python/checkpoint, tf.compat.v1.train, keras/src/optimizers/base_optimizer.py and optax. A name is refuted by a shape that
differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..formats import formats
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import natural
from .summary import is_buffer

Of = dict[str, "str | None"]

_SLOT = re.compile(r"(?P<of>.+)/\.OPTIMIZER_SLOT/.+", re.DOTALL)
_FIRST = re.compile(r"(?P<of>.+)/(Adam|Adagrad|Adadelta|AdagradDA|Momentum|RMSProp|Ftrl)(_\d)?", re.DOTALL)
_NUMBERED = re.compile(r"(.*/)?optimizer/_?(vars|variables)/(?P<number>\d{1,9})", re.DOTALL)
_TRAINED = re.compile(r"(.*/)?optimizer/_trainable_variables/\d{1,9}", re.DOTALL)
_LEGACY = re.compile(r"optimizer_weights/[^/]+/(?P<own>.+?)(:\d+)?", re.DOTALL)
_OPTAX = re.compile(r"(?:.*[./])?opt_state[./](?P<own>.+)", re.DOTALL)
_FIXED = 2  # iteration and learning rate come first
_MOST_SLOTS = 4
_DEEPEST = 8


def told(checkpoint: Checkpoint) -> Of:
    """Name of an optimizer's variable → the name of what it is of; None where that is not told for sure."""
    return {**_named(checkpoint), **_in_order(checkpoint), **_legacy(checkpoint), **_optax(checkpoint)}


def _named(checkpoint: Checkpoint) -> Of:
    """Slots whose name begins with that of the variable."""
    found: Of = {}
    for name in checkpoint if checkpoint.separator == "/" else ():
        slot, first = _SLOT.fullmatch(name), _FIRST.fullmatch(name)
        if slot:
            found[name] = _alike(checkpoint, name, [slot["of"]])
        elif first and first["of"] in checkpoint:
            found[name] = _alike(checkpoint, name, [first["of"]])
    return found


def _in_order(checkpoint: Checkpoint) -> Of:
    """Keras 3's, by number: what the order tells, else the one variable of that shape."""
    numbers = {
        name: int(found["number"]) for name in checkpoint if (found := _NUMBERED.fullmatch(name)) and name not in checkpoint.layer_of
    }
    slots = [name for name in sorted(numbers, key=lambda name: numbers[name]) if numbers[name] >= _FIXED]
    listed = sorted((name for name in checkpoint if _TRAINED.fullmatch(name)), key=natural)
    variables = listed or [
        n for n in checkpoint.layer_of if n in checkpoint and not is_buffer(checkpoint.layer_name(n), checkpoint[n], None)
    ]
    of: Of = dict.fromkeys(numbers)
    each = len(slots) // len(variables) if variables else 0
    order = [name for name in variables for _ in range(each)]
    sure = bool(listed) or _ordered(checkpoint)
    if sure and each <= _MOST_SLOTS and [checkpoint[n].shape for n in order] == [checkpoint[n].shape for n in slots]:
        return of | dict(zip(slots, order, strict=True))
    return of | {name: _alike(checkpoint, name, variables) for name in slots}


def _ordered(checkpoint: Checkpoint) -> bool:
    """Whether the file's order is the model's: its config is there, or its layers are of one class, which are numbered in that order."""
    config = checkpoint.origin is not None and formats[checkpoint.origin.format].in_model_order
    kinds = {checkpoint.layers.get(path) for path, _ in checkpoint.layer_of.values()}
    flat = all(re.fullmatch(r"layers/\w+/vars/\d+", name) for name in checkpoint.layer_of)
    return config or (flat and len(kinds) == 1)


def _legacy(checkpoint: Checkpoint) -> Of:
    """Those in optimizer_weights, whose names begin with a variable's own, be its slashes underscores."""
    owns: dict[str, list[str]] = {}
    for name in checkpoint.layer_of:
        own = re.sub(r":\d+$", "", name.removeprefix("model_weights/").partition("/")[2])
        owns.setdefault(own.replace("/", "_"), []).append(name)
    found: Of = {}
    for name in checkpoint:
        if slot := _LEGACY.fullmatch(name):
            parts = slot["own"].replace("/", "_").split("_")
            starts = ("_".join(parts[:at]) for at in range(len(parts) - 1, 0, -1))
            found[name] = _alike(checkpoint, name, next((owns[start] for start in starts if start in owns), []))
    return found


def _optax(checkpoint: Checkpoint) -> Of:
    """Those whose path ends as that of a parameter does."""
    states = {name: found["own"] for name in checkpoint if (found := _OPTAX.fullmatch(name))}
    ends: dict[str, list[str]] = {}
    for name in checkpoint if states else ():
        if name not in states:
            for end in _ends(name, checkpoint.separator):
                ends.setdefault(end, []).append(name)
    found_of: Of = {}
    for name, own in states.items():
        same = next(([end] if end in checkpoint else ends[end] for end in _ends(own, checkpoint.separator) if end in ends), [])
        found_of[name] = _alike(checkpoint, name, same)
    return found_of


def _ends(name: str, separator: str) -> Iterator[str]:
    """The name and what is left of it when parts are cut off in front."""
    parts = name.split(separator)
    return (separator.join(parts[at:]) for at in range(max(0, len(parts) - _DEEPEST), len(parts)))


def _alike(checkpoint: Checkpoint, name: str, variables: list[str]) -> str | None:
    """The one of them that has the shape of `name`."""
    same = [each for each in variables if each in checkpoint and checkpoint[each].shape == checkpoint[name].shape]
    return same[0] if len(same) == 1 else None
