"""How the plan of a re-initialisation looks: what is drawn for which tensor, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import first_few
from ..schemes.plan import KEPT
from .answer import Answer, note
from .tree import folded

if TYPE_CHECKING:
    from ..schemes.plan import Planned

_NAMED = 3  # tensors that a note names
_FEW = 24  # lines that a person reads one by one
_HEADER = ("NAME", "SCHEME", "DRAWN", "SUB-SEED", "WHY")


def note_plan(plan: Sequence[Planned], where: str = "") -> None:
    """Print the plan as notes, each after `where`; in a long one, repeated blocks share a line."""
    rows = [(step.name, (step.scheme, step.draw, step.reason)) for step in plan]
    lines = folded(rows) if len(rows) > _FEW else [(name, 1, facts) for name, facts in rows]
    for name, count, (scheme, draw, reason) in lines:
        note(f"{where}{name}{f' ×{count:,}' if count > 1 else ''}: {scheme}: {draw} ({reason})")


def show_plan(out: Answer, plan: Sequence[Planned], seed: int, rng: str, preset: str) -> None:
    """Write the plan as a table, or as JSON together with the seed, the generator and the preset. Seeds are strings: they exceed 2^53."""
    if out.as_json:
        steps: list[dict[str, Any]] = [step._asdict() | {"seed": None if step.seed is None else str(step.seed)} for step in plan]
        out.json({"seed": str(seed), "rng": rng, "preset": preset or None, "tensors": steps})
    else:
        _note_kept(plan)
        out.table(_HEADER, [["" if cell is None else cell for cell in step] for step in plan])


def _note_kept(plan: Sequence[Planned]) -> None:
    """Name the tensors that a preset leaves as they are: its user expects that it fills all of them."""
    kept = [step.name for step in plan if step.draw == KEPT]
    if kept:
        note(f"left as {'it is' if len(kept) == 1 else 'they are'}: {first_few(kept, _NAMED)} (a rule can fill what no preset knows)")
