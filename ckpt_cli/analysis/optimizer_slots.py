"""Which variable each optimizer slot belongs to, where names or a fixed order tell: in the files of Keras, TensorFlow, Flax and optax.

    dense/kernel/.OPTIMIZER_SLOT/optimizer/m    TensorFlow 2: the variable, then the slot
    dense/kernel/Adam_1                         TensorFlow 1, whose optimizers name a slot after themselves
    optimizer/vars/5, my_adam/_variables/5      Keras 3: iteration, learning rate, with use_ema=True an average of each trainable variable,
                                                then all slots of each, in order
    optimizer_weights/Adam/dense/kernel/m:0     Keras 2; Keras 3 writes adam/sequential_dense_kernel_momentum
    opt_state.0.mu.params.Dense_0.kernel        optax: trees of the shape of the parameters

Sources: tensorflow/python/checkpoint, tf.compat.v1.train, keras/src/optimizers/base_optimizer.py and optax. A slot whose shape differs from
that of the variable is left unmatched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..formats import formats
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import natural
from .average_homes import homes
from .buffers import is_buffer

VariableOf = dict[str, "str | None"]  # slot → variable; None where it is not certain

_SLOT = re.compile(r"(?P<of>.+)/\.OPTIMIZER_SLOT/(?P<optimizer>.+)/[^/]+", re.DOTALL)
_FIRST = re.compile(r"(?P<of>.+)/(Adam|Adagrad|Adadelta|AdagradDA|Momentum|RMSProp|Ftrl)(_\d)?", re.DOTALL)
_NUMBERED = re.compile(r"(?P<home>(?:.*/)?)_?(vars|variables)/(?P<number>\d{1,9})", re.DOTALL)
_TRAINED = re.compile(r"(?P<home>(?:.*/)?)_trainable_variables/\d{1,9}", re.DOTALL)
_CALLED = re.compile(r"(.*/)?optimizer/", re.DOTALL)
_COUNTED = (
    "_iterations",
    "_learning_rate",
)  # of each optimizer of Keras 3 in TensorFlow's files, whatever it is called
_LEGACY = re.compile(r"optimizer_weights/[^/]+/(?P<name>.+?)(:\d+)?", re.DOTALL)
_OPTAX = re.compile(r"(?:.*[./])?opt_state[./](?P<name>.+)", re.DOTALL)
_AVERAGE = re.compile(r"[_/]average(:\d+)?$")
_FIXED = 2  # iteration and learning rate come first
_MOST_SLOTS = 4
_DEEPEST = 8


def variables_of_slots(checkpoint: Checkpoint) -> VariableOf:
    """Return the name of each variable of an optimizer, and of the variable it belongs to; None where that is not certain."""
    return {**_tensorflow(checkpoint), **_keras3(checkpoint), **_keras2(checkpoint), **_optax(checkpoint)}


def _tensorflow(checkpoint: Checkpoint) -> VariableOf:
    """Slots of TensorFlow, whose name begins with that of the variable; and the optimizer's own numbers, where it has a name."""
    found: VariableOf = {}
    optimizers: set[str] = set()
    for name in checkpoint if checkpoint.separator == "/" else ():
        slot, first = _SLOT.fullmatch(name), _FIRST.fullmatch(name)
        if slot:
            found[name] = _alike(checkpoint, name, [slot["of"]])
            optimizers.add(slot["optimizer"])
        elif first and first["of"] in checkpoint:
            found[name] = _alike(checkpoint, name, [first["of"]])
    return found | {name: None for name in checkpoint if optimizers and name.rpartition("/")[0] in optimizers}


def _keras3(checkpoint: Checkpoint) -> VariableOf:
    """Slots of Keras 3, which have numbers: matched by their order where it is known, else by shape."""
    numbers: dict[str, dict[str, int]] = {}
    for name in checkpoint:
        found = _NUMBERED.fullmatch(name) if name not in checkpoint.layer_of else None
        if found and _is_optimizer(checkpoint, found["home"]):
            numbers.setdefault(found["home"], {})[name] = int(found["number"])
    of: VariableOf = {}
    for home, each in numbers.items():
        of |= {home + name: None for name in _COUNTED if home + name in checkpoint} | dict.fromkeys(each)
        slots = [name for name in sorted(each, key=lambda name: each[name]) if each[name] >= _FIXED]
        of |= _matched_slots(checkpoint, slots, _trainable(checkpoint, home))
    return of


def _is_optimizer(checkpoint: Checkpoint, home: str) -> bool:
    """Whether an optimizer of Keras 3 is what lies there: it is called so, or counts its steps."""
    return bool(_CALLED.fullmatch(home)) or all(home + name in checkpoint for name in _COUNTED)


def _matched_slots(checkpoint: Checkpoint, slots: list[str], variables: list[str]) -> VariableOf:
    for order in _orders(checkpoint, variables, len(slots)):
        if [checkpoint[n].shape for n in order] == [checkpoint[n].shape for n in slots]:
            return dict(zip(slots, order, strict=True))
    return {name: _alike(checkpoint, name, variables) for name in slots}


