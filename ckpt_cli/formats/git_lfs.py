"""Git LFS pointers: the small file that stands for a large one in a repository, and where the large one is kept.

As in docs/spec.md of git-lfs/git-lfs:

version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n")
_MOST = 1024  # bytes: a pointer has fewer, by its specification


class Pointer(NamedTuple):
    """What a pointer says of the large file: its SHA-256 in hexadecimal digits, and its size in bytes."""

    oid: str
    size: int

    def __str__(self) -> str:
        return f"Git LFS object {self.oid[:16]}…, {self.size:,} bytes"

    def kept(self) -> str | None:
        """The path of the large file in the store of the repository around the current folder; None where it was not fetched."""
        store = _store()
        path = os.path.join(store, "objects", self.oid[:2], self.oid[2:4], self.oid) if store else ""
        return path if path and os.path.isfile(path) and os.path.getsize(path) == self.size else None


def pointer(path: str) -> Pointer | None:
    """The pointer in the file at `path`; None where that is no pointer. Raises OSError."""
    if not os.path.isfile(path) or os.path.getsize(path) > _MOST:
        return None
    with open(path, "rb") as file:
        match = _POINTER.fullmatch(file.read(_MOST))
    return Pointer(match[1].decode(), int(match[2])) if match else None


def _store() -> str:
    """The folder in which Git LFS keeps large files; an empty string outside of a repository.

    Git is asked where it is: work trees and submodules have their repository elsewhere, and lfs.storage may name another place.
    """
    git = _git("rev-parse", "--git-common-dir")
    return os.path.join(git, _git("config", "--type=path", "--get", "lfs.storage") or "lfs") if git else ""


def _git(*args: str) -> str:
    """What a git command prints; an empty string where it fails."""
    import subprocess

    try:
        return subprocess.run(["git", *args], capture_output=True, timeout=10).stdout.decode(errors="surrogateescape").rstrip("\n")
    except (OSError, subprocess.TimeoutExpired):
        return ""
