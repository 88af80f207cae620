"""What the config of an adapter says, and its weights contradict."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .compared import Compared, Contradiction, first
from .named_parts import NamedParts

_ADAPTER = re.compile(r"(?P<module>.*)\.lora_A\b.*")
MOST_TARGETS = 1000  # entries of `target_modules` that are compared


def ranks(parts: NamedParts) -> dict[str, int]:
    """Return the rank of each module, by the name of the tensor that shows it."""
    return {name: kind.shape[0] for name, kind in parts.kinds.items() if kind.shape and _ADAPTER.fullmatch(name)}


def adapted_modules(parts: NamedParts) -> list[str]:
    """Return the paths of the modules that an adapter changes."""
    return [match["module"] for name in parts.kinds if (match := _ADAPTER.fullmatch(name))]


def rank(compared: Compared) -> Iterator[Contradiction]:
    """Yield the rank of an adapter, which `rank_pattern` changes for some modules."""
    said, pattern = (compared.config.entries.get(key) for key in ("r", "rank_pattern"))
    if type(said) is not int:
        return
    allowed = {said, *(value for value in pattern.values() if type(value) is int)} if isinstance(pattern, dict) else {said}
    found = ranks(compared.parts)
    if others := {name: size for name, size in found.items() if size not in allowed}:
        name = first(others)
        yield Contradiction("r", f"{said}", f"{others[name]} in {name}, and in {len(others)} of {len(found)} modules")


def target_modules(compared: Compared) -> Iterator[Contradiction]:
    """Yield the modules that an adapter is said to change, and does not."""
    targets, modules = compared.config.entries.get("target_modules"), adapted_modules(compared.parts)
    if not modules or not isinstance(targets, list) or len(targets) > MOST_TARGETS:
        return
    for target in targets:
        if isinstance(target, str) and not any(f".{module}".endswith(f".{target}") for module in modules):
            yield Contradiction("target_modules", target, "no such module in the adapter")
