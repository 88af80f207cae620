"""The averages of a training (EMA, SWA) that a file keeps, each matched to its parameter. `average_homes` has where programs keep them."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..architectures.layers import Shape
from ..architectures.prefixes import TRAINING
from ..formats import formats
from ..tensors.checkpoint import Checkpoint
from . import average_homes, optimizer_states
from .average_homes import Home, Lies
from .average_matching import Matched, by_name, in_order
from .buffers import is_buffer
from .optimizer_slots import averages_of_keras, settings

_COUNTERS = {
    "decay": ("decay", "ema_decay"),
    "updates": ("num_updates", "n_averaged", "optimization_step", "updates", "ema_updates", "cur_step", "current_step"),
}
_COUNTERS_WITHIN = {"decay": (), "updates": ("step", "steps")}  # elsewhere, the steps are those of the training
_MOST_LISTS = 16  # of parameters that a list of averages may be of


class Average(NamedTuple):
    """An average of parameters.

    Attributes:
        pattern: A pattern that picks its tensors.
        of: Its tensors, in file order, and the parameter of each; None where that is not certain, and for its counters.
        lies: Where the average lies; where the program has swapped the two, `of` has the trained weights.
        decay: The decay that the file tells.
        updates: How often it was updated, where the file tells.
    """

    pattern: str
    of: dict[str, str | None]
    lies: Lies
    decay: float | None = None
    updates: int | None = None

    @property
    def in_place(self) -> bool | None:
        """Whether the weights of the model are the average; None where that is not known."""
        return {Lies.BESIDE: False, Lies.UNKNOWN: None}.get(self.lies, True)

    @property
    def parameters(self) -> int:
        """The number of parameters that it has an average of."""
        return sum(parameter is not None for parameter in self.of.values())


def averages(checkpoint: Checkpoint) -> list[Average]:
    """Return the averages in a file, in file order."""
    of_keras = _of_keras(checkpoint) if checkpoint.separator == "/" else []
    names = [name for name in checkpoint if not any(name in one.of for one in of_keras)] if of_keras else checkpoint
    found = average_homes.homes(names, checkpoint.separator, checkpoint.objects)
    kept = optimizer_states.kept(checkpoint) if found else set()
    made = _made(checkpoint, found, kept)
    counted = [home for home, own in zip(found, made, strict=True) if _counts(checkpoint, home, own)]
    made = made if len(counted) == len(found) else _made(checkpoint, counted, kept)  # the others are layers of the model
    return [*_joined([average for own in made for average in own]), *of_keras]


def _of_keras(checkpoint: Checkpoint) -> list[Average]:
    """The average that an optimizer of Keras keeps among its variables: by their names, or by their numbers."""
    of: dict[str, str | None] = {**averages_of_keras(checkpoint)}
    if not of:
        return []
    first = next(iter(of))
    numbers = [int(last) for last in (name.rpartition("/")[2] for name in of) if last.isdecimal()]
    if numbers:
        pattern = f"{first.rpartition('/')[0]}/{{{min(numbers)}-{max(numbers)}}}"
    else:
        pattern = f"{'/'.join(first.split('/')[:2])}/*average{'' if first.endswith('average') else ':*'}"
    decay = settings(checkpoint).get("ema_momentum")
    return [Average(pattern, of, Lies.BESIDE, decay if isinstance(decay, float) else None)]


def _joined(found: list[Average]) -> list[Average]:
    """What a program keeps around an average, copies and counters (`ema.step`), counts as a part of it."""
    around: dict[str, str] = {}
    for one in found:
        inner = [each for each in found if each is not one and each.parameters and each.pattern.startswith(one.pattern.removesuffix("*"))]
        around |= {one.pattern: inner[0].pattern} if inner and not one.parameters else {}
    of: dict[str, dict[str, str | None]] = {}
    for one in found:
        of.setdefault(around.get(one.pattern, one.pattern), {}).update(one.of)
    return [one._replace(of=of[one.pattern]) for one in found if one.pattern not in around]


def _made(checkpoint: Checkpoint, found: list[Home], kept: Collection[str]) -> list[list[Average]]:
    if not found:
        return []
    within = {name for home in found for name in home.rests}
    parameters = {name: checkpoint[name].shape for name in trained(checkpoint, within, kept)}
    return [_averages(checkpoint, home, parameters) for home in found]


def average_of_config(entries: Mapping[str, object]) -> list[Average]:
    """Return what a config says of the average that the weights are: diffusers' EMAModel writes its state there (`unet_ema/`)."""
    decay, updates = entries.get("decay"), entries.get("optimization_step")
    if isinstance(decay, (int, float)) and isinstance(updates, int) and "min_decay" in entries:
        return [Average("", {}, Lies.ALONE, float(decay), updates)]
    return []


def _counts(checkpoint: Checkpoint, home: Home, own: list[Average]) -> bool:
    """Whether a home is one of averages: where its name may be that of a layer, most of it has to be matched."""
    return home.sure or 2 * sum(each.parameters for each in own) > sum(bool(checkpoint[name].shape) for name in home.rests)


def trained(checkpoint: Checkpoint, within: Collection[str], kept: Collection[str] = ()) -> list[str]:
    """Return the names that averages may be of, in file order: those of the model; copies beside an average where there is none.

    Args:
        checkpoint: The file.
        within: The names of averages.
        kept: What an optimizer keeps of each parameter.
    """
    rest = [name for name in checkpoint if name not in within and name not in kept]
    model = [name for name in rest if not TRAINING.search(name.partition(checkpoint.separator)[0])]
    return model or rest or [name for name in within if "online_model" in name.split(checkpoint.separator)]


