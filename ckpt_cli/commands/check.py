"""`ckpt check`: whether a checkpoint is whole, and is what it should be; exit 1 where it is not."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..checking import KINDS, Violation, format_of, violation
from ..checking.checks import Asked, Report, verify
from ..checking.names import prefix_hint
from ..checking.spec import read_spec
from ..errors import CkptError, UsageError, about
from ..show.output import Answer, note, size, verdict
from ..show.progress import Progress
from ..tensors.checkpoint import Checkpoint
from .params import Color, Colors, Json, Path, Patterns, layers_of, opened

Arch = Annotated[
    str | None,
    typer.Option("--arch", metavar="NAME|FILE.py:CALLABLE", help="Names and shapes are those of this architecture.", show_default=False),
]
SpecFile = Annotated[
    str | None,
    typer.Option("--spec", metavar="FILE.toml", help="All that this file says; `ckpt spec` writes one.", show_default=False),
]
Other = Annotated[
    str | None, typer.Option("--same-names-as", metavar="OTHER", help="It has the names that this checkpoint has.", show_default=False)
]


def check_command(
    path: Path,
    patterns: Patterns = None,
    finite: Annotated[bool, typer.Option("--finite", help="No element is NaN or infinite.")] = False,
    safe: Annotated[bool, typer.Option("--safe", help="It names no code: torch.load(weights_only=True) would take its classes.")] = False,
    arch: Arch = None,
    spec: SpecFile = None,
    same_names_as: Other = None,
    as_json: Json = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="One SARIF 2.1.0 document, for code scanning.")] = False,
    color: Colors = Color.auto,
) -> int:
    """Check CKPT: it opens, every byte of it can be read, its checksums are right; and what the options ask. Nothing is written.

    Exit status: 0 all holds, 1 something does not, 2 it cannot be opened at all. With a PATTERN, only those tensors are checked.
    In a pipe a record a violation: KIND, NAME, WHAT, tab-separated, and nothing where all holds; NAME is a tensor's, or that of a record
    of the file whose checksum is wrong. docs/checking.md has the kinds, the keys of a spec and of --json.
    """
    if as_json and as_sarif:
        raise UsageError("--json and --sarif are two documents", "choose one")
    out = Answer(as_json or as_sarif, color.value)
    checkpoint = _opened(path, out, as_sarif)
    other = opened(same_names_as) if same_names_as else None
    asked = Asked(patterns or [], finite, arch or "", read_spec(spec) if spec else None, other, same_names_as or "", safe)
    with about(path), Progress() as progress:
        report = verify(checkpoint, asked, layers_of(checkpoint, arch or "auto"), progress)
    with verdict():
        if as_sarif:
            out.json(_sarif(path, report.violations))
        elif as_json:
            out.json(_document(path, checkpoint, report))
        elif report.violations:
            out.table(("KIND", "NAME", "WHAT"), (found[:3] for found in report.violations))
            if hint := prefix_hint(checkpoint, report.violations):
                note(hint)
        elif out.terminal:
            out.lines([_told(path, asked, spec, report)])
    return 1 if report.violations else 0


def _opened(path: str, out: Answer, as_sarif: bool) -> Checkpoint:
    """The checkpoint. What cannot be opened is an error, and for SARIF a finding, too: its readers take no empty file."""
    try:
        with about(path):
            return opened(path)
    except CkptError as error:
        if as_sarif:
            what = f"{error.what} ({error.mend})" if error.mend else error.what
            out.json(_sarif(path, [violation("unreadable", "", what, file=error.where)]))
        raise


def _told(path: str, asked: Asked, spec: str | None, report: Report) -> str:
    """One line of what was checked, where all of it holds."""
    sums = f"{report.checksums:,} checksum{'s' * (report.checksums != 1)} right" if report.checksums else "no checksums in the file"
    parts = [f"{report.tensors:,} tensor{'s' * (report.tensors != 1)}", f"{size(report.bytes)} read", sums]
    if report.checksums and report.without:
        parts.append(f"{report.without:,} records without one")
    if report.finite:
        parts.append("all finite" if report.finite == report.tensors else f"{report.finite:,} of them finite")
    parts += ["no code named"] * asked.safe
    parts += [f"as in {what}" for what in (asked.arch, spec, asked.other_path) if what]
    return f"{path} holds: {', '.join(parts)}"


def _document(path: str, checkpoint: Checkpoint, report: Report) -> dict[str, Any]:
    violations = [{"kind": kind, "name": name, "what": what} | facts for kind, name, what, facts in report.violations]
    checked = {key: getattr(report, key) for key in ("tensors", "bytes", "checksums", "without", "finite")}
    return {"path": path, "format": format_of(checkpoint), "holds": not violations, "checked": checked, "violations": violations}


def _sarif(path: str, violations: list[Violation]) -> dict[str, Any]:
    from importlib.metadata import version

    from ..show.sarif import Finding, sarif

    findings = [Finding(kind, facts.get("file") or path, name, what) for kind, name, what, facts in violations]
    return sarif(findings, path, KINDS, version("ckpt-tool"))