def _trainable(checkpoint: Checkpoint, home: str | None = None) -> list[str]:
    """The trainable variables of a model of Keras 3, in file order; those of one optimizer where it lists them."""
    found = {name: match["home"] for name in checkpoint if (match := _TRAINED.fullmatch(name))}
    listed = sorted((name for name, at in found.items() if home in (None, at) and _is_optimizer(checkpoint, at)), key=natural)
    return listed or [n for n in checkpoint.layer_of if n in checkpoint and not is_buffer(checkpoint.layer_name(n), checkpoint[n], None)]


def _orders(checkpoint: Checkpoint, variables: list[str], slots: int) -> Iterator[list[str]]:
    """What the slots of Keras 3 may be of, in order: all slots of each variable, or averages first. Nothing where no order is known."""
    each, left = divmod(slots, len(variables)) if variables else (0, 0)
    if left or not 0 < each <= _MOST_SLOTS + 1 or not (_ordered(checkpoint) or any(map(_TRAINED.fullmatch, variables))):
        return
    averaged = settings(checkpoint).get("use_ema")
    if not averaged and each <= _MOST_SLOTS:
        yield [name for name in variables for _ in range(each)]
    if averaged is not False:
        yield [*variables, *(name for name in variables for _ in range(each - 1))]


def settings(checkpoint: Checkpoint) -> Mapping[str, object]:
    """Return what a config in the file says of the optimizer."""
    return formats[checkpoint.origin.format].optimizer_settings(checkpoint) if checkpoint.origin else {}


def averages_of_keras(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the averages that an optimizer of Keras keeps (`use_ema=True`), and the variable of each."""
    found = {name: of for name, of in _keras2(checkpoint).items() if of and _AVERAGE.search(name)}
    slots = {name: of for name, of in _keras3(checkpoint).items() if of}
    variables = _trainable(checkpoint) if slots else []
    first = sorted(slots, key=natural)[: len(variables)]
    said = settings(checkpoint).get("use_ema")
    told = len(slots) > len(variables) > 1 if said is None else said  # with a slot each, it may be one of momentum
    return found | ({name: slots[name] for name in first} if told and [slots[name] for name in first] == variables else {})


def _ordered(checkpoint: Checkpoint) -> bool:
    """Whether the file's order is the model's: its config is there, or its layers are of one class, which are numbered in that order."""
    config = checkpoint.origin is not None and formats[checkpoint.origin.format].in_model_order
    kinds = {checkpoint.layers.get(path) for path, _ in checkpoint.layer_of.values()}
    flat = all(re.fullmatch(r"layers/\w+/vars/\d+", name) for name in checkpoint.layer_of)
    return config or (flat and len(kinds) == 1)


def _keras2(checkpoint: Checkpoint) -> VariableOf:
    """Slots of Keras 2 in optimizer_weights: their names begin with that of the variable, perhaps with underscores for slashes."""
    variables: dict[str, list[str]] = {}
    for name in checkpoint.layer_of:
        variable = re.sub(r":\d+$", "", name.removeprefix("model_weights/").partition("/")[2])
        variables.setdefault(variable.replace("/", "_"), []).append(name)
    found: VariableOf = {}
    for name in checkpoint:
        if slot := _LEGACY.fullmatch(name):
            parts = slot["name"].replace("/", "_").split("_")
            starts = ("_".join(parts[:at]) for at in range(len(parts) - 1, 0, -1))
            found[name] = _alike(checkpoint, name, next((variables[start] for start in starts if start in variables), []))
    return found


def _optax(checkpoint: Checkpoint) -> VariableOf:
    """Slots of optax, whose path ends like that of a parameter."""
    states = {name: found["name"] for name in checkpoint if (found := _OPTAX.fullmatch(name))}
    ends: dict[str, list[str]] = {}
    beside = {name for home in homes(checkpoint, checkpoint.separator, {}) for name in home.rests} if states else set()
    for name in checkpoint if states else ():
        if name not in states and name not in beside:
            for end in _ends(name, checkpoint.separator):
                ends.setdefault(end, []).append(name)
    variable_of: VariableOf = {}
    for name, path in states.items():
        same = next(([end] if end in checkpoint else ends[end] for end in _ends(path, checkpoint.separator) if end in ends), [])
        variable_of[name] = _alike(checkpoint, name, same)
    return variable_of


def _ends(name: str, separator: str) -> Iterator[str]:
    """The name, and what remains as parts are cut off its front."""
    parts = name.split(separator)
    return (separator.join(parts[at:]) for at in range(max(0, len(parts) - _DEEPEST), len(parts)))


def _alike(checkpoint: Checkpoint, name: str, variables: list[str]) -> str | None:
    """The variable among these that has the shape of `name`, if it is the only one."""
    same = [each for each in variables if each in checkpoint and checkpoint[each].shape == checkpoint[name].shape]
    return same[0] if len(same) == 1 else None
