"""The formats: a module each, in a folder for each family. A module defines a class of the pieces in `format`, and registers one of it.

    from ckpt_cli.formats import Format, formats

    class Toy(Format):
        name, title, suffixes = "toy", "Toy arrays", (".toy",)

        def sniff(self, file): ...
        def read(self, file): ...

    formats.add(Toy.name, Toy())

Packages outside announce theirs in the entry-point group `ckpt_cli.formats`.
"""

from __future__ import annotations

from ..registry import ModuleRegistry
from .format import Format, HasChecksums, PartSet, Patcher, Savable, SeveralFiles, Writer
from .index import Index, IndexFault

__all__ = [
    "Format", "HasChecksums", "Index", "IndexFault", "PartSet", "Patcher", "Savable", "SeveralFiles", "Writer", "formats",
]  # fmt: skip

formats: ModuleRegistry[Format] = ModuleRegistry(
    "format",
    __name__,
    "format_",
    likely=("safetensors.format_safetensors", "torch.format_torchscript", "torch.format_torch"),
    ahead={"pickle": "paddle", "torch-folder": "onnx", "gguf-split": "gguf"},
)
