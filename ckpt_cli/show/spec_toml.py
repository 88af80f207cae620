"""The spec of a checkpoint in TOML, as `ckpt spec` writes it: as tight as its header, with repeated blocks in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..analysis.contents import quantiser_text
from ..analysis.digest import digests
from ..checking.integrity import not_finite
from ..checking.unread import not_numbers
from ..tensors.blocks import Progress
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Layout
from .tree import folded

_HALF = re.compile("[\ud800-\udfff]")


def written(checkpoint: Checkpoint, finite: bool = False, hashes: bool = False, progress: Progress | None = None) -> Iterator[str]:
    """Write the spec that a checkpoint meets.

    Args:
        checkpoint: The checkpoint. Without `finite` and `hashes`, its values are not read.
        finite: Whether tensors whose elements are all finite must stay so.
        hashes: Whether values must stay as they are.
        progress: Called with the bytes done and the bytes in all.

    Yields:
        The lines of the spec.
    """
    kinds = checkpoint.kinds()
    sums = {digest.name: digest.sha256 for digest in digests(checkpoint, progress=progress)} if hashes else {}
    wrong = {violation.name for violation in not_finite(checkpoint, checkpoint, {}, progress)} if finite else set()
    wrong |= {violation.name for violation in not_numbers(checkpoint, checkpoint)} if finite else set()
    yield "# What a file has to hold; `ckpt check FILE --spec THIS` tells whether it does. Loosen what may vary: docs/checking.md says how."
    yield f"params = {sum(kinds[name].numel for name in checkpoint.distinct())}"
    yield 'extra = "forbid"'
    if finite and not wrong:
        yield "finite = true"
    yield from _ties(checkpoint)
    yield ""
    yield "[tensors]"
    quantisers = {name: quantiser_text(checkpoint[name]) for name, kind in kinds.items() if kind.layout == Layout.QUANTISED}
    values = {name: (quantisers.get(name, ""), sums.get(name, ""), bool(wrong) and name not in wrong) for name in kinds}
    rows = ((escaped(name), (*kind.facts, *values[name])) for name, kind in kinds.items())
    for pattern, count, facts in folded(rows):
        yield f"{quoted(pattern)} = {_entry(count, facts)}"


def _ties(checkpoint: Checkpoint) -> Iterator[str]:
    names = checkpoint.ties()
    if _HALF.search("".join(name for group in names for name in group)):  # such names have no place in TOML
        return
    groups = [f"[{', '.join(map(quoted, group))}]" for group in names]
    if len(groups) < 2:
        yield f"ties = [{''.join(groups)}]"
        return
    yield "ties = ["
    yield from (f"    {group}," for group in groups)
    yield "]"


def _entry(count: int, facts: tuple[Any, ...]) -> str:
    dtype, shape, layout, quantiser, sha256, finite = facts
    parts: Mapping[str, str] = {
        "count": str(count) if count > 1 else "",
        "dtype": quoted(dtype.name),
        "shape": f"[{', '.join(map(str, shape))}]",
        "layout": quoted(layout) if layout else "",
        "quantiser": quoted(quantiser) if quantiser else "",
        "finite": "true" if finite else "",
        "sha256": quoted(sha256) if sha256 else "",
    }
    return "{ " + ", ".join(f"{key} = {text}" for key, text in parts.items() if text) + " }"


def escaped(name: str) -> str:
    """Write a name as a pattern that matches no other. A lone surrogate, which TOML cannot hold, becomes the wildcard `?`."""
    plain = re.sub(r"([*?\[{])", r"[\1]", name)
    plain = re.sub(r"^(@|r(?=e:))", r"[\1]", plain)
    return _HALF.sub("?", plain)


def quoted(text: str) -> str:
    """Write a TOML string: as in JSON, with an escape for each character that does not print, so that no terminal interprets it."""
    import json

    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in json.dumps(text, ensure_ascii=False))
