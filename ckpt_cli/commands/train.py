"""`ckpt train`: a few steps of plain SGD, watched."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .. import writing
from ..architectures.model import Model
from ..errors import CannotHold, UsageError, about
from ..formats import Savable
from ..show.output import Answer, note, verdict
from ..show.progress import Progress
from ..show.summary_view import model_document
from ..tensors.checkpoint import Checkpoint
from ..training import network
from ..training.descent import Data, Line, Run, descend, random_data, require_rate
from ..training.inputs import cast_input, read_npz
from ..training.losses import Loss, default_loss
from ..training.plot import picture, require_plottable
from ..training.state import KEY, State, read_state, with_state
from .editing import NOWHERE, Places, destination, placed, write
from .grad import Seed, note_assumed
from .params import Color, Colors, Json, Path, opened
from .reinit import any_seed
from .summary import Arch

if TYPE_CHECKING:
    from torch.nn import Module

Steps = Annotated[int, typer.Option("--steps", metavar="N", min=1, max=10**9, help="How many steps.", show_default=False)]
Rate = Annotated[float | None, typer.Option("--lr", metavar="R", help="The learning rate.", show_default=False)]
DataFile = Annotated[str | None, typer.Option("--data", metavar="FILE.npz", help="Arrays x and y, a sample a row.", show_default=False)]
Random = Annotated[bool, typer.Option("--random", help="64 standard normal samples and targets of the seed.")]
Every = Annotated[
    int | None, typer.Option("--every", metavar="K", min=1, help="A line every K steps; a tenth of them otherwise.", show_default=False)
]
Batch = Annotated[
    int | None, typer.Option("--batch", metavar="N", min=1, max=2**31, help="Samples a step; all otherwise.", show_default=False)
]
LossName = Annotated[
    Loss | None,
    typer.Option("--loss", help="What goes down; mse otherwise, or cross_entropy where y are whole numbers.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the step, with the settings, that ckpt train left in CKPT.")]
Plot = Annotated[
    str | None, typer.Option("--plot", metavar="FILE.png", help="Draw loss and norms over the steps (matplotlib).", show_default=False)
]


class Asked(NamedTuple):
    """What the command line says of the run; None where it says nothing."""

    steps: int
    lr: float | None
    every: int | None
    batch: int | None
    loss: str | None
    seed: int | None
    data: str | None
    resume: bool


@placed
def train_command(
    path: Path,
    steps: Steps,
    lr: Rate = None,
    data: DataFile = None,
    random: Random = False,
    every: Every = None,
    batch: Batch = None,
    loss: LossName = None,
    seed: Seed = None,
    resume: Resume = False,
    plot: Plot = None,
    arch: Arch = "auto",
    places: Places = NOWHERE,
    as_json: Json = False,
    color: Colors = Color.auto,
) -> None:
    """Make N steps of plain SGD with the recognised module, and print every K steps the loss and the norms of parameters and gradients.

    For watching small networks learn, not for training large ones: it runs on the CPU, in one thread, in the dtype of the file. What is
    tied is one parameter. The values take the place of the old ones; a .pt gets the state of the training beside them, as `training`, and
    --resume goes on from there, to the very bits of a run that was never interrupted, if --data or --random is the same. -n writes nothing.
    In a pipe: STEP, LOSS, then, for each parameter in the order of the file, what is tied once, its L2 norm and that of its gradient,
    tab-separated. A line is of the network after that many steps. On a terminal both norms stand in one column, as NORM/GRADIENT.
    """
    asked = Asked(steps, lr, every, batch, loss.value if loss else None, seed, data, resume)
    _check(asked, random, plot, places)
    before = opened(path, places.in_place)
    target, form = destination(before, places)
    with about(path):
        settings = _settings(before, asked)
        model = network.model_in(before, arch)
    out = Answer(as_json, color.value)
    with network.steady(settings.seed):
        with about(path):
            training = _begun(before, model, asked, settings)
            planned = training.result(form)
        if not places.dry_run:
            writing.check(planned, target, form, replace=places.in_place or places.force)
        with about(path):
            lines = _watched(training, asked, out)
        after = training.result(form)
    if not math.isfinite(lines[-1].loss):
        note(f"the loss is {lines[-1].loss}: a smaller --lr may do better")
    if not places.dry_run:
        write(after, target, form, replace=places.in_place or places.force, backup=places.backup)
        _tell_written(training, after, target, form)
    if plot is not None:
        writing.write_new(plot, [picture(plot, training.names, lines)], places.force)
    if as_json:
        out.json(_document(training, lines, None if places.dry_run else target, form))


def _check(asked: Asked, random: bool, plot: str | None, places: Places) -> None:
    """What is wrong with the command line, before anything is read."""
    if (asked.data is None) == (not random):
        raise UsageError("what should it learn?", "give --data FILE.npz, or --random")
    if asked.lr is None and not asked.resume:
        raise UsageError("at which rate should it learn?", "give --lr, such as --lr 0.1")
    if asked.resume and (asked.seed, asked.batch, asked.loss) != (None, None, None):
        raise UsageError("--seed, --batch and --loss are those of the run that is resumed", "leave them out, or leave out --resume")
    if plot is not None:
        require_plottable(plot)
        if os.path.lexists(plot) and not places.force:
            raise UsageError("the file is there already", "--force replaces it, or choose another name", plot)


def _settings(before: Checkpoint, asked: Asked) -> State:
    """Where the run begins: at the step that a former one came to, or at 0."""
    if asked.resume:
        state = read_state(before)
        return state if asked.lr is None else state._replace(lr=require_rate(asked.lr))
    seed = any_seed() if asked.seed is None else asked.seed
    return State(0, seed, asked.loss or "", asked.batch or 0, require_rate(asked.lr or 0.0))


class Training(NamedTuple):
    """A run over a module that has the values of `before`. `values` are the module's once the last step is made."""

    before: Checkpoint
    model: Model
    module: Module
    data: Data
    run: Run
    names: list[str]
    values: dict[str, Any]

    def keep(self) -> None:
        self.values.update({name: value.detach().clone() for name, value in network.all_tensors(self.module).items()})

    def result(self, form: Savable) -> Checkpoint:
        """The checkpoint with the values kept, and the state of the training where its format and its layout have a place for that."""
        run = self.run
        after = network.with_values(self.before, self.model, self.values)
        if not form.writes_new_objects:
            return after
        whole = with_state(after, State(run.stop, run.seed, run.loss, run.batch, run.lr), len(self.names))
        try:
            form.check_place(whole)
        except CannotHold:  # a whole pickled module: there is no dict to put it into
            form.check_place(after)
            return after
        return whole


