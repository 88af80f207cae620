"""The classes and functions that the pickles of a file name, noted as they are read, so that no pickle is read twice to be asked."""

from __future__ import annotations

_MOST = 10_000
# What nearly every file of torch's names; it needs no note.
_STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_REBUILD = ("tensor", "tensor_v2", "parameter")
_USUAL = {("collections", "OrderedDict"), *(("torch._utils", f"_rebuild_{name}") for name in _REBUILD)}
_USUAL |= {("torch", f"{name}Storage") for name in _STORAGES}
_named: dict[tuple[str, str], None] = {}


def note_name(module: str, name: str) -> None:
    """Note a class or function, unless it is a usual one; names beyond ten thousand are left out."""
    if (module, name) not in _USUAL and len(_named) < _MOST:
        _named[module, name] = None


def taken_names() -> tuple[tuple[str, str], ...]:
    """The names that were noted since the last call, each once, in their order."""
    if not _named:
        return ()
    names = tuple(_named)
    _named.clear()
    return names
