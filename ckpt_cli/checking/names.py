"""Names and shapes held against those of an architecture, or of another checkpoint."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from ..architectures import recognition
from ..architectures.hyperparameters import shown_all
from ..architectures.mismatch import compare
from ..tensors.checkpoint import Checkpoint, show_shape
from . import Violation, violation

_PLAIN = re.compile(r"[\w.-]+")


def as_architecture(checkpoint: Checkpoint, arch: str) -> Iterator[Violation]:
    """What the file lacks of the architecture, has besides it, and has in another shape."""
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    model = recognition.resolve_arch(arch, shapes, checkpoint.ties(), checkpoint.layers)
    if model is None or not model.architecture:
        if arch != "none":
            yield violation("architecture", "", "no known architecture has these names and shapes")
        return
    told = model.architecture + (f"({shown_all(model.hyperparameters)})" if model.hyperparameters else "")
    found = compare(model, shapes)
    for name in found.missing:
        yield violation("missing", name, f"{told} has it: {show_shape(model.shapes[name[len(model.prefix) :]])}")
    for name in found.unexpected:
        yield violation("unexpected", name, f"{told} has none of this name")
    for name, ours, theirs in found.mismatched:
        yield violation(
            "shape", name, f"{show_shape(theirs)}, not {show_shape(ours)} as in {told}", shape=list(theirs), expected=list(ours)
        )


def as_other(checkpoint: Mapping[str, object], other: Mapping[str, object], path: str) -> Iterator[Violation]:
    """The names that one of the two lacks."""
    for name in other:
        if name not in checkpoint:
            yield violation("missing", name, f"{path} has it")
    for name in checkpoint:
        if name not in other:
            yield violation("unexpected", name, f"{path} has none of this name")


def prefix_hint(checkpoint: Collection[str], violations: Iterable[Violation]) -> str:
    """What makes all names right at once, where each lacks one and the same prefix, or has it in excess; else nothing."""
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
    """What the names of one list have before those of the other; empty where that is not one text, and a plain one."""
    prefix = longer[0][: max(map(len, longer)) - max(map(len, shorter))]
    return prefix if _PLAIN.fullmatch(prefix) and {prefix + name for name in shorter} == set(longer) else ""
