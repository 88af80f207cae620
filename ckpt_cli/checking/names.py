"""Names and shapes compared with those of an architecture, or of another checkpoint."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from ..architectures import recognition
from ..architectures.hyperparameters import shown_all
from ..architectures.mismatch import compare
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint
from . import Violation, violation

_PLAIN = re.compile(r"[\w.-]+")


def as_architecture(checkpoint: Checkpoint, arch: str) -> Iterator[Violation]:
    """List names that the architecture has and the file lacks, names that only the file has, and names whose shapes differ.

    Args:
        checkpoint: The checkpoint.
        arch: The name of the architecture; `auto` recognises it, `none` asks for nothing.
    """
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    model = recognition.resolve_arch(arch, shapes, checkpoint.ties(), checkpoint.layers)
    if model is None or not model.architecture:
        if arch != "none":
            yield violation("architecture", "", "no known architecture has these names and shapes")
        return
    shown = model.architecture + (f"({shown_all(model.hyperparameters)})" if model.hyperparameters else "")
    mismatch = compare(model, shapes)
    for name in mismatch.missing:
        yield violation("missing", name, f"{shown} has it: {show_shape(model.shapes[name[len(model.prefix) :]])}")
    for name in mismatch.unexpected:
        yield violation("unexpected", name, f"{shown} has none of this name")
    for name, ours, theirs in mismatch.mismatched:
        yield violation(
            "shape", name, f"{show_shape(theirs)}, not {show_shape(ours)} as in {shown}", shape=list(theirs), expected=list(ours)
        )


def as_other(checkpoint: Mapping[str, object], other: Mapping[str, object], path: str) -> Iterator[Violation]:
    """List the names that one of two checkpoints lacks. `path` is what violations call `other`."""
    for name in other:
        if name not in checkpoint:
            yield violation("missing", name, f"{path} has it")
    for name in checkpoint:
        if name not in other:
            yield violation("unexpected", name, f"{path} has none of this name")


def prefix_hint(checkpoint: Collection[str], violations: Iterable[Violation]) -> str:
    """Suggest a renaming if all names lack the same prefix, or all have it in excess; else return an empty text."""
    names: dict[str, list[str]] = {"missing": [], "unexpected": []}
    for each in violations:
        names.get(each.kind, []).append(each.name)
    missing, unexpected = names["missing"], names["unexpected"]
    if not 1 < len(missing) == len(unexpected) == len(checkpoint):
        return ""
    if prefix := _prefix(missing, unexpected):
        return f"all names lack {prefix!r} (ckpt rename CKPT '*={prefix}*')"
    if prefix := _prefix(unexpected, missing):
        return f"all names have {prefix!r} before them (ckpt rename CKPT '{prefix}*=*')"
    return ""


def _prefix(longer: list[str], shorter: list[str]) -> str:
    """The prefix that turns the names of `shorter` into those of `longer`; empty where there is none of plain characters."""
    prefix = longer[0][: max(map(len, longer)) - max(map(len, shorter))]
    return prefix if _PLAIN.fullmatch(prefix) and {prefix + name for name in shorter} == set(longer) else ""
