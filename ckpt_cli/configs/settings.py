"""What else of a config is believed, once it is checked: initialisation, padding, dtype. All take the entries of a config, or of a part."""

from __future__ import annotations

from collections.abc import Mapping

from .sizes import entry_of

_STD = ("initializer_range", "init_std", "initializer_cfg.std", "init_config.initializer_range")
_FACTOR = ("initializer_factor", "init_scale")
_PADDING = ("pad_token_id", "pad_index", "padding_idx", "pad_id", "text_config.pad_token_id")
_DTYPE = ("dtype", "torch_dtype", "text_config.dtype", "text_config.torch_dtype")
_LARGEST_STD, _LARGEST = 1e4, 1e300
_LONGEST_DTYPE = 30


def initial_std(entries: Mapping[str, object]) -> float | None:
    """Return the standard deviation of initial weights, `initializer_range` in most configs; None where it is not told."""
    return next((std for key in _STD if (std := positive(entry_of(entries, key))) is not None and std < _LARGEST_STD), None)


def initial_factor(entries: Mapping[str, object]) -> float | None:
    """Return the factor of all initial weights: `initializer_factor` of T5 and CLIP; None where it is not told."""
    return next((factor for key in _FACTOR if (factor := positive(entry_of(entries, key))) is not None), None)


def padding_row(entries: Mapping[str, object]) -> int | None:
    """Return the row of the embedding that stands for padding; None where there is none. Whether the embedding has it is not checked."""
    found = (entry_of(entries, key) for key in _PADDING)
    return next((value for value in found if type(value) is int and value >= 0), None)


def dtype_said(entries: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the floating dtype of the weights as numpy and ml_dtypes call it, and the entry that says it; None where it is not told."""
    for key in _DTYPE:
        value = entry_of(entries, key)
        name = floating(value) if isinstance(value, str) else ""
        if name:
            return name, key
    return None


def floating(text: str) -> str:
    """Return the name of a floating dtype as numpy and ml_dtypes have it; an empty text for anything else."""
    if len(text) >= _LONGEST_DTYPE:
        return ""
    from ..errors import UnknownName
    from ..numbers.dtypes import named

    try:
        dtype = named(text)
    except UnknownName:
        return ""
    return dtype.name if dtype.kind == "f" else ""


def positive(value: object) -> float | None:
    """Return a finite number from 0 on; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _LARGEST else None
