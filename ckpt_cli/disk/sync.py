"""Names made durable: a file that was made, renamed or removed is sure to be so only when its folder has been fsynced."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..storage.descriptors import open_descriptor


def sync_folders(targets: Sequence[str]) -> None:
    """Fsync the folders of the files `targets`, each once."""
    for folder in dict.fromkeys(os.path.dirname(target) for target in targets):
        with open_descriptor(folder, os.O_RDONLY) as fd:
            os.fsync(fd)
