"""The members of a zip in the order in which torch.save writes them: `_save` in torch/serialization.py, inline_container.cc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...storage.storage import Storage
from ..encodings.zip_writer import Writer

_BEFORE_STORAGES = {".format_version": b"1", ".storage_alignment": b"64", "byteorder": b"little"}
_AFTER_STORAGES = {"version": b"3\n"}


def lay_out(archive: Writer, root: str, pickle: bytes, storages: Mapping[str, Storage], records: Mapping[str, Any]) -> None:
    """Add every member to `archive`.

    Args:
        archive: The zip that is written.
        root: The folder in the zip that holds all members.
        pickle: The contents of data.pkl.
        storages: The storages by the key that the pickle gives them.
        records: Other members, by their name below the root. They are carried along from the file that was read.
    """
    archive.add(f"{root}/data.pkl", pickle)
    for name, contents in _BEFORE_STORAGES.items():
        archive.add(f"{root}/{name}", contents)
    for key, storage in storages.items():
        archive.add(f"{root}/data/{key}", storage)
    after = _AFTER_STORAGES | {name: record for name, record in records.items() if name not in _BEFORE_STORAGES}
    for name, contents in after.items():
        archive.add(f"{root}/{name}", contents)
