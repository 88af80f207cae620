"""`ckpt check`: verify a file; exit status 1 if it is damaged or not what it should be."""

from __future__ import annotations

from typing import Annotated

import typer

from ..checking import Violation, violation
from ..checking.checks import Asked, Report, verify
from ..checking.names import prefix_hint
from ..checking.spec import read_spec
from ..errors import CkptError, UnknownFormat, UsageError, about
from ..show.answer import Answer, Color, note, note_later, verdict
from ..show.check_report import holds_line, report_document, sarif_document, show_violations
from ..show.progress import Progress
from ..tensors.checkpoint import Checkpoint
from .params import Colors, Csv, IgnoreIndex, Json, Path, Patterns, layers_of, open_checkpoint

Finite = Annotated[bool, typer.Option("--finite", help="No element is NaN or infinite.")]
Safe = Annotated[bool, typer.Option("--safe", help="Loading it elsewhere runs no code: it names no class or function outside a safe list.")]
WantedArch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="auto|NAME|LIBRARY:NAME|FILE.py:CALLABLE",
        help="Names and shapes are those of this architecture.",
        show_default=False,
    ),
]
SpecFile = Annotated[
    str | None,
    typer.Option("--spec", metavar="FILE.toml", help="All that this file says; `ckpt spec` writes one.", show_default=False),
]
NamesFrom = Annotated[
    str | None, typer.Option("--same-names-as", metavar="OTHER", help="It has the names that this checkpoint has.", show_default=False)
]
Sarif = Annotated[bool, typer.Option("--sarif", help="One SARIF 2.1.0 document, for code scanning.")]


def check_command(
    path: Path,
    patterns: Patterns = None,
    finite: Finite = False,
    safe: Safe = False,
    arch: WantedArch = None,
    spec: SpecFile = None,
    same_names_as: NamesFrom = None,
    ignore_index: IgnoreIndex = False,
    as_json: Json = False,
    as_csv: Csv = False,
    as_sarif: Sarif = False,
    color: Colors = Color.auto,
) -> int:
    """Check CKPT: it opens, every byte of it can be read, its checksums are right; and what the options ask. Nothing is written.

    Exit status: 0 all holds, 1 something does not, 2 it cannot be opened at all. With a PATTERN, only those tensors are checked.
    In a pipe a record a violation: KIND, NAME, WHAT, tab-separated, and nothing where all holds; NAME is a tensor's, or that of a record
    of the file whose checksum is wrong. docs/checking.md has the kinds, the keys of a spec and of --json.
    """
    _check_form(as_sarif, as_json, as_csv)
    out = Answer(as_json or as_sarif, color, as_csv)
    try:
        checkpoint = _opened(path, out, as_sarif and not safe, ignore_index)
    except CkptError as error:
        found = _code_in(path, error, alone=not (patterns or finite or arch or spec or same_names_as)) if safe else None
        if found is None:
            raise
        return _show_code(out, path, found, as_json, as_sarif)
    other = open_checkpoint(same_names_as) if same_names_as else None
    wanted = read_spec(spec) if spec else None
    asked = Asked(patterns or [], finite, arch or "", wanted, other, same_names_as or "", safe, not ignore_index, _note_later)
    with about(path), Progress() as progress:
        report = verify(checkpoint, asked, layers_of(checkpoint, arch or "auto"), progress)
    with verdict():
        if as_sarif or as_json:
            out.json(sarif_document(path, report.violations) if as_sarif else report_document(path, checkpoint, report))
        else:
            _show(out, checkpoint, report, holds_line(path, asked, spec, report))
    return 1 if report.violations else 0


def _check_form(as_sarif: bool, as_json: bool, as_csv: bool) -> None:
    """Raise UsageError where the answer is wanted in two forms."""
    if as_sarif and (as_json or as_csv):
        raise UsageError(f"--{'json' if as_json else 'csv'} and --sarif are two documents", "choose one")


def _note_later(text: str) -> None:
    note_later([text])


def _opened(path: str, out: Answer, as_sarif: bool, ignore_index: bool) -> Checkpoint:
    """Open the checkpoint. With --sarif, an error is written as a finding too: the services that read SARIF refuse an empty file."""
    try:
        with about(path):
            return open_checkpoint(path, index="ignore" if ignore_index else "report")
    except CkptError as error:
        if as_sarif:
            what = f"{error.what} ({error.mend})" if error.mend else error.what
            out.json(sarif_document(path, [violation("unreadable", "", what, file=error.where)]))
        raise


def _code_in(path: str, error: CkptError, alone: bool) -> list[Violation] | None:
    """Search what is no checkpoint for code. None where nothing in it could be loaded, so that `error` is the answer.

    Args:
        path: What does not open.
        error: Why it does not.
        alone: Nothing besides --safe was asked, so that a file that is no checkpoint may hold.
    """
    from ..checking.code import code_in

    try:
        with about(path):
            found = code_in(path)
    except CkptError:
        return None
    if found is not None and not (alone and isinstance(error, UnknownFormat)):
        found.append(violation("unreadable", "", f"{error.what} ({error.mend})" if error.mend else error.what, file=error.where))
    return found


def _show_code(out: Answer, path: str, found: list[Violation], as_json: bool, as_sarif: bool) -> int:
    with verdict():
        if as_sarif:
            out.json(sarif_document(path, found))
        elif as_json:
            out.json(report_document(path, None, Report(found, 0, 0, 0, 0, 0)))
        elif found or out.as_csv:
            show_violations(out, found)
        elif out.terminal:
            out.lines([f"{path} holds: no checkpoint, no code named"])
    return 1 if found else 0


def _show(out: Answer, checkpoint: Checkpoint, report: Report, all_holds: str) -> None:
    if report.violations or out.as_csv:
        show_violations(out, report.violations)
        if hint := prefix_hint(checkpoint, report.violations):
            note(hint)
    elif out.terminal:
        out.lines([all_holds])
