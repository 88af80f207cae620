"""Everything that `ckpt check` verifies of a checkpoint: first what its header tells, then what takes reading its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..formats import PartSet, formats
from ..tensors.blocks import Progress
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, Named, no_layers, select
from . import Violation, violation
from .against_spec import Matched, header_violations, match, value_violations
from .index import as_index
from .integrity import integrity, not_finite
from .names import as_architecture, as_other
from .spec import Spec
from .unread import not_numbers, undecoded


class Asked(NamedTuple):
    """What must hold of a checkpoint, besides that all its bytes can be read and its checksums are right.

    Attributes:
        patterns: Check these tensors alone, and nothing that is about the whole file.
        finite: No element is NaN or infinite.
        arch: Names and shapes are those of this architecture; empty for any.
        spec: All that this spec says.
        other: The names are those of this checkpoint.
        other_path: What a violation calls `other`.
        safe: The file names no class or function that the framework's safe loader would refuse.
        by_index: Its index, where it has one, says what is there.
        told: Is given notes: what could not be compared, and why.
    """

    patterns: Sequence[str] = ()
    finite: bool = False
    arch: str = ""
    spec: Spec | None = None
    other: Checkpoint | None = None
    other_path: str = ""
    safe: bool = False
    by_index: bool = True
    told: Callable[[str], None] = lambda note: None


class Report(NamedTuple):
    """What does not hold, and how much was checked.

    Attributes:
        violations: Each thing that does not hold.
        tensors: The number of tensors that were checked.
        bytes: The number of bytes that were read for their checksums.
        checksums: The number of records that were compared with a checksum.
        without: The number of records that have a place for a checksum, and none in it.
        finite: The number of tensors that had to be finite.
    """

    violations: list[Violation]
    tensors: int
    bytes: int
    checksums: int
    without: int
    finite: int


_ABOUT_THE_WHOLE_FILE = ("code", "architecture", "count", "params")


def verify(checkpoint: Checkpoint, asked: Asked, layers: Layers = no_layers, progress: Progress | None = None) -> Report:
    """Verify a checkpoint: its bytes, and what is `asked`.

    Args:
        checkpoint: The checkpoint; its values are read here.
        asked: What must hold.
        layers: Gives the types of layers, for patterns `@Type`.
        progress: Called with the bytes done and the bytes in all.

    Raises:
        NoMatch: A pattern matches none of the tensors, nor of the names that the file lacks.
    """
    matched = match(checkpoint, asked.spec, layers) if asked.spec else None
    violations = _header_violations(checkpoint, asked, matched)
    missing = [violation.name for violation in violations if violation.kind == "missing"]
    picked = select(Named([*checkpoint, *missing], checkpoint), asked.patterns, layers)
    if asked.patterns:
        kept = set(picked)
        violations = [each for each in violations if each.name in kept and each.kind not in _ABOUT_THE_WHOLE_FILE]
    names = [name for name in picked if name in checkpoint]
    finite = names if asked.finite else matched.to_be_finite(names) if matched else []
    read = integrity(checkpoint, names, every=not asked.patterns, finite=bool(finite), progress=progress)
    violations += read.violations
    violations += _differing_copies(checkpoint, names)
    readable = [name for name in names if name not in read.unreadable]
    violations += not_finite(checkpoint, [name for name in finite if name not in read.unreadable], read.finite, progress)
    if matched:
        violations += value_violations(checkpoint, matched, readable, progress)
    if not asked.patterns:
        violations += undecoded(checkpoint, values=bool(asked.finite or asked.spec))
    violations += not_numbers(checkpoint, finite)
    return Report(violations, len(names), read.bytes, read.checksums, read.without, len(finite))


def _differing_copies(checkpoint: Checkpoint, names: Sequence[str]) -> list[Violation]:
    """The tensors that parts of one checkpoint hold alike, and that are not alike."""
    form = formats[checkpoint.origin.format] if checkpoint.origin else None
    copies = form.differing_copies(checkpoint, names) if isinstance(form, PartSet) else ()
    what = "its values in {} are others than in the first part that has it"
    return [violation("copies", name, what.format(path), file=path) for name, path in copies]


def _header_violations(checkpoint: Checkpoint, asked: Asked, matched: Matched | None) -> list[Violation]:
    violations: list[Violation] = []
    if asked.by_index:
        violations += as_index(checkpoint)
    if asked.safe:
        from .code import names_no_code  # it takes the room that searches containers

        violations += names_no_code(checkpoint)
    if asked.arch:
        violations += as_architecture(checkpoint, asked.arch, asked.told)
    if asked.other is not None:
        violations += as_other(checkpoint, asked.other, asked.other_path)
    if matched:
        violations += header_violations(checkpoint, matched)
    return violations
