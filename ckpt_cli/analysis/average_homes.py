"""Where programs keep the averages of a training (EMA, SWA): told by names alone. `averages` matches them to the parameters.

    ema.module.0.weight                      torch.optim.swa_utils.AveragedModel, timm, RT-DETR, YOLO
    state_dict_ema.0.weight                  timm's checkpoint saver
    state_dict.model_ema.diffusion_modelinput_blocks00weight   CompVis' LitEma, which takes the dots out
    state_dict.ema_backbone_conv1_weight     mmcv's EMAHook, which has underscores for dots
    ema.shadow_params.0                      diffusers' EMAModel and torch_ema: a list in the order of the parameters
    optimizer_states.0.ema.0                 NeMo's EMAOptimizer: likewise
    callbacks.….average_model_state.module.0.weight   Lightning's StochasticWeightAveraging
    ema_model.0.weight, online_model.0.weight   ema_pytorch
    current_model_state.0.weight             Lightning's WeightAveraging: state_dict has the average, and this is what was trained
    ema_state_dict.module.0.weight           mmengine's EMAHook: likewise
    n_averaged, module.0.weight              an AveragedModel alone
    dense/kernel/ExponentialMovingAverage    tf.train.ExponentialMovingAverage
    dense/kernel/.OPTIMIZER_SLOT/optimizer/average   TensorFlow Addons' MovingAverage and SWA

Models have layers that are called `ema`, too (of attention, of Mega): a home deep in the names counts only where what is in it is matched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

_DEEPEST = 5  # parts of a name among which the mark of an average is looked for
MOST_HOMES = 64  # with more, they are layers of a model

_EMA = re.compile(r"(?:^|[^A-Za-z])(?:(?i:ema|swa)(?![a-z])|E[Mm][Aa]s)|(?<=[a-z])(?:EMA|SWA|Ema|Swa)(?![a-z])")
_AVERAGED = re.compile(
    r"(averaged?|avg|shadow|polyak)(_(model|params?|parameters|weights|variables|vars|state|dict))*"
    r"|(model|net|network|params|weights|state_dict)_(averaged?|avg|shadow)",
    re.IGNORECASE,
)
_ANY = re.compile(r"ema|swa|averag|avg|shadow|polyak|current_model_state|averaging_state", re.IGNORECASE)
# What such programs keep beside the averages: the weights of the training once more.
_COPIES = {"online_model", "collected_params", "temp_stored_params", "backup"}
_OPTIMIZERS = re.compile(r"opt_state|optimizer_state|(?:^|[._])optim", re.IGNORECASE)
_STATES = re.compile(r"callback|optim|extra_state", re.IGNORECASE)
_SUFFIX = re.compile(r"(?P<of>.+)/(?:ExponentialMovingAverage|\.OPTIMIZER_SLOT/(?:.+/)?average)", re.DOTALL)
_TRAINED = "current_model_state"
_BESIDE_TRAINED = "averaging_state."  # its counter
_UNDERSCORES = "ema_"
_COUNT = "n_averaged"


class Lies(Enum):
    """Where the average of a parameter lies."""

    BESIDE = "beside"  # in the home, and the trained weights in the model
    SWAPPED = "swapped"  # in the model: the home has the trained weights
    UNKNOWN = "unknown"  # the program does either
    ALONE = "alone"  # in the model, and nowhere what was trained


class Home(NamedTuple):
    """Where an average is kept.

    Attributes:
        pattern: A pattern that picks its tensors.
        rests: Its tensors, and what remains of their names behind what they begin with.
        place: What the names of all that belongs to it begin with; it may hold copies and counters, too.
        sure: Whether it is one, whatever is in it: else that depends on whether it is matched.
        lies: Where the average lies.
    """

    pattern: str
    rests: dict[str, str]
    place: str
    sure: bool
    lies: Lies = Lies.BESIDE


def homes(names: Iterable[str], separator: str, objects: Mapping[str, object]) -> list[Home]:
    """Return where the averages in a file may be, in file order.

    Args:
        names: The names of its tensors.
        separator: What divides the parts of a name.
        objects: What is in it besides tensors, by path.
    """
    found: dict[str, Home] = {}
    start, within = "", dict[str, str]()
    for name in filter(_ANY.search, names):
        if start and name.startswith(start) and not _ANY.search(name, len(start)):
            within[name] = name[len(start) :]  # as the name before: most names are
            continue
        start = ""
        for home, rest in _homes_of(name, separator):
            within = found.setdefault(home.pattern, home).rests
            within[name] = rest
            start = name[: len(name) - len(rest)] if name.endswith(rest) else ""
    if len(found) > MOST_HOMES:
        found = {pattern: home for pattern, home in found.items() if home.sure}
    return [home._replace(lies=_lies(home, objects)) for home in found.values()]


def _homes_of(name: str, separator: str) -> Iterator[tuple[Home, str]]:
    """The home that a tensor is in, without those of others, and the rest of its name; nothing where it is in none."""
    if "/" in name and (found := _SUFFIX.fullmatch(name)):
        end = name[len(found["of"]) :]
        yield Home(f"*{end}", {}, "", True), found["of"]
        return
    if name == _COUNT:
        yield Home(_COUNT, {}, "", True, Lies.ALONE), name
        return
    if name.startswith(_BESIDE_TRAINED):
        yield Home(picking(f"{_TRAINED}."), {}, f"{_TRAINED}.", True), name
        return
    parts = split(name, separator)
    marked = [at for at, part in enumerate(parts[:-1][:_DEEPEST]) if is_marked(part)]
    if marked and not _is_of_updates(parts, marked[-1]) and not _is_in_block(parts, marked[-1]):
        start = separator.join(parts[: marked[-1] + 1]) + separator
        place = separator.join(parts[: marked[0] + 1]) + separator
        yield Home(picking(start), {}, place, _is_sure(parts, marked[-1])), name[len(start) :]
    elif len(parts) <= _DEEPEST and parts[-1].startswith(_UNDERSCORES):
        start = name[: len(name) - len(parts[-1]) + len(_UNDERSCORES)]
        yield Home(picking(start), {}, start, False), name[len(start) :]


def picking(start: str) -> str:
    """Return the pattern that picks what begins so."""
    return f"re:^{re.escape(start)}" if re.search(r"[\\*?\[\]{}]", start) else f"{start}*"


def split(name: str, separator: str) -> list[str]:
    """Return the parts of a name. A separator within a part is escaped."""
    if "\\" in name:
        return re.split(rf"(?<!\\){re.escape(separator)}", name)
    return name.split(separator)


@lru_cache(4096)
def is_marked(part: str) -> bool:
    """Return whether a part of a name is what programs call an average, or what one of them keeps beside it."""
    return part == _TRAINED or bool(_EMA.search(part) or _AVERAGED.fullmatch(part))


def called_after(home: Home, separator: str) -> str:
    """Return what the name of an average calls its model: `generator` of `generator_ema`; empty where it names none."""
    part = home.pattern.removesuffix("*").rstrip(separator).rpartition(separator)[2]
    return _EMA.sub("", part)


def is_copy_beside(home: Home, rest: str, separator: str) -> bool:
    """Return whether a tensor in a home is a copy of the trained weights, not an average."""
    return rest.partition(separator)[0] in _COPIES


def _is_of_updates(parts: list[str], at: int) -> bool:
    """Whether it is the average of updates that optax.ema keeps within its state, not that of weights: `opt_state.0.ema.Dense_0.kernel`."""
    within = any(_OPTIMIZERS.search(part) for part in parts[:at])
    return within and parts[at].lower() == "ema" and not parts[-1].isdecimal()


def _is_in_block(parts: list[str], at: int) -> bool:
    """Whether what is called so is in one of several alike layers: `layers.0.ema.weight`. The states of optimizers are numbered, too."""
    return any(part.isdecimal() for part in parts[:at]) and not _STATES.search(parts[0])


def _is_sure(parts: list[str], at: int) -> bool:
    """Whether what is called so is no layer of a model: it is at the top, or within the state of a training."""
    called = "_" in parts[at] or (at == 0 and _EMA.search(parts[at]))  # `average` and `shadow` alone may be layers
    return bool(called and (at == 0 or _AVERAGED.fullmatch(parts[at]))) or bool(_STATES.search(parts[0]))


def _lies(home: Home, objects: Mapping[str, object]) -> Lies:
    """Where the program that wrote a file puts the average as it saves."""
    if home.lies is Lies.ALONE:
        return home.lies
    if home.place.startswith(_TRAINED):
        return Lies.SWAPPED
    if home.pattern.startswith("ema_state_dict") and any(path in objects for path in ("meta.mmengine_version", "message_hub")):
        return Lies.SWAPPED
    if home.pattern.rpartition(".")[2] == f"{_UNDERSCORES}*" and "meta.mmcv_version" in objects:
        return Lies.UNKNOWN  # mmcv has swapped the two as it saves after an epoch, and not after an iteration
    return Lies.BESIDE
