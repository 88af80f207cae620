"""The classes and functions that the pickles of a file name, noted as they are read, so that no pickle is read twice to be asked."""

from __future__ import annotations

_MOST = 10_000
_named: dict[tuple[str, str], None] = {}


def note_name(module: str, name: str) -> None:
    """Note a class or function; names beyond ten thousand are left out."""
    if len(_named) < _MOST:
        _named[module, name] = None


def taken_names() -> tuple[tuple[str, str], ...]:
    """The names that were noted since the last call, each once, in their order."""
    if not _named:
        return ()
    names = tuple(_named)
    _named.clear()
    return names
