"""`assert`: what must hold of the checkpoint at that step. It changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .steps import Verb


def recipe_step() -> Verb:
    """The step `assert = {…}` of a recipe."""
    from ..checking.assertions import broken, validate
    from ..tensors.checkpoint import Checkpoint
    from .steps import TEXT, Accepted, Context, Outcome, Table, Verb

    table_of_claims = Accepted(lambda value: isinstance(value, dict) and bool(value), "a table: {exists = [...]}")

    def make(checkpoint: Checkpoint, table: Table, context: Context) -> Outcome:
        return Outcome(checkpoint, broken=broken(checkpoint, table["assert"], context.layers_of(checkpoint, table)))

    return Verb({"assert": table_of_claims, "arch": TEXT}, make, lambda table: validate(table["assert"]))
