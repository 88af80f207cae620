"""The names of tensors that are added: free, and, where only case or Unicode form tells them from others, noted."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import EditError, first_few
from ...tensors.checkpoint import Checkpoint

_SHOWN = 10


def check_free(checkpoint: Checkpoint, names: Iterable[str], mend: str) -> None:
    """Check that nothing in the checkpoint has one of the names.

    Args:
        checkpoint: The checkpoint.
        names: The names of the new tensors.
        mend: What to do about a name that a tensor has.

    Raises:
        EditError: A tensor or an object is called so, or lies below a name; the first ten are listed.
    """
    new = list(names)
    taken = [name for name in new if name in checkpoint]
    if taken:
        raise EditError(f"{first_few(taken, _SHOWN)} {'is' if len(taken) == 1 else 'are'} there already", mend)
    objects = [name for name in new if name in checkpoint.objects or name in checkpoint.undecoded]
    if objects:
        raise EditError(f"{first_few(objects, _SHOWN)}: an object of the file is called so", "choose another name, or drop that first")


def look_alikes(checkpoint: Checkpoint, names: Iterable[str]) -> list[str]:
    """Return a line for each new name that differs from another one, old or new, by case or by Unicode normal form alone."""
    new = list(names)
    known: dict[str, str] = {}
    for name in (*checkpoint, *new):
        known.setdefault(_folded(name), name)
    lines = []
    for name in new:
        other = known[_folded(name)]
        if other != name:
            how = "case" if _normal(name) != _normal(other) else "Unicode normal form"
            lines.append(f"{name} differs from {other} by {how} alone")
    return lines


def _normal(name: str) -> str:
    from unicodedata import normalize

    return normalize("NFKC", name)


def _folded(name: str) -> str:
    return name.casefold() if name.isascii() else _normal(_normal(name).casefold())
