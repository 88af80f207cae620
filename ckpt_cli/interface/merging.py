"""Merging from Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from ..errors import UsageError
from ..tensors.checkpoint import Checkpoint
from .edits import Texts
from .opening import AnyCheckpoint
from .steps import Others, made

Adapter = AnyCheckpoint | tuple[AnyCheckpoint, float]
Weights = Texts | Sequence[float] | Mapping[str, Sequence[float]]


def merge(
    *checkpoints: AnyCheckpoint,
    method: str = "linear",
    weights: Weights = (),
    base: AnyCheckpoint | None = None,
    density: float | None = None,
    lora: Adapter | Sequence[Adapter] = (),
    common: bool = False,
    seed: int = 0,
    arch: str = "auto",
) -> Checkpoint:
    """Merge checkpoints of one model: `ckpt merge`. The notes of the result say what is not merged.

    Args:
        checkpoints: The checkpoints, or their paths; names, dtypes and all else are those of the first.
        method: `linear` (without weights the mean), `slerp`, `task`, `ties` or `dare`.
        weights: A number for each checkpoint (for slerp the second is t), as `"0.7,0.3"` or `[0.7, 0.3]`; by pattern as
            `["0.5,0.5", "*.norm.*=1,0"]` or `{"*": [0.5, 0.5], "*.norm.*": [1, 0]}`.
        base: What the checkpoints were trained from: for task, ties and dare.
        density: The part of each difference that ties and dare keep.
        lora: Adapters to fold in: paths or checkpoints, with a scale as `"ADAPTER:SCALE"` or `(ADAPTER, SCALE)`; several in a list.
        common: Whether tensors that are not in all checkpoints stay as the first has them.
        seed: Where random numbers begin, from 0 to 2⁶³ - 1: for dare.
        arch: What patterns `@Type` speak of.

    Raises:
        CkptError: Names, shapes or arguments do not agree, or two checkpoints are one file.
    """
    if not checkpoints:
        raise UsageError("nothing to merge is given", "name the checkpoints, one argument each")
    if isinstance(checkpoints[0], list | tuple):
        raise UsageError("checkpoints to merge are one argument each", "merge(*checkpoints)")
    others, (first, *rest) = Others(), checkpoints
    named = {"merge": [others.called(other) for other in rest]} | ({} if base is None else {"base": others.called(base)})
    options = {"density": density, "lora": list(_adapter_texts(lora, others)), "common": common, "seed": seed, "arch": arch}
    return made(first, "merge", others, method=method, weights=_weight_texts(weights), **named, **options)


def _adapter_texts(lora: Adapter | Sequence[Adapter], others: Others) -> Iterator[str]:
    """Adapters as the command line has them."""
    if isinstance(lora, Checkpoint | str | os.PathLike) or (
        isinstance(lora, tuple) and len(lora) == 2 and isinstance(lora[1], int | float)
    ):
        lora = [lora]
    for each in lora:
        if isinstance(each, str):
            yield each
        else:
            adapter, scale = each if isinstance(each, tuple) else (each, 1.0)
            yield f"{others.called(adapter)}:{float(scale)!r}"


def _weight_texts(weights: Weights) -> list[str]:
    """Weights as the command line has them."""
    if isinstance(weights, str):
        return [weights]
    if isinstance(weights, Mapping):
        return [f"{pattern}={','.join(str(weight) for weight in each)}" for pattern, each in weights.items()]
    written = [each for each in weights if isinstance(each, str)]
    return written if len(written) == len(weights) else [",".join(str(weight) for weight in weights)]
