"""`ckpt train`: make a few steps of plain SGD, and print what they do."""

from __future__ import annotations

import math
import os
from typing import Annotated, NamedTuple

import typer

from .. import writing
from ..errors import UsageError, about
from ..show.answer import Answer, Color, note, verdict
from ..show.progress import Progress
from ..show.training_lines import LineTable, note_start, note_written, training_document
from ..tensors.checkpoint import Checkpoint
from ..training import network
from ..training.descent import Line, require_rate
from ..training.losses import Loss
from ..training.plot import picture, require_plottable
from ..training.session import Session, begin
from ..training.state import State, read_state
from .editing import Destination, open_to_edit, target_and_format, write
from .params import (
    Backup,
    Colors,
    Csv,
    DryRun,
    Force,
    FormatName,
    InPlace,
    Json,
    ModelArch,
    Out,
    Path,
    Seed,
    random_seed,
)

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
    arch: ModelArch = "auto",
    output: Out = None,
    in_place: InPlace = False,
    dry_run: DryRun = False,
    force: Force = False,
    backup: Backup = None,
    format_name: FormatName = None,
    as_json: Json = False,
    as_csv: Csv = False,
    color: Colors = Color.auto,
) -> None:
    """Make N steps of plain SGD with the recognised module, and print every K steps the loss and the norms of parameters and gradients.

    For watching small networks learn, not for training large ones: it runs on the CPU, in one thread, in the dtype of the file. What is
    tied is one parameter. The values take the place of the old ones; a .pt gets the state of the training beside them, as `training`, and
    --resume goes on from there, to the very bits of a run that was never interrupted, if --data or --random is the same. -n writes nothing.
    In a pipe: STEP, LOSS, then, for each parameter in the order of the file, what is tied once, its L2 norm and that of its gradient,
    tab-separated. A line is of the network after that many steps. On a terminal both norms stand in one column, as NORM/GRADIENT.
    """
    to = Destination(output, in_place, dry_run, force, backup, format_name)
    request = Request(steps, lr, every, batch, loss.value if loss else None, seed, data, resume, plot, arch)
    _check(request, random, to)
    _train(path, request, to, Answer(as_json, color, as_csv))


class Request(NamedTuple):
    """What the command line says of the run; None where it says nothing."""

    steps: int
    lr: float | None
    every: int | None
    batch: int | None
    loss: str | None
    seed: int | None
    data: str | None
    resume: bool
    plot: str | None
    arch: str


def _check(request: Request, random: bool, to: Destination) -> None:
    """Raise UsageError for a command line that makes no sense, before anything is read."""
    if (request.data is None) == (not random):
        raise UsageError("what should it learn?", "give --data FILE.npz, or --random")
    if request.lr is None and not request.resume:
        raise UsageError("at which rate should it learn?", "give --lr, such as --lr 0.1")
    if request.resume and (request.seed, request.batch, request.loss) != (None, None, None):
        raise UsageError("--seed, --batch and --loss are those of the run that is resumed", "leave them out, or leave out --resume")
    if request.plot is not None:
        require_plottable(request.plot)
        if os.path.lexists(request.plot) and not to.force:
            raise UsageError("the file is there already", "--force replaces it, or choose another name", request.plot)


def _train(path: str, request: Request, to: Destination, out: Answer) -> None:
    before = open_to_edit(path, to)
    target, form, folder = target_and_format(before, to)
    with about(path):
        settings = _settings(before, request)
        model = network.model_in(before, request.arch)
    with network.steady(settings.seed):
        with about(path):
            session = begin(before, model, settings, request.steps, request.every, request.data)
            planned = session.result(form)
        if not to.dry_run:
            writing.check_saving(planned, target, form, replace=to.replaces, folder=folder.written() if folder else None)
        with about(path):
            lines = _watched(session, request, out)
        after = session.result(form)
    if not math.isfinite(lines[-1].loss):
        note(f"the loss is {lines[-1].loss}: a smaller --lr may do better")
    if not to.dry_run:
        write(after, target, form, replace=to.replaces, backup=to.backup, folder=folder)
        note_written(session, after, target, form)
    if request.plot is not None:
        writing.write_new(request.plot, [picture(request.plot, session.names, lines)], to.force)
    if out.as_json:
        out.json(training_document(session, lines, None if to.dry_run else target, form))


def _settings(before: Checkpoint, request: Request) -> State:
    """Return the state to begin at: the one that an earlier run left in the file, or step 0."""
    if request.resume:
        state = read_state(before)
        return state if request.lr is None else state._replace(lr=require_rate(request.lr))
    seed = random_seed() if request.seed is None else request.seed
    return State(0, seed, request.loss or "", request.batch or 0, require_rate(request.lr or 0.0))


def _watched(session: Session, request: Request, out: Answer) -> list[Line]:
    """Make the steps, and show each line at once, unless the answer is JSON. A reader that goes away does not end the run."""
    table = LineTable(out, session)
    lines: list[Line] = []
    with Progress("steps") as progress:
        for line in session.lines(progress):
            if not lines:
                note_start(session, request.data)
            lines.append(line)
            progress.clear()
            with verdict():
                if len(lines) == 1 and not out.as_json:
                    table.header()
                if not out.as_json:
                    table.add(line)
    return lines
