"""Whether an edit changed values alone."""

from __future__ import annotations

from ..tensors.checkpoint import Checkpoint


def alike(before: Checkpoint, after: Checkpoint) -> bool:
    """Return whether two checkpoints have the same names, dtypes, shapes and ties, so that no config tells them apart."""
    if before.tensors is after.tensors:
        return True
    kinds, others = before.kinds(), after.kinds()
    return (
        kinds.keys() == others.keys()
        and all(kind.facts == others[name].facts for name, kind in kinds.items())
        and sorted(map(sorted, before.ties())) == sorted(map(sorted, after.ties()))
    )
