"""Tokens that a change of the vocabulary leaves without a row of the embedding, and rows without a token."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..configs.folder import Folder
from ..tensors.checkpoint import Foreign
from .edited import Edited
from .named_parts import NamedParts

_OF_GGUF, _LENGTH = "tokenizer.ggml.tokens", re.compile(r".*\[(\d{1,15})\]")
_FILES = ("config.json", "generation_config.json")


def tokens(edited: Edited, folder: Folder) -> Iterator[str]:
    """Yield, in words, what the files beside the weights say of tokens and the embedding of tokens no longer has."""
    before, after = (_rows(parts) for parts in (edited.before.parts, edited.after.parts))
    if not after or before == after:
        return
    for name in _FILES:
        for key, value in folder.object(name).items():
            numbers = value if isinstance(value, list) else [value]
            if key.endswith(("token_id", "token_ids")) and (beyond := [each for each in numbers if type(each) is int and each >= after]):
                yield f"{key} of {name} stays {beyond[0]:,}, and the embedding has {after:,} rows"
    count = _count(folder)
    if count and count != after:
        advice = "its last tokens have no row" if count > after else "the tokenizer has to learn the new ones"
        yield f"tokenizer.json stays as it is: {count:,} tokens for {after:,} rows of the embedding; {advice}"


def _rows(parts: NamedParts) -> int:
    """The rows of the embedding of tokens; 0 where there are several of different sizes, or none."""
    rows = {shape[0] for shape in parts.embeddings.values()}
    return rows.pop() if len(rows) == 1 else 0


def tokens_inside(edited: Edited) -> Iterator[str]:
    """Yield, in words, that a GGUF has another number of tokens in its metadata than rows of the embedding."""
    before, after = (_rows(parts) for parts in (edited.before.parts, edited.after.parts))
    listed = edited.after.own.objects.get(_OF_GGUF) if after and before != after else None
    length = _LENGTH.fullmatch(listed.type) if isinstance(listed, Foreign) else None  # a long list is its type and length
    count = len(listed) if isinstance(listed, list) else int(length[1]) if length else after
    if count != after:
        yield f"{_OF_GGUF} stays: {count:,} tokens for {after:,} rows of the embedding"


def _count(folder: Folder) -> int:
    """How many tokens tokenizer.json has: one more than the largest number in it; 0 where it does not tell."""
    document = folder.object("tokenizer.json")
    model, added = document.get("model"), document.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    numbers = list(vocabulary.values()) if isinstance(vocabulary, dict) else range(len(vocabulary)) if isinstance(vocabulary, list) else []
    more = [each.get("id") for each in added if isinstance(each, dict)] if isinstance(added, list) else []
    return max((number for number in (*numbers, *more) if type(number) is int), default=-1) + 1
