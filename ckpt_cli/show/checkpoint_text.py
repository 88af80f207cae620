"""A checkpoint as lines of text that git compares: one for each thing in it, in the order of the names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..analysis.digest import digests
from ..tensors.checkpoint import Checkpoint, Foreign

_LONGEST = 60  # characters of a value
_DIGEST = 16  # characters of a digest
_FIGURES = ("min", "max", "mean", "std", "nan", "inf")


def header_records(checkpoint: Checkpoint) -> Iterator[tuple[str, ...]]:
    """Yield records of the format, the metadata and the objects."""
    yield "format", checkpoint.origin.format if checkpoint.origin else ""
    yield from (("metadata", name, value_text(value)) for name, value in sorted(checkpoint.metadata.items()))
    yield from (("object", name, value_text(value)) for name, value in sorted(checkpoint.objects.items()))


def tensor_records(checkpoint: Checkpoint, with_stats: bool) -> Iterator[tuple[str, ...]]:
    """Yield a record of each tensor: name, dtype, shape, the start of its SHA-256, figures if asked for, and its tie. Reads the values."""
    tied, figures = checkpoint.tied_to(), _figures(checkpoint) if with_stats else {}
    for digest in sorted(digests(checkpoint), key=lambda digest: digest.name):
        ties = (f"tied to {tied[digest.name]}",) if digest.name in tied else ()
        yield ("tensor", digest.name, digest.dtype, digest.shape, digest.sha256[:_DIGEST], *figures.get(digest.name, ()), *ties)


def value_text(value: Any) -> str:
    """Return the text of an object or of a value of the metadata, on one line and shortened."""
    text = " ".join((value.text if isinstance(value, Foreign) else str(value)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _figures(checkpoint: Checkpoint) -> Mapping[str, tuple[str, ...]]:
    from ..analysis.stats import computable, stats

    figures = stats({name: tensor for name, tensor in checkpoint.items() if computable(tensor)})
    return {name: tuple(_figure(key, getattr(of_tensor, key)) for key in _FIGURES) for name, of_tensor in figures}


def _figure(key: str, figure: Any) -> str:
    return f"{key}=" if figure is None else f"{key}={figure:.6g}"
