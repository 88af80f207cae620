"""Plain stochastic gradient descent, a line at a time: w ← w − lr·∂loss/∂w, as torch.optim.SGD(lr=…) makes it, bit for bit.

What is random depends on the seed and the number of the step alone (the order of the samples on the number of the pass), so that going on
from a step that was kept gives the bits of a run that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UsageError
from ..schemes.seeds import generator, subseed
from .gradients import backpropagate, figures
from .inputs import drawn, sample_shape
from .losses import checked, loss, wanted_shapes
from .network import running

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

RANDOM_SAMPLES = 64


class Run(NamedTuple):
    """`steps` steps from step `start` on, of rate `lr`; `batch` samples at a time, all where it is 0; a line every `every` steps."""

    start: int
    steps: int
    lr: float
    batch: int
    loss: str
    seed: int
    every: int

    @property
    def stop(self) -> int:
        return self.start + self.steps

    def shows(self, step: int) -> bool:
        return step in (self.start, self.stop) or step % self.every == 0


class Data(NamedTuple):
    """Samples along the first axis, and their targets, where the loss takes any. Targets of another count are those of each batch."""

    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        return self.x.shape[0]

    def batch(self, step: int, size: int, seed: int) -> tuple[Tensor, Tensor | None]:
        """What step `step` sees: all samples, or its share of a pass over them in an order of its own."""
        import torch

        if not size or size >= len(self):
            return self.x, self.y
        number, at = divmod(step, -(-len(self) // size))
        order = torch.randperm(len(self), generator=generator(subseed(seed, f"pass {number}")))
        picked = order[at * size : (at + 1) * size]
        split = self.y is not None and self.y.ndim and len(self.y) == len(self)
        return self.x[picked], self.y[picked] if self.y is not None and split else self.y


class Line(NamedTuple):
    """After `step` steps: the loss, and by parameter the L2 norm of its values and of its gradient (None where there is none)."""

    step: int
    loss: float
    norms: tuple[float, ...]
    gradients: tuple[float | None, ...]


def random_data(module: Module, kind: str, seed: int) -> Data:
    """64 samples and targets, standard normal (classes: each as likely) of the seed, of the shapes that the network takes and gives."""
    import torch

    x = drawn(sample_shape(str(RANDOM_SAMPLES), module), module, seed)
    if kind == "sum":
        return Data(x, None)
    was = module.training
    with torch.no_grad(), running("the network does not take this input"):
        output = module.eval()(x)
    module.train(was)
    output = checked(kind, output)
    chance = generator(subseed(seed, "target"))
    if kind == "mse":
        return Data(x, torch.randn(output.shape, generator=chance).to(output.dtype))
    classes = output.shape[1] if output.ndim > 1 else output.shape[0]
    return Data(x, torch.randint(classes, wanted_shapes(kind, tuple(output.shape), False), generator=chance))


def descend(module: Module, data: Data, run: Run, tick: Callable[[int, int], None], keep: Callable[[], None]) -> Iterator[Line]:
    """Make the steps; yield the lines that the run shows. `tick` is told the steps made and to be made.

    `keep` is called when the last step is made: what is computed then is for the last line alone.
    Raises UsageError where the network does not take the data.
    """
    import torch

    parameters: list[Tensor] = list(module.parameters())
    for step in range(run.start, run.stop + 1):
        if step == run.stop:
            keep()
        torch.manual_seed(subseed(run.seed, f"step {step}"))
        x, y = data.batch(step, run.batch, run.seed)
        with running("the network does not take this input"):
            output = module(x)
        value = loss(run.loss, output, y)
        module.zero_grad()
        backpropagate(value)
        if run.shows(step):
            yield line(step, value, parameters)
        tick(step - run.start, run.steps)
        if step < run.stop:
            update(parameters, run.lr)


def line(step: int, value: Tensor, parameters: list[Tensor]) -> Line:
    norms = tuple(figures(parameter).norm for parameter in parameters)
    gradients = tuple(None if parameter.grad is None else figures(parameter.grad.to_dense()).norm for parameter in parameters)
    return Line(step, float(value.detach()), norms, gradients)


def update(parameters: list[Tensor], lr: float) -> None:
    import torch

    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-lr)


def check_rate(lr: float) -> float:
    if lr != lr or abs(lr) == float("inf"):
        raise UsageError(f"--lr {lr} is no rate", "give a number, such as 0.1")
    return lr
