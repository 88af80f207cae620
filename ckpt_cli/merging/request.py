"""What is asked of a merge, as far as it can be checked before a file is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..errors import UsageError
from .method import Method, methods
from .weights import Weights, check_weights


class Request(NamedTuple):
    """What is asked of a merge.

    Attributes:
        method: The name of the method.
        weights: The weights, for all tensors or by pattern.
        has_base: Whether there is a base.
        density: The density, where one is given.
        checkpoints: How many checkpoints are merged, without the base.
        has_lora: Whether adapters are folded in.
    """

    method: str
    weights: Weights | None
    has_base: bool
    density: float | None
    checkpoints: int
    has_lora: bool

    def checked(self) -> Mapping[str, tuple[float, ...]]:
        """Return the weights by pattern. Raises UsageError, or UnknownName."""
        method = methods[self.method]
        self._check_base(method)
        self._check_count(method)
        self._check_density(method)
        return {} if self.weights is None else check_weights(self.weights, self.checkpoints)

    def _check_base(self, method: Method) -> None:
        if method.has_base and not self.has_base:
            raise UsageError(f"{self.method} merges what was learned since a base", "name it: --base BASE")
        if self.has_base and not method.has_base:
            based = [name for name in methods if methods[name].has_base]
            raise UsageError(f"{self.method} has no use for a base", f"--method {' or '.join(based)} has")

    def _check_count(self, method: Method) -> None:
        if self.checkpoints == 1 and self.has_lora and not method.has_base:
            if self.weights is not None:
                raise UsageError("weights are for several checkpoints", "the scale of an adapter stands behind it: --lora ADAPTER:0.5")
            return
        if self.checkpoints < method.least:
            raise UsageError("only one checkpoint is given", "name others to merge it with, or an adapter to fold in: --lora ADAPTER")
        if method.most and self.checkpoints > method.most:
            raise UsageError(
                f"{self.method} merges {method.most} checkpoints, not {self.checkpoints}", "merge two, then the result with the next"
            )

    def _check_density(self, method: Method) -> None:
        if method.has_density and self.density is None:
            raise UsageError(
                f"{self.method} needs the part of each difference to keep", f"--density {method.usual_density:g}, as in its paper"
            )
        if self.density is not None and not method.has_density:
            raise UsageError(f"{self.method} keeps all differences", "--density goes with --method ties or dare")
        if self.density is not None and not 0 < self.density <= 1:
            raise UsageError(f"--density {self.density:g} is no part of a difference", "a number over 0, up to 1")
