"""The dtype that a config tells, and the entries that say how weights are packed, where an edit casts or decodes them."""

from __future__ import annotations

from collections.abc import Iterator

from ..configs.json_text import REMOVED, Path
from ..configs.quantisation import OF_PACKED
from ..configs.settings import floating
from .contradicting_dtypes import dtype_of_variant
from .edited import Adjustment, Edited

_KEYS = ("dtype", "torch_dtype")  # of transformers from version 5 on, and before
_OF_MODELS = ("float16", "bfloat16", "float32", "float64")  # what a model is computed in
_MOST_PLACES, _DEEPEST = 100, 4


def dtype(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the entries that tell the dtype, in all parts of the config, where the weights had it and have another one now.

    Where all weights are cast to one, an entry that told another one before gets it, too: libraries would load them as what it tells.
    Of several dtypes, the one of most elements is told; where the old one is among them, it may be meant, and the entry stays.
    """
    before, after = ({name: count for name, count in each.dtypes.items() if name in _OF_MODELS} for each in (edited.before, edited.after))
    if not after or (not before and not edited.before.packed):
        return
    most = max(after, key=after.__getitem__)
    was = max(before, key=before.__getitem__) if before else ""
    called = dtype_of_variant(edited.after.own)
    if called == was != most:
        yield f"the name of the weights stays, which is that of {called}: most elements are {most}"
    for path, text in _said(edited.config.entries):
        said = floating(text)
        cast_whole = was != most and len(after) == 1
        if said == most or not (was in (said, "") or edited.before.packed or cast_whole):
            continue
        if said in after:
            yield f"{'.'.join(map(str, path))} stays {text}: most elements are {most}, and some still {said}"
        elif most in _OF_MODELS and said in _OF_MODELS:
            yield Adjustment(path, text, f"torch.{most}" if text.startswith("torch.") else most)


def _said(entries: object, at: Path = ()) -> Iterator[tuple[Path, str]]:
    """The entries that tell a dtype, those of the parts of the model, too."""
    if isinstance(entries, dict) and len(at) < _DEEPEST:
        for key, value in list(entries.items())[:_MOST_PLACES] if at else entries.items():
            if key in _KEYS and isinstance(value, str) and floating(value):
                yield (*at, key), value
            elif isinstance(value, dict) and key not in OF_PACKED:
                yield from _said(value, (*at, key))


def packing(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the entries that say how the weights are packed, where they were and are plain now."""
    if not edited.before.packed or edited.after.packed:
        return
    for at in ("", "text_config."):
        for key in OF_PACKED:
            if path := edited.path(f"{at}{key}"):
                yield Adjustment(path, edited.value(path), REMOVED)
