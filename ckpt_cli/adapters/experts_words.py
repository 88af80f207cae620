"""Experts that a base keeps one by one, as transformers stacks them in its modules: `mlp.experts`, with `gate_up_proj` and `down_proj`."""

from __future__ import annotations

import re

from .places import Leaves, Places, Portions

_EXPERT = re.compile(
    r"(?P<before>(?:.*\.)?)(?:mlp|block_sparse_moe|feed_forward)\.experts\.(?P<expert>[0-9]{1,5})\."
    r"(?:(?P<gate>gate_proj|w1)|(?P<up>up_proj|w3)|(?P<down>down_proj|w2))"
)


def with_stacked_experts(own: Places) -> Places:
    """Return the layers with the stacked experts of each block besides, made of the matrices of its experts."""
    blocks: dict[str, dict[tuple[str, int], Portions]] = {}
    for path, leaves in own.layers.items():
        match = _EXPERT.fullmatch(path)
        if match and "weight" in leaves:
            blocks.setdefault(match["before"], {})[str(match.lastgroup), int(match["expert"])] = leaves["weight"]
    stacked = {f"{before}mlp.experts": _stacked(found) for before, found in blocks.items()}
    if not stacked:
        return own
    renamed = {path.replace(".block_sparse_moe.", ".mlp."): leaves for path, leaves in own.layers.items()}  # Mixtral's, of old
    return Places({**renamed, **stacked, **own.layers})


def _stacked(found: dict[tuple[str, int], Portions]) -> Leaves:
    """The two parameters, where every expert is there."""
    count = 1 + max(expert for _, expert in found)
    stacks = {"gate_up_proj": ("gate", "up"), "down_proj": ("down",)}
    return {
        name: tuple(found[kind, expert][0] for expert in range(count) for kind in kinds)
        for name, kinds in stacks.items()
        if all((kind, expert) in found for kind in kinds for expert in range(count))
    }
