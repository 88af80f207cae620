"""torch.export archives (`torch.export.save`; .pt2): a zip of a program as JSON and of its weights.

    NAME/archive_format                             "pt2"
    NAME/models/MODEL.json                          the graph
    NAME/data/weights/MODEL_weights_config.json     {"config": {NAME: {"path_name": "weight_0", "tensor_meta": {"dtype": 7, "sizes": …}}}}
    NAME/data/weights/weight_0 …                    the bytes of a storage; tied names share one
    serialized_state_dict.pt                        before torch 2.8: a torch zip within the zip; 2.8: NAME/data/weights/MODEL.pt

As in torch/export/pt2_archive/_package.py and torch/_export/serde/schema.py. Names are those of `state_dict`; constants are objects. The
graph is never looked into. Values are written over where they lie; names, shapes and dtypes belong to the program, and stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import CannotHold, Malformed
from ...storage.file import File
from ...tensors.checkpoint import Checkpoint
from .. import Patcher, formats
from ..encodings import zip as zips

if TYPE_CHECKING:
    from ...disk.patch import Patch
    from ...storage.storage import Storage

_MARK = "/archive_format"
_OLD_MARK = "serialized_exported_program.json"  # before torch 2.8


def _root(file: File) -> str | None:
    """The folder in the archive; an empty string for an older archive, which has none; None for another zip."""
    members = zips.members(file)
    roots = [name[: -len(_MARK)] for name in members if name.endswith(_MARK) and name.count("/") == 1]
    return roots[0] if len(roots) == 1 else "" if _OLD_MARK in members else None


class PT2(Patcher):
    """Archives of `torch.export.save`."""

    name = "pt2"
    title = "torch.export (values alone are edited)"
    suffixes = (".pt2",)
    ties = objects = True

    def sniff(self, file: File) -> bool:
        """A zip that says its format, or has the JSON of a program."""
        return zips.is_zip(file) and _root(file) is not None

    def read(self, file: File) -> Checkpoint:
        """The weights, by their names in `state_dict`; constants as objects."""
        from .pt2_weights import constants, undecoded_constants, weights

        members, root = zips.members(file), _root(file) or ""
        tensors = weights(members, root)
        if not tensors and any(name.startswith(f"{root}/data/aotinductor/") for name in members):
            raise Malformed("the archive holds a compiled model whose weights are within its machine code")
        return Checkpoint(tensors, objects=constants(members, root), undecoded=undecoded_constants(members, root, tensors))

    def patch_of(self, file: File, pairs: Sequence[tuple[Storage, Storage]]) -> Patch | None:
        """Records written over in the zip. Raises CannotHold for values in a zip within the zip: each has a checksum over them."""
        members = set(zips.members(file).values())
        if any(before not in members for before, _ in pairs):
            raise CannotHold("an archive of torch before 2.8 is read, not written", "convert it, say to .safetensors")
        from ..encodings.zip_patch import patch_members

        return patch_members(file, pairs)


formats.add(PT2.name, PT2())
