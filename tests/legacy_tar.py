"""Writes the tars of torch 0.1, as its `torch.save` did (torch/serialization.py, `legacy_load`, is the reader of today)."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from struct import pack
from typing import Any

import torch


class Pickler(pickle.Pickler):
    """Leaves tensors and storages out, as keys."""

    def __init__(self, file: io.BytesIO, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__(file, 2)
        self.tensors = tensors

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, torch.Tensor):
            key = str(id(thing))
            self.tensors[key] = thing
            return key
        return None


def dumped(thing: Any) -> bytes:
    return pickle.dumps(thing, 2)


def parts(thing: Any, views: dict[int, tuple[int, int, int]] | None = None) -> dict[str, bytes]:
    """The four files. `views`: key of a storage → the key of another one, of which it is a view, offset and count."""
    tensors: dict[str, torch.Tensor] = {}
    out = io.BytesIO()
    Pickler(out, tensors).dump(thing)
    storages = {t.untyped_storage().data_ptr(): t for t in tensors.values()}
    keys = {pointer: number for number, pointer in enumerate(storages, 1)}
    data = dumped(len(storages))
    for pointer, tensor in storages.items():
        raw = bytes(tensor.untyped_storage())
        data += dumped((keys[pointer], "cpu", getattr(torch, tensor.type()[6:].replace("Tensor", "Storage"))))
        data += pack("<q", len(raw) // tensor.element_size()) + raw
    found = views or {}
    data += dumped([(key, *view) for key, view in found.items()])
    of_view = {root: key for key, (root, _, _) in found.items()}
    listed = dumped(len(tensors))
    for key, tensor in tensors.items():
        storage = keys[tensor.untyped_storage().data_ptr()]
        listed += dumped((int(key), of_view.get(storage, storage), torch.FloatTensor))
        listed += pack("<ii", tensor.dim(), 0) + pack(f"<{2 * tensor.dim()}q", *tensor.shape, *tensor.stride())
        listed += pack("<q", 0 if storage in of_view else tensor.storage_offset())
    system = dumped({"protocol_version": 1000, "little_endian": True})
    return {"sys_info": system, "pickle": out.getvalue(), "storages": data, "tensors": listed}


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def save(thing: Any, path: Path, views: dict[int, tuple[int, int, int]] | None = None) -> Path:
    path.write_bytes(tarred(parts(thing, views)))
    return path
