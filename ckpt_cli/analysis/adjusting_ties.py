"""Whether input and output embeddings are one tensor, where an edit ties them or gives the output a tensor of its own."""

from __future__ import annotations

from collections.abc import Iterator

from ..configs.ties import PLACES, tied
from .contradicting_ties import tied_embeddings
from .edited import Adjustment, Edited

_ENTRY = "tie_word_embeddings"


def ties(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the entry `tie_word_embeddings`, wherever the config has it. One that is missing means what it does in the family."""
    was = tied(edited.config)
    if was is None or any(tied_embeddings(edited.before)) or not any(tied_embeddings(edited.after)):
        return
    heads = edited.after.parts.heads
    if not heads:
        return  # which way the model gets an output is to be decided, not known
    paths = [path for at in ("", *(f"{place}." for place in PLACES)) if (path := edited.path(f"{at}{_ENTRY}"))]
    for path in paths or [(_ENTRY,)]:
        yield Adjustment(path, edited.value(path) if paths else None, not was)
