"""Git LFS: the small file that stands for a large one in a repository, and where the large one is kept.

version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n")
_MOST = 1024  # bytes: the specification's own bound


class Pointer(NamedTuple):
    oid: str
    size: int

    def __str__(self) -> str:
        return f"Git LFS object {self.oid[:16]}…, {self.size:,} bytes"

    def kept(self) -> str | None:
        """The object in the store of the repository around the current folder; None where it was not fetched."""
        store = _store()
        path = os.path.join(store, "objects", self.oid[:2], self.oid[2:4], self.oid) if store else ""
        return path if path and os.path.isfile(path) and os.path.getsize(path) == self.size else None


def pointer(path: str) -> Pointer | None:
    """What the file at `path` points to, where it is a pointer. Raises OSError."""
    if not os.path.isfile(path) or os.path.getsize(path) > _MOST:
        return None
    with open(path, "rb") as file:
        found = _POINTER.fullmatch(file.read(_MOST))
    return Pointer(found[1].decode(), int(found[2])) if found else None


def _store() -> str:
    """Git's own answer, since work trees and submodules have their repository elsewhere; lfs.storage may name another place."""
    git = _asked("rev-parse", "--git-common-dir")
    return os.path.join(git, _asked("config", "--type=path", "--get", "lfs.storage") or "lfs") if git else ""


def _asked(*args: str) -> str:
    import subprocess

    try:
        return subprocess.run(["git", *args], capture_output=True, timeout=10).stdout.decode(errors="surrogateescape").rstrip("\n")
    except (OSError, subprocess.TimeoutExpired):
        return ""
