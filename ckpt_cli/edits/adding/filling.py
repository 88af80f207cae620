"""New tensors that schemes fill: they have no values yet, and everything else that a scheme asks of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import EditError
from ...schemes.plan import KEPT, Planned
from ...schemes.rules import Call, PresetCall, Rule
from ...tensors.checkpoint import Checkpoint
from ...tensors.selection import Layers
from ..reinit import reinit

if TYPE_CHECKING:
    from .additions import Addition


def filled(
    checkpoint: Checkpoint, additions: Sequence[Addition], *, seed: int, open: Callable[[str], Mapping[str, Any]], layers: Layers
) -> tuple[Checkpoint, list[Planned]]:
    """Fill the new tensors of a checkpoint that have a scheme. Each sees the shapes of all: a bias that of its weight.

    Args:
        checkpoint: The checkpoint with the new tensors.
        additions: What the new tensors are.
        seed: The seed of what is drawn.
        open: Opens another checkpoint by its path.
        layers: Gives the types of layers, for presets.

    Returns:
        The checkpoint, and how each of them is filled.

    Raises:
        EditError: A scheme needs old values, or does not suit the tensor; a preset does not know what to draw.
    """
    rules = [Rule(each.name, each.what) for each in additions if isinstance(each.what, Call | PresetCall)]
    for rule in rules:
        if isinstance(rule.call, Call) and rule.call.needs_old_values:
            raise EditError(f"{rule.call} starts from old values, and {rule.pattern} is new", "fill it with another scheme")
    if not rules:
        return checkpoint, []
    after, plan = reinit(checkpoint, rules, seed=seed, layers=layers, open=open)
    known = {step.name for step in plan if step.draw != KEPT}
    left = next((rule for rule in rules if rule.pattern not in known), None)
    if left is not None:
        raise EditError(f"the preset {left.call} does not know what {left.pattern} is", "name a scheme, for instance zeros")
    return after, [step._replace(reason="new") for step in plan]
