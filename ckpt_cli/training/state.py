"""The state of a training, beside the model in its checkpoint: `--resume` goes on from it.

training.step        steps made                        training.seed   of all that is random
training.loss        mse, sum or cross_entropy         training.batch  samples a step; 0: all
training.optimizer   torch.optim.SGD(…).state_dict(): plain SGD keeps no tensors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UsageError
from ..tensors.checkpoint import Checkpoint
from .descent import require_rate
from .losses import Loss

KEY = "training"
_RATE = f"{KEY}.optimizer.param_groups.0.lr"


class State(NamedTuple):
    """The state after `step` steps: seed, loss, samples a step (0: all) and learning rate of the run."""

    step: int
    seed: int
    loss: str
    batch: int
    lr: float


def read_state(checkpoint: Checkpoint) -> State:
    """Return the state that `ckpt train` left in a file.

    Raises:
        UsageError: there is none.
    """
    values: list[Any] = [checkpoint.objects.get(f"{KEY}.{name}") for name in ("step", "seed", "loss", "batch")]
    rate: Any = checkpoint.objects.get(_RATE)
    step, seed, kind, batch = values
    counts_are_valid = all(type(count) is int and 0 <= count < 2**63 for count in (step, seed, batch))
    if counts_are_valid and kind in tuple(Loss) and type(rate) in (int, float):
        return State(step, seed, kind, batch, require_rate(float(rate)))
    raise UsageError("there is no state of a training in it to resume from", "`ckpt train -o OUT.pt` leaves one")


def with_state(checkpoint: Checkpoint, state: State, parameters: int) -> Checkpoint:
    """Return the checkpoint with this state in place of an older one.

    Args:
        checkpoint: the model.
        state: the state of its training.
        parameters: how many parameters the optimizer has.

    Raises:
        UsageError: the file has something else of that name.
    """
    older = {name for name in checkpoint.objects if name == KEY or name.startswith(f"{KEY}.")}
    if older and f"{KEY}.step" not in older:
        raise UsageError(f"the file has something of its own that is called {KEY!r}", f"leave it out: ckpt drop '{KEY}*'")
    others: Mapping[str, Any] = {name: value for name, value in checkpoint.objects.items() if name not in older}
    facts = {"step": state.step, "seed": state.seed, "loss": state.loss, "batch": state.batch}
    return checkpoint.replacing(objects={**others, KEY: {**facts, "optimizer": sgd_state_dict(state.lr, parameters)}})


def sgd_state_dict(lr: float, parameters: int) -> dict[str, Any]:
    """Return what torch.optim.SGD(parameters, lr).state_dict() returns for so many parameters."""
    settings: dict[str, Any] = {"lr": lr, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False, "maximize": False}
    settings |= {"foreach": None, "differentiable": False, "fused": None}
    return {"state": {}, "param_groups": [{**settings, "params": list(range(parameters))}]}
