"""The rank and the target modules that the config of an adapter tells, where an edit changes them."""

from __future__ import annotations

from collections.abc import Iterator

from .contradicting_adapters import MOST_TARGETS, adapted_modules, ranks
from .edited import Adjustment, Edited


def rank(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the rank, where all modules had it and all have another one now."""
    said = edited.config.entries.get("r")
    before, after = (set(ranks(parts).values()) for parts in (edited.before.parts, edited.after.parts))
    if type(said) is not int or before != {said} or after in ({said}, set()):
        return
    if len(after) > 1:
        yield f"r stays {said}: the modules have ranks {', '.join(map(str, sorted(after)))}"
        return
    yield Adjustment(("r",), said, after.pop())
    alpha = edited.config.entries.get("lora_alpha")
    if type(alpha) in (int, float):
        yield f"lora_alpha stays {alpha}: the scale of the adapter is alpha/r, which changes with r"


def target_modules(edited: Edited) -> Iterator[Adjustment | str]:
    """Yield the list of target modules without those that the adapter no longer has."""
    targets = edited.config.entries.get("target_modules")
    if not isinstance(targets, list) or len(targets) > MOST_TARGETS or not all(isinstance(target, str) for target in targets):
        return
    before, after = (adapted_modules(parts) for parts in (edited.before.parts, edited.after.parts))
    kept = [target for target in targets if _has(after, target) or not _has(before, target)]
    if after and kept and kept != targets:
        yield Adjustment(("target_modules",), targets, kept)


def _has(modules: list[str], target: str) -> bool:
    return any(f".{module}".endswith(f".{target}") for module in modules)
