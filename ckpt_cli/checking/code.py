"""Code that a file names, which a program that loads it carelessly would run. Reading it here runs nothing."""

from __future__ import annotations

from collections.abc import Iterator

from ..formats import formats
from ..tensors.checkpoint import Checkpoint
from . import Violation, violation


def names_no_code(checkpoint: Checkpoint) -> Iterator[Violation]:
    """List the classes and functions that the safe loader of the framework would refuse to import."""
    for path, name in formats[checkpoint.origin.format].code(checkpoint) if checkpoint.origin else ():
        yield violation(
            "code", name, "loading the file elsewhere imports it, and may call it; torch.load(weights_only=True) refuses it", file=path
        )
