"""What the optimizers of torch keep in a file: `state` by parameter, `param_groups` beside it, and master weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..tensors.checkpoint import Checkpoint

_STATE = re.compile(r"(?P<home>(?:.*\.)?)state\.(?P<key>.+)\.(?P<slot>[^.]+)", re.DOTALL)
_MASTER = re.compile(r"(?P<home>(?:.*\.)?)fp32_from_fp16_params\.(?P<group>\d{1,9})\.(?P<number>\d{1,9})", re.DOTALL)
_GROUP = re.compile(r"(?P<home>(?:.*\.)?)param_groups\.(?P<group>\d{1,9})\.(?P<kind>params|param_names)\.\d{1,9}", re.DOTALL)
_OPTIMIZER = re.compile(r"(^|[._])optim", re.IGNORECASE)


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


def kept(checkpoint: Checkpoint) -> set[str]:
    """Return the names of the tensors that optimizers keep."""
    return {name for optimizer in optimizers(checkpoint) for names in optimizer.states.values() for name in names}


def optimizers(checkpoint: Checkpoint) -> Iterator[Optimizer]:
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
