"""Code that lies beside a model in the folder that was named: pickles that training left there, and modules that its configs import."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set

from ..configs.named_code import named_in
from ..errors import CkptError, Malformed, about
from ..formats.encodings import strict_json
from ..scanning import Search, within
from ..scanning.containers import Searching
from ..storage.file import File

# What programs load as a pickle, or as a container of one, by its name; a file of any other name is one by its first bytes.
_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".pdparams", ".pdopt", ".keras", ".h5")
_BEGINNINGS = (*(b"\x80" + bytes([protocol]) for protocol in range(2, 6)), b"PK\3\4", b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x93NUMPY")
_MOST_CONFIG = 64 << 20  # bytes


def search_beside(folder: str, read: Set[str]) -> Iterator[tuple[str, Search]]:
    """Search the files of a folder that a program may load with the model: the path of each, and what was found.

    Args:
        folder: The folder.
        read: The real paths of the files that were searched before.
    """
    with about(folder):
        names = sorted(os.listdir(folder))
    for name in names:
        path = os.path.join(folder, name)
        if not os.path.isfile(path) or os.path.realpath(path) in read:
            continue
        search = Searching()
        try:
            file = File(path)
            if name.endswith("config.json"):
                _scan_config(search, file, name)
            elif name.lower().endswith(_SUFFIXES) or file.head.startswith(_BEGINNINGS):
                search.look(file, name)
        except CkptError as error:
            search.unread(error.what, name)
        yield path, search


def _scan_config(search: Search, file: File, name: str) -> None:
    if file.size > _MOST_CONFIG:
        search.unread(f"its {file.size:,} bytes are not looked at", name)
        return
    try:
        document = strict_json.loads(file.read(0, file.size), infinite=True)
    except Malformed as error:
        search.unread(f"the config is not read: {error.what}", name)
        return
    for value in strict_json.objects_in(document):
        for entry, imported, why in named_in(value):
            search.add(imported, why, within(name, entry))
