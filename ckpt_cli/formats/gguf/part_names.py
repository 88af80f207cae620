"""The names of the parts of a GGUF that was split, and the keys by which each says which part it is.

As in `llama_split_path` of ggml-org/llama.cpp.
"""

from __future__ import annotations

import re
from typing import NamedTuple

NUMBER, COUNT, TENSORS = KEYS = ("split.no", "split.count", "split.tensors.count")
_NAME = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.DOTALL)


class PartName(NamedTuple):
    """What the path of a part says: the path before the number, its number from 1, and how many there are."""

    prefix: str
    number: int
    total: int

    def path(self, number: int) -> str:
        """The path of a part of the same set."""
        return f"{self.prefix}-{number:05d}-of-{self.total:05d}.gguf"


def part_name(path: str) -> PartName | None:
    """What the path of a part says; None for any other one."""
    found = _NAME.fullmatch(path)
    return PartName(found[1], int(found[2]), int(found[3])) if found and int(found[3]) else None
