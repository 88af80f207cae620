"""All that `ckpt check` asks of a checkpoint: what its header tells first, then what takes reading its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..tensors.blocks import Progress
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, Named, no_layers, select
from . import Violation
from .against_spec import Matched, header_holds, matched, values_hold
from .code import names_no_code
from .integrity import integrity, not_finite
from .names import as_architecture, as_other
from .spec import Spec


class Asked(NamedTuple):
    """What is to hold. `patterns`: of these tensors alone, then nothing that is of the whole file is asked."""

    patterns: Sequence[str] = ()
    finite: bool = False
    arch: str = ""
    spec: Spec | None = None
    other: Checkpoint | None = None
    other_path: str = ""
    safe: bool = False


class Report(NamedTuple):
    """What does not hold, and how much was looked at. `without`: records that have a place for a checksum, and none in it."""

    violations: list[Violation]
    tensors: int
    bytes: int
    checksums: int
    without: int
    finite: int


_OF_THE_WHOLE = ("code", "architecture", "count", "params")


def check(checkpoint: Checkpoint, asked: Asked, layers: Layers = no_layers, progress: Progress | None = None) -> Report:
    """Raises NoMatch for a pattern that picks nothing of the file, and none of the names that it lacks."""
    found = matched(checkpoint, asked.spec, layers) if asked.spec else None
    violations = _of_header(checkpoint, asked, found)
    lacking = [violation.name for violation in violations if violation.kind == "missing"]
    picked = select(Named([*checkpoint, *lacking], checkpoint), asked.patterns, layers)
    if asked.patterns:
        kept = set(picked)
        violations = [each for each in violations if each.name in kept and each.kind not in _OF_THE_WHOLE]
    names = [name for name in picked if name in checkpoint]
    wanted = _to_be_finite(names, asked, found)
    read = integrity(checkpoint, names, every=not asked.patterns, finite=bool(wanted), progress=progress)
    violations += read.violations
    readable = [name for name in names if name not in read.unreadable]
    violations += not_finite(checkpoint, [name for name in wanted if name not in read.unreadable], read.finite, progress)
    if found:
        violations += values_hold(checkpoint, found, readable, progress)
    return Report(violations, len(names), read.bytes, read.checksums, read.without, len(wanted))


def _of_header(checkpoint: Checkpoint, asked: Asked, found: Matched | None) -> list[Violation]:
    violations: list[Violation] = []
    if asked.safe:
        violations += names_no_code(checkpoint)
    if asked.arch:
        violations += as_architecture(checkpoint, asked.arch)
    if asked.other is not None:
        violations += as_other(checkpoint, asked.other, asked.other_path)
    if found:
        violations += header_holds(checkpoint, found)
    return violations


def _to_be_finite(names: list[str], asked: Asked, found: Matched | None) -> list[str]:
    if asked.finite or (asked.spec and asked.spec.finite):
        return names
    wanted = found.wanting_finite() if found else set()
    return [name for name in names if name in wanted]