def _begun(before: Checkpoint, model: Model, asked: Asked, settings: State) -> Training:
    """The module, its data, and the run as it is going to be. The seed of `settings` is in force."""
    module = network.load_module(before, model)
    if asked.data is not None:
        arrays = read_npz(asked.data)
        kind = settings.loss or default_loss(arrays.get("y"))
        if "y" not in arrays and kind != "sum":
            raise UsageError(f"there is no array y in it, which {kind} needs", "numpy.savez(FILE, x=…, y=…), or --loss sum", asked.data)
        data = Data(cast_input(arrays["x"], module), None if kind == "sum" else arrays["y"])
    else:
        kind = settings.loss or "mse"
        data = random_data(module, kind, settings.seed)
    every = asked.every or max(1, asked.steps // 10)
    run = Run(settings.step, asked.steps, settings.lr, settings.batch, kind, settings.seed, every)
    return Training(before, model, module, data, run, [model.prefix + name for name, _ in module.named_parameters()], {})


def _tell(training: Training, asked: Asked) -> None:
    run = training.run
    note_assumed(training.model)
    size = f"{run.batch} at a time" if 0 < run.batch < len(training.data) else "all at each step"
    source = asked.data or "random"
    samples = f"{len(training.data):,} samples ({source}), {size}"
    note(f"sgd from step {run.start} to {run.stop}: lr {run.lr:g}, loss {run.loss}, {samples}; seed {run.seed}")


def _watched(training: Training, asked: Asked, out: Answer) -> list[Line]:
    """Make the steps, and show the lines as they come, unless they are asked for as JSON. A reader that goes away does not end the run."""
    widths = [max(len("STEP"), len(str(training.run.stop))), 8, *(max(len(name), 12) for name in training.names)]
    lines: list[Line] = []
    with Progress("steps") as progress:
        for line in descend(training.module, training.data, training.run, progress, training.keep):
            if not lines:
                _tell(training, asked)
            lines.append(line)
            progress.clear()
            with verdict():
                if len(lines) == 1 and not out.as_json:
                    out.row(["STEP", "LOSS", *training.names], widths, is_header=True)
                if not out.as_json:
                    out.row(_brief(line) if out.terminal else _exact(line), widths)
    return lines


def _exact(line: Line) -> list[str]:
    pairs = zip(line.norms, line.gradients, strict=True)
    return [str(line.step), repr(line.loss), *(repr(number) for pair in pairs for number in pair)]


def _brief(line: Line) -> list[str]:
    pairs = zip(line.norms, line.gradients, strict=True)
    return [str(line.step), f"{line.loss:.4g}", *(f"{norm:.3g}/{'None' if slope is None else f'{slope:.3g}'}" for norm, slope in pairs)]


def _tell_written(training: Training, after: Checkpoint, target: str, form: Savable) -> None:
    if KEY in after.objects:
        note(f"{target}: step {training.run.stop}; --resume goes on from here")
    else:
        why = "a .pt has one" if not form.writes_new_objects else "a state dict has one: ckpt convert"
        note(f"{target}: step {training.run.stop}; no place for the state of the training ({why}), so --resume cannot go on from here")


def _document(training: Training, lines: list[Line], target: str | None, form: Savable) -> dict[str, Any]:
    run = training.run
    facts: dict[str, Any] = {"path": target, "format": form.name, "architecture": model_document(training.model)}
    facts |= {"seed": run.seed, "lr": run.lr, "batch": run.batch or None, "loss": run.loss, "samples": len(training.data)}
    return facts | {"parameters": training.names, "lines": [line._asdict() for line in lines]}
