"""Tokens that a change of the vocabulary leaves without a row of the embedding, and rows without a token."""

from __future__ import annotations

from collections.abc import Iterator

from ..configs.folder import Folder
from .edited import Edited

_FILES = ("config.json", "generation_config.json")


def tokens(edited: Edited, folder: Folder) -> Iterator[str]:
    """Yield, in words, what the files beside the weights say of tokens and the embedding of tokens no longer has."""
    before, after = (_rows(edited, parts) for parts in (edited.before.parts, edited.after.parts))
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


def _rows(edited: Edited, parts: object) -> int:
    """The rows of the embedding of tokens; 0 where there are several of different sizes, or none."""
    rows = {shape[0] for shape in parts.embeddings.values()}  # type: ignore[attr-defined]
    return rows.pop() if len(rows) == 1 else 0


def _count(folder: Folder) -> int:
    """How many tokens tokenizer.json has: one more than the largest number in it; 0 where it does not tell."""
    document = folder.object("tokenizer.json")
    model, added = document.get("model"), document.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    numbers = list(vocabulary.values()) if isinstance(vocabulary, dict) else range(len(vocabulary)) if isinstance(vocabulary, list) else []
    more = [each.get("id") for each in added if isinstance(each, dict)] if isinstance(added, list) else []
    return max((number for number in (*numbers, *more) if type(number) is int), default=-1) + 1
