"""New tensors that schemes fill: they have no values yet, and everything else that a scheme asks of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import EditError
from ...numbers.dtypes import DTYPES
from ...numbers.shapes import nbytes_of
from ...schemes.plan import KEPT, Planned
from ...schemes.rules import Call, PresetCall, Rule
from ...storage.sequential import Drawn
from ...tensors.checkpoint import Checkpoint
from ...tensors.selection import Layers
from ...tensors.tensor import Tensor
from ..reinit import reinit

if TYPE_CHECKING:
    from .additions import Addition


def unfilled(addition: Addition) -> Tensor:
    """Return a tensor of the dtype and shape of an addition, whose values are an error."""
    dtype, shape = addition.dtype or DTYPES["float32"], addition.shape or ()
    return Tensor.whole(dtype, shape, Drawn(nbytes_of(dtype, shape), _no_values))


def _no_values() -> Iterator[bytes]:
    raise EditError("a new tensor has no values yet", "fill it with a scheme that starts from none")
    yield b""


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
        if isinstance(rule.call, Call) and _needs_old_values(rule.call):
            raise EditError(f"{rule.call} starts from old values, and {rule.pattern} is new", "fill it with another scheme")
    if not rules:
        return checkpoint, []
    after, plan = reinit(checkpoint, rules, seed=seed, layers=layers, open=open)
    known = {step.name for step in plan if step.draw != KEPT}
    left = next((rule for rule in rules if rule.pattern not in known), None)
    if left is not None:
        raise EditError(f"the preset {left.call} does not know what {left.pattern} is", "name a scheme, for instance zeros")
    return after, [step._replace(reason="new") for step in plan]


def _needs_old_values(call: Call) -> bool:
    inner = (value for value in call.arguments.values() if isinstance(value, Call))
    own = call.scheme.family == "warm start" and "file" not in call.scheme.parameters
    return own or any(_needs_old_values(each) for each in inner)
