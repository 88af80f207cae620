"""How a training looks: a row of a table that grows, notes on what is trained and what was written, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..formats import Savable
from ..tensors.checkpoint import Checkpoint
from ..training.descent import Line
from ..training.session import Session
from ..training.state import KEY
from .answer import Answer, note
from .summary_view import model_document, note_assumed


class LineTable:
    """The table of `ckpt train`, a row at a time: the loss, then the norms of each parameter and its gradient."""

    def __init__(self, out: Answer, session: Session) -> None:
        self._out = out
        self._names = session.names
        self._widths = [max(len("STEP"), len(str(session.run.stop))), 8, *(max(len(name), 12) for name in session.names)]

    def header(self) -> None:
        """Write the titles of the columns, on a terminal."""
        names = [f"{key}.{name}" for name in self._names for key in ("norms", "gradients")] if self._out.as_csv else self._names
        self._out.row(["step", "loss", *names] if self._out.as_csv else ["STEP", "LOSS", *names], self._widths, is_header=True)

    def add(self, line: Line) -> None:
        """Write a row."""
        self._out.row(_brief(line) if self._out.terminal else _exact(line), self._widths)


def _exact(line: Line) -> list[str]:
    pairs = zip(line.norms, line.gradients, strict=True)
    return [str(line.step), repr(line.loss), *(repr(number) for pair in pairs for number in pair)]


def _brief(line: Line) -> list[str]:
    pairs = zip(line.norms, line.gradients, strict=True)
    return [str(line.step), f"{line.loss:.4g}", *(f"{norm:.3g}/{'None' if slope is None else f'{slope:.3g}'}" for norm, slope in pairs)]


def note_start(session: Session, data_path: str | None) -> None:
    """Print the settings of the run."""
    run = session.run
    note_assumed(session.model)
    batches = f"{run.batch} at a time" if 0 < run.batch < len(session.data) else "all at each step"
    samples = f"{len(session.data):,} samples ({data_path or 'random'}), {batches}"
    note(f"sgd from step {run.start} to {run.stop}: lr {run.lr:g}, loss {run.loss}, {samples}; seed {run.seed}")


def note_written(session: Session, after: Checkpoint, target: str, form: Savable) -> None:
    """Print the step that was written, and whether --resume can go on from it."""
    if KEY in after.objects:
        note(f"{target}: step {session.run.stop}; --resume goes on from here")
    else:
        why = "a .pt has one" if not form.writes_new_objects else "a state dict has one: ckpt convert"
        note(f"{target}: step {session.run.stop}; no place for the state of the training ({why}), so --resume cannot go on from here")


def training_document(session: Session, lines: Sequence[Line], target: str | None, form: Savable) -> dict[str, Any]:
    """Return the JSON document; `target` is None if nothing was written."""
    run = session.run
    facts: dict[str, Any] = {"path": target, "format": form.name, "architecture": model_document(session.model)}
    facts |= {"seed": run.seed, "lr": run.lr, "batch": run.batch or None, "loss": run.loss, "samples": len(session.data)}
    return facts | {"parameters": session.names, "lines": [line._asdict() for line in lines]}