def _averages(checkpoint: Checkpoint, home: Home, parameters: Mapping[str, Shape]) -> list[Average]:
    """The averages in a home, matched: one, or one for each of several decays."""
    rests = {name: rest for name, rest in home.rests.items() if not average_homes.is_copy_beside(home, rest, checkpoint.separator)}
    own = {name: shape for name, shape in parameters.items() if name not in rests}
    by_prefix = matched(checkpoint, rests, checkpoint, own, average_homes.called_after(home, checkpoint.separator))
    decay, updates = (_counter(checkpoint, home, what) for what in _COUNTERS)
    told = home.lies, decay, None if updates is None or updates < 0 else int(updates)  # CompVis: -1 where it does not count
    if len(by_prefix) < 2:
        of = next(iter(by_prefix.values()), {})
        return [Average(home.pattern, {name: of.get(name) for name in home.rests}, *told)]
    start = {name: name[: len(name) - len(rest)] for name, rest in rests.items()}
    found = {average_homes.picking(start[next(iter(of))] + prefix): (prefix, of) for prefix, of in by_prefix.items()}
    return [
        Average(pattern, {name: of.get(name) for name in rests if rests[name].startswith(prefix)}, *told)
        for pattern, (prefix, of) in sorted(found.items(), key=lambda item: list(rests).index(next(iter(item[1][1]))))
    ]


def matched(
    own: Checkpoint, rests: Mapping[str, str], other: Checkpoint, parameters: Mapping[str, Shape], called: str = ""
) -> dict[str, Matched]:
    """Match averages to parameters, of one file or of two: by name, or by order where they are a list.

    Args:
        own: The file with the averages.
        rests: The averages, and what remains of their names behind what all begin with.
        other: The file with the parameters.
        parameters: The parameters with their shapes, in file order.
        called: What the model is called, where the averages are called after it.

    Returns:
        For each average that begins otherwise its prefix, and its match.
    """
    shapes = {name: own[name].shape for name in rests}
    if all(rest in parameters for rest in rests.values()):
        return {"": {name: rest for name, rest in rests.items() if parameters[rest] == shapes[name]}}
    numbers = {int(rest): name for name, rest in rests.items() if rest.isdecimal() and len(rest) < 10}
    if len(numbers) == len(rests) and sorted(numbers) == list(range(len(numbers))):
        of = lists(other, parameters) if _ordered(other, parameters) else []
        return {"": in_order([numbers[at] for at in range(len(numbers))], shapes, of)}
    return by_name(rests, shapes, parameters, own.separator, called)


def _ordered(checkpoint: Checkpoint, parameters: Mapping[str, Shape]) -> bool:
    """Whether the order of a file is that of the model: other formats sort names. Where no two shapes are alike, they tell."""
    form = formats[checkpoint.origin.format] if checkpoint.origin else None
    return form is None or form.in_model_order or len(set(parameters.values())) == len(parameters)


def lists(checkpoint: Checkpoint, parameters: Mapping[str, Shape]) -> list[dict[str, Shape]]:
    """Return the lists that a program may have made of parameters: below one name, or all; with buffers or without; tied ones once."""
    tops: dict[str, list[str]] = {}
    for name in parameters:
        tops.setdefault(name.partition(checkpoint.separator)[0], []).append(name)
    tied = checkpoint.tied_to()
    groups = [list(parameters), *(tops.values() if 1 < len(tops) <= _MOST_LISTS else ())]
    return [{name: parameters[name] for name in names} for group in groups for names in _variants(checkpoint, group, tied)]


def _variants(checkpoint: Checkpoint, names: Sequence[str], tied: Mapping[str, str]) -> Iterator[list[str]]:
    trainable = [name for name in names if not is_buffer(checkpoint.layer_name(name), checkpoint[name], None)]
    for each in (trainable, names):
        yield [name for name in each if name not in tied]
        yield list(each)


def _counter(checkpoint: Checkpoint, home: Home, what: str) -> float | None:
    """The decay, or the number of updates, that a file tells beside the averages of a home, or one level above."""
    separator = checkpoint.separator
    if home.lies is Lies.ALONE:
        return None if what == "decay" else _number(checkpoint, home.pattern)
    start = home.pattern.removesuffix("*")
    above = home.place.rstrip(separator).rpartition(separator)[0]
    inside = dict.fromkeys((start, home.place))
    beside = f"{above}{separator}" if above else ""
    paths = [f"{place}{name}" for place in inside for name in (*_COUNTERS[what], *_COUNTERS_WITHIN[what])]
    paths += [f"{place}{name}" for place in dict.fromkeys((beside, f"averaging_state{separator}")) for name in _COUNTERS[what]]
    values = (_number(checkpoint, path) for path in paths)
    return next((value for value in values if value is not None), None)


_READ = {"int64": "<q", "int32": "<i", "float32": "<f", "float64": "<d"}


def _number(checkpoint: Checkpoint, path: str) -> float | None:
    """The number at a path, an object or a tensor of one element."""
    value: Any = checkpoint.objects.get(path)
    if path in checkpoint and checkpoint[path].numel == 1 and checkpoint[path].dtype.name in _READ and not checkpoint[path].layout:
        value = struct.unpack(_READ[checkpoint[path].dtype.name], checkpoint[path].elements().read())[0]
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) < 1e18 else None
