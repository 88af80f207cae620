"""Code that a file names, which a program that loads it carelessly would run. Reading it here runs nothing."""

from __future__ import annotations

from collections.abc import Iterator

from ..formats import NamesCode, formats
from ..tensors.checkpoint import Checkpoint
from . import Violation, violation


def names_no_code(checkpoint: Checkpoint) -> Iterator[Violation]:
    """The classes and functions that the framework's safe loader would refuse to import."""
    form = formats[checkpoint.origin.format] if checkpoint.origin else None
    for path, name in form.imported_names(checkpoint) if isinstance(form, NamesCode) else ():
        yield violation(
            "code", name, "loading the file elsewhere imports it, and may call it; torch.load(weights_only=True) refuses it", file=path
        )
