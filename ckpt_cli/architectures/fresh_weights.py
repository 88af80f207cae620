"""A new module's values, as torch initialises them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..errors import UsageError
from . import architectures
from .hyperparameters import checked, shown_all
from .recognition import USER_MODULE
from .user_module import load, one_line

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def fresh(name: str, hyperparameters: Mapping[str, object], seed: int) -> list[tuple[str, Tensor]]:
    """Return the state_dict, in order, that `torch.manual_seed(seed)` and building the module give. Tied names share one storage.

    Args:
        name: a registered architecture, or the user's own: FILE.py:CALLABLE, package.module:CALLABLE.
        hyperparameters: those of a registered architecture; the user's own has its arguments in `name`.
        seed: the seed of torch's global generator, whose state is restored afterwards.

    Raises:
        UsageError: the hyperparameters make no sense, or the module cannot be built.
        UnknownName: no architecture or hyperparameter has that name.
        UserCodeError: the user's code raises an exception.
    """
    import torch

    build, spelled = builder(name, hyperparameters)
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            return list(build().state_dict().items())
        except (RuntimeError, ValueError, OverflowError) as error:
            raise UsageError(f"{spelled} cannot be built: {one_line(error)}", "choose other hyperparameters") from error


def builder(name: str, hyperparameters: Mapping[str, object]) -> tuple[Callable[[], Module], str]:
    """Return a function that builds the module, and the model as it is written on the command line."""
    if user := USER_MODULE.fullmatch(name):
        if hyperparameters:
            raise UsageError(f"{name} takes its arguments in brackets", f"as in {name}({shown_all(hyperparameters)})")
        return load(name, user["source"], user["call"]).module, name
    architecture = architectures[name]
    values = checked(architecture, hyperparameters)
    return lambda: architecture.build(**values), f"{name}({shown_all(values)})"
