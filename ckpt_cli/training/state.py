"""The state of a training, beside the model in its checkpoint: what `--resume` goes on from.

training.step        steps made                        training.seed   of all that is random
training.loss        mse, sum or cross_entropy         training.batch  samples a step; 0: all
training.optimizer   torch.optim.SGD(…).state_dict(): plain SGD keeps no tensors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UsageError
from ..tensors.checkpoint import Checkpoint
from .descent import check_rate
from .losses import LOSSES

KEY = "training"
_RATE = f"{KEY}.optimizer.param_groups.0.lr"


class State(NamedTuple):
    """After `step` steps of a run with these settings."""

    step: int
    seed: int
    loss: str
    batch: int
    lr: float


def read(checkpoint: Checkpoint) -> State:
    """The state that `ckpt train` left in a file. Raises UsageError where there is none."""
    said: list[Any] = [checkpoint.objects.get(f"{KEY}.{name}") for name in ("step", "seed", "loss", "batch")]
    rate: Any = checkpoint.objects.get(_RATE)
    step, seed, kind, batch = said
    if all(type(count) is int and 0 <= count < 2**63 for count in (step, seed, batch)) and kind in LOSSES and type(rate) in (int, float):
        return State(step, seed, kind, batch, check_rate(float(rate)))
    raise UsageError("there is no state of a training in it to resume from", "`ckpt train -o OUT.pt` leaves one")


def kept(checkpoint: Checkpoint, state: State, parameters: int) -> Checkpoint:
    """The checkpoint with this state in place of an older one. Raises UsageError where the file has something else of that name."""
    mine = {name for name in checkpoint.objects if name == KEY or name.startswith(f"{KEY}.")}
    if mine and f"{KEY}.step" not in mine:
        raise UsageError(f"the file has something of its own that is called {KEY!r}", f"leave it out: ckpt drop '{KEY}*'")
    others: Mapping[str, Any] = {name: value for name, value in checkpoint.objects.items() if name not in mine}
    facts = {"step": state.step, "seed": state.seed, "loss": state.loss, "batch": state.batch}
    return checkpoint.replacing(objects={**others, KEY: {**facts, "optimizer": sgd(state.lr, parameters)}})


def sgd(lr: float, parameters: int) -> dict[str, Any]:
    """What torch.optim.SGD(parameters, lr).state_dict() gives."""
    settings: dict[str, Any] = {"lr": lr, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False, "maximize": False}
    settings |= {"foreach": None, "differentiable": False, "fused": None}
    return {"state": {}, "param_groups": [{**settings, "params": list(range(parameters))}]}
