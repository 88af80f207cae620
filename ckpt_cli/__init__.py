"""Look into, edit, compare and re-initialise model checkpoints: what `ckpt` does in the shell, with the same words.

    import ckpt_cli as ckpt
    checkpoint = ckpt.open("mlp.pt")                                   # the header; a mapping from names to tensors
    checkpoint["0.weight"].array()                                     # reads those bytes
    edited = ckpt.set_values(checkpoint, ["0.weight += 1"])            # a new checkpoint; nothing is read
    ckpt.save(edited, "edited.safetensors")
    model.load_state_dict(edited.state_dict())

A checkpoint is immutable; an edit returns a new one, and no values are read before `save`. Each name is imported when it is first used.
docs/python.md shows all of it by example.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing's own would import `re` before __main__ has looked at the import path
if TYPE_CHECKING:
    from typing import Any

    from .analysis.diff import Difference
    from .analysis.figures import Figures
    from .errors import CkptError
    from .interface.edits import (
        add,
        apply,
        cast,
        drop,
        map,
        reinit,
        rename,
        resize,
        select,
        set_values,
        tie,
        untie,
    )
    from .interface.looking import Digests, diff, hash, stats, summary
    from .interface.looking import Sheet as Summary
    from .interface.merging import merge
    from .interface.opening import open
    from .interface.saving import save
    from .tensors.checkpoint import Checkpoint
    from .tensors.tensor import Tensor

    __version__: str

__all__ = [
    "Checkpoint", "CkptError", "Difference", "Digests", "Figures", "Summary", "Tensor",
    "add", "apply", "cast", "diff", "drop", "hash", "map", "merge", "open", "reinit", "rename", "resize", "save",
    "select", "set_values", "stats", "summary", "tie", "untie",
]  # fmt: skip

_IN = {
    "Checkpoint": "tensors.checkpoint", "CkptError": "errors", "Difference": "analysis.diff", "Digests": "interface.looking",
    "Figures": "analysis.figures", "Summary": "interface.looking:Sheet", "Tensor": "tensors.tensor",
    "diff": "interface.looking", "hash": "interface.looking", "stats": "interface.looking", "summary": "interface.looking",
    "merge": "interface.merging", "open": "interface.opening", "save": "interface.saving",
}  # fmt: skip


if not TYPE_CHECKING:  # a name that is not there is an error to type checkers, too

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return import_module("importlib.metadata").version("ckpt-tool")
        if name not in __all__:
            raise AttributeError(f"ckpt_cli has no {name!r}")
        module, _, called = _IN.get(name, "interface.edits").partition(":")
        return getattr(import_module(f".{module}", __name__), called or name)


def __dir__() -> list[str]:
    return list(__all__)
