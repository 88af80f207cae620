"""Plain stochastic gradient descent, a line at a time: w ← w − lr·∂loss/∂w, bit for bit as torch.optim.SGD(lr=…) computes it.

All randomness depends on the seed and the number of the step alone (the order of the samples on the number of the pass), so a resumed run
has the bits of a run that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UsageError
from ..schemes.seeds import generator, subseed
from .gradients import backpropagate, figures
from .inputs import random_input, sample_shape
from .losses import Loss, loss, require_output, target_shape
from .network import usage_errors

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

RANDOM_SAMPLES = 64


class Run(NamedTuple):
    """The settings of a run.

    Attributes:
        start: the step that it begins at.
        steps: how many steps it makes.
        lr: the learning rate.
        batch: samples a step; 0: all.
        loss: the name of a Loss.
        seed: of all that is random.
        every: a line is shown every so many steps.
    """

    start: int
    steps: int
    lr: float
    batch: int
    loss: str
    seed: int
    every: int

    @property
    def stop(self) -> int:
        """The step that it ends at."""
        return self.start + self.steps

    def shows(self, step: int) -> bool:
        """Return whether there is a line after this step."""
        return step in (self.start, self.stop) or step % self.every == 0


class Data(NamedTuple):
    """Samples along the first axis, and their targets where the loss takes any. Targets of another count belong to every batch."""

    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        return self.x.shape[0]

    def batch(self, step: int, size: int, seed: int) -> tuple[Tensor, Tensor | None]:
        """Return the samples and targets of a step: all of them, or its share of a pass over them in random order.

        Args:
            step: the number of the step, from 0.
            size: samples a step; 0: all.
            seed: the seed of the run.
        """
        import torch

        if not size or size >= len(self):
            return self.x, self.y
        number, at = divmod(step, -(-len(self) // size))
        order = torch.randperm(len(self), generator=generator(subseed(seed, f"pass {number}")))
        picked = order[at * size : (at + 1) * size]
        split = self.y is not None and self.y.ndim and len(self.y) == len(self)
        return self.x[picked], self.y[picked] if self.y is not None and split else self.y


class Line(NamedTuple):
    """The network after `step` steps: the loss, and each parameter's L2 norm and that of its gradient (None where it has none)."""

    step: int
    loss: float
    norms: tuple[float, ...]
    gradients: tuple[float | None, ...]


def random_data(module: Module, kind: str, seed: int) -> Data:
    """Return 64 random samples and targets of the shapes that the network takes and returns.

    Samples and the targets of `mse` are standard normal; the targets of `cross_entropy` are classes, each as likely; `sum` has none.

    Raises:
        UsageError: the first layer does not tell the shape of a sample, or the network does not take it.
    """
    import torch

    x = random_input(sample_shape(str(RANDOM_SAMPLES), module), module, seed)
    if kind == Loss.sum:
        return Data(x, None)
    training = module.training
    with torch.no_grad(), usage_errors("the network does not take this input"):
        output = module.eval()(x)
    module.train(training)
    output = require_output(kind, output)
    random = generator(subseed(seed, "target"))
    if kind == Loss.mse:
        return Data(x, torch.randn(output.shape, generator=random).to(output.dtype))
    classes = output.shape[1] if output.ndim > 1 else output.shape[0]
    return Data(x, torch.randint(classes, target_shape(kind, tuple(output.shape), False), generator=random))


def descend(module: Module, data: Data, run: Run, tick: Callable[[int, int], None], keep: Callable[[], None]) -> Iterator[Line]:
    """Make the steps, and yield the lines that the run shows.

    Args:
        module: the network; its parameters are changed.
        data: what it learns.
        run: the settings.
        tick: called with the steps made and the steps in all.
        keep: called when the last step is made; what is computed afterwards is for the last line alone.

    Raises:
        UsageError: the network does not take the data.
    """
    import torch

    parameters: list[Tensor] = list(module.parameters())
    for step in range(run.start, run.stop + 1):
        if step == run.stop:
            keep()
        torch.manual_seed(subseed(run.seed, f"step {step}"))
        x, y = data.batch(step, run.batch, run.seed)
        with usage_errors("the network does not take this input"):
            output = module(x)
        value = loss(run.loss, output, y)
        module.zero_grad()
        backpropagate(value)
        if run.shows(step):
            yield line_of(step, value, parameters)
        tick(step - run.start, run.steps)
        if step < run.stop:
            sgd_step(parameters, run.lr)


def line_of(step: int, value: Tensor, parameters: list[Tensor]) -> Line:
    """Return the line of this step; `value` is the loss."""
    norms = tuple(figures(parameter).norm for parameter in parameters)
    gradients = tuple(None if parameter.grad is None else figures(parameter.grad.to_dense()).norm for parameter in parameters)
    return Line(step, float(value.detach()), norms, gradients)


def sgd_step(parameters: list[Tensor], lr: float) -> None:
    """Subtract lr times its gradient from each parameter."""
    import torch

    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-lr)


def require_rate(lr: float) -> float:
    """Return the learning rate.

    Raises:
        UsageError: it is NaN or infinite.
    """
    if lr != lr or abs(lr) == float("inf"):
        raise UsageError(f"--lr {lr} is no rate", "give a number, such as 0.1")
    return lr
