"""A training as one thing: the module with the values of a checkpoint, its data, its run, and the checkpoint that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..architectures.model import Model
from ..errors import CannotHold, UsageError
from ..formats import Savable
from ..tensors.checkpoint import Checkpoint
from . import network
from .descent import Data, Line, Run, descend, random_data
from .inputs import cast_input, read_npz
from .losses import default_loss
from .state import State, with_state

if TYPE_CHECKING:
    from torch.nn import Module


class Session(NamedTuple):
    """A run over a module that has the values of `before`. `values` are filled when the last step is made."""

    before: Checkpoint
    model: Model
    module: Module
    data: Data
    run: Run
    names: list[str]
    values: dict[str, Any]

    def lines(self, progress: Callable[[int, int], None]) -> Iterator[Line]:
        """Make the steps, and yield the lines that the run shows. `progress` is called with the steps made and all steps."""
        return descend(self.module, self.data, self.run, progress, self._keep)

    def _keep(self) -> None:
        self.values.update({name: value.detach().clone() for name, value in network.all_tensors(self.module).items()})

    def result(self, form: Savable) -> Checkpoint:
        """Return the checkpoint with the trained values, and with the state of the training if the format and its layout can hold it."""
        run = self.run
        after = network.with_values(self.before, self.model, self.values)
        if not form.writes_new_objects:
            return after
        checkpoint = with_state(after, State(run.stop, run.seed, run.loss, run.batch, run.lr), len(self.names))
        try:
            form.check_place(checkpoint)
        except CannotHold:  # a whole pickled module has no dict for the state
            form.check_place(after)
            return after
        return checkpoint


def begin(before: Checkpoint, model: Model, settings: State, steps: int, every: int | None, data_path: str | None) -> Session:
    """Build the module and its data, with torch's global generator at the seed of `settings`.

    Args:
        before: The checkpoint whose values the module gets.
        model: The model in it.
        settings: The step to begin at, and the seed, loss, batch size and rate of the run. An empty loss is chosen by the data.
        steps: How many steps are made.
        every: A line is shown every so many steps; None for a tenth of them.
        data_path: A .npz file with the arrays x and y; None for random data.

    Raises:
        UsageError: If the data do not fit the module or the loss.
    """
    module = network.load_module(before, model)
    data, loss = _random(module, settings) if data_path is None else _from_file(module, settings, data_path)
    run = Run(settings.step, steps, settings.lr, settings.batch, loss, settings.seed, every or max(1, steps // 10))
    return Session(before, model, module, data, run, [model.prefix + name for name, _ in module.named_parameters()], {})


def _random(module: Module, settings: State) -> tuple[Data, str]:
    loss = settings.loss or "mse"
    return random_data(module, loss, settings.seed), loss


def _from_file(module: Module, settings: State, path: str) -> tuple[Data, str]:
    arrays = read_npz(path)
    loss = settings.loss or default_loss(arrays.get("y"))
    if "y" not in arrays and loss != "sum":
        raise UsageError(f"there is no array y in it, which {loss} needs", "numpy.savez(FILE, x=…, y=…), or --loss sum", path)
    return Data(cast_input(arrays["x"], module), None if loss == "sum" else arrays["y"]), loss
