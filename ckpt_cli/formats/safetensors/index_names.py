"""What indices and their shards are called.

    model.safetensors.index.json         model-00001-of-00003.safetensors
    model.safetensors.index.fp16.json    model.fp16-00001-of-00003.safetensors, a variant's (transformers)
    model.fp16.safetensors.index.json    the same (diffusers')

As in `_add_variant` of transformers' modeling_utils.py and of diffusers' loading_utils.py. A shard is of any format: `.bin`, too.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

SUFFIX = ".index.json"
_INDEX = re.compile(r"(.+)(\.\w+)\.index(\.[\w-]+)?\.json|(.+)\.index\.json")
_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.(?!gguf)\w+)")  # the parts of a GGUF have no index


class ShardName(NamedTuple):
    """What the name of a shard says: the file that all shards would be, and how many there are."""

    whole: str
    total: int


def is_index(path: str) -> bool:
    """Whether a file is called as an index is."""
    return _INDEX.fullmatch(os.path.basename(path)) is not None


def whole_of_index(path: str) -> str:
    """What the one file would be called whose shards an index lists: `model.fp16.safetensors`. The name of any other file is its own."""
    name = os.path.basename(path)
    found = _INDEX.fullmatch(name)
    if not found:
        return name
    return found[4] or f"{found[1]}{found[3] or ''}{found[2]}"


def shard_name(path: str) -> ShardName | None:
    """What the name of a shard says; None for any other file."""
    found = _SHARD.fullmatch(os.path.basename(path))
    return ShardName(found[1] + found[3], int(found[2])) if found else None
