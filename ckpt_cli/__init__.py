"""Look into, edit, compare and re-initialise model checkpoints.

    import ckpt_cli
    checkpoint = ckpt_cli.open("mlp.pt")             # the header; a mapping from names to tensors
    checkpoint["0.weight"].array()                   # reads those bytes
    ckpt_cli.save(ckpt_cli.tie(checkpoint, ["0.weight", "2.weight"]), "tied.safetensors")

A checkpoint is immutable; an edit returns a new one, and no data are read before `save`. Each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing's own would import `re` before __main__ has looked at the import path
if TYPE_CHECKING:
    from typing import Any

_MODULES = {
    "open": "reading",
    "Checkpoint": "tensors.checkpoint",
    "Tensor": "tensors.tensor",
    "CkptError": "errors",
    "select": "tensors.selection",
    "diff": "analysis.diff",
    "add": "edits.add",
    "cast": "edits.cast",
    "drop": "edits.drop",
    "reinit": "edits.reinit",
    "rename": "edits.rename",
    "set_values": "edits.set",
    "tie": "edits.tie",
    "untie": "edits.untie",
}

__all__ = ["save", *_MODULES]


def save(checkpoint: Any, path: str, *, format: str | None = None, force: bool = False) -> None:
    """Write a checkpoint, all or nothing.

    Args:
        checkpoint: what to write.
        path: the file or folder to write.
        format: the name of a format; without it, the suffix of `path` chooses one.
        force: replace what is there.

    Raises:
        CkptError: the format cannot hold something, or the file cannot be written.
    """
    from . import writing

    writing.save(checkpoint, path, writing.format_for(path, format), replace=force)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"ckpt_cli has no {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
