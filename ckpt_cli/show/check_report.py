"""How the report of `ckpt check` looks: a table of violations, one line where all holds, JSON, or SARIF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..checking import KINDS, Violation, format_of
from ..checking.checks import Asked, Report
from ..errors import number_of, shortened, with_short_names
from ..tensors.checkpoint import Checkpoint
from .answer import Answer, readable_size

_HEADER = ("KIND", "NAME", "WHAT")
_NOT_OF_TENSORS = ("code", "unread")
_CHECKED = ("tensors", "bytes", "checksums", "without", "finite")  # fields of the report, keys of the document


def show_violations(out: Answer, violations: Sequence[Violation]) -> None:
    """Write a record for each violation. The names of tensors are whole, as those of every record; what is said of them is short."""
    rows = ((kind, shortened(name) if kind in _NOT_OF_TENSORS else name, with_short_names(what)) for kind, name, what, _ in violations)
    out.table(_HEADER, rows)


def holds_line(path: str, asked: Asked, spec: str | None, report: Report) -> str:
    """Return one line that says what was checked, for a file of which all of it holds."""
    sums = f"{number_of(report.checksums, 'checksum')} right" if report.checksums else "no checksums in the file"
    parts = [number_of(report.tensors, "tensor"), f"{readable_size(report.bytes)} read", sums]
    if report.checksums and report.without:
        parts.append(f"{report.without:,} records without one")
    if report.finite:
        parts.append("all finite" if report.finite == report.tensors else f"{report.finite:,} of them finite")
    parts += ["no code named"] * asked.safe
    parts += [f"as in {what}" for what in (asked.arch, spec, asked.other_path) if what]
    return f"{path} holds: {', '.join(parts)}"


def report_document(path: str, checkpoint: Checkpoint | None, report: Report) -> dict[str, Any]:
    """Return the JSON document. `checkpoint`: None where the file is none."""
    violations = [{"kind": kind, "name": name, "what": what} | facts for kind, name, what, facts in report.violations]
    checked = {key: getattr(report, key) for key in _CHECKED}
    return {
        "path": path,
        "format": format_of(checkpoint) if checkpoint else "",
        "holds": not violations,
        "checked": checked,
        "violations": violations,
    }


def sarif_document(path: str, violations: Sequence[Violation]) -> dict[str, Any]:
    """Return the SARIF document."""
    from importlib.metadata import version

    from .sarif import Finding, sarif

    findings = [Finding(kind, facts.get("file") or path, name, what) for kind, name, what, facts in violations]
    return sarif(findings, path, KINDS, version("ckpt-tool"))
