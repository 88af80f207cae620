"""What a naming of adapters consists of, and the registry of the namings: how a program calls the tensors of the layers that it changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from ..errors import EditError, first_few
from ..registry import ModuleRegistry
from ..tensors.checkpoint import Checkpoint
from .layer import Layer

# How a name ends, as a regular expression → what the tensor is (`forms`). `NAME` stands for the adapter's own name, which PEFT puts there.
Ends = Mapping[str, str]

LORA: Ends = {
    r"\.lora_(?:down|A(?:NAME)?)\.weight": "down",
    r"\.lora_(?:up|B(?:NAME)?)\.weight": "up",
    r"\.lora_mid\.weight": "mid",
    r"\.lora_(?:up|B(?:NAME)?)\.bias": "up_bias",
    r"\.alpha": "alpha",
    r"\.dora_scale": "dora_scale",
    r"\.lora_magnitude_vector(?:NAME)?(?:\.weight)?": "magnitude",
}
LYCORIS: Ends = {
    **{rf"\.{part}(?:NAME)?": part for part in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{rf"\.{part}(?:NAME)?": part for part in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
    r"\.(?:diff|w_norm)": "diff",
    r"\.(?:diff_b|b_norm)": "diff_b",
}
_MOST = 1e30  # of an alpha
_NAME = r"\.(?!weight$|bias$)[^.]+"


class Source(NamedTuple):
    """The files of an adapter.

    Attributes:
        checkpoint: the tensors.
        config: what `adapter_config.json` beside them says; empty where there is none.
    """

    checkpoint: Checkpoint
    config: Mapping[str, Any]


@dataclass
class Notes:
    """What a reading has to say to the user, besides errors.

    Attributes:
        assumed: how many layers have no alpha, so that it is taken to be the rank.
    """

    assumed: int = 0
    lines: list[str] = field(default_factory=list)


class Naming:
    """A naming. A subclass sets the attributes, and is registered by `namings.add`.

    Attributes:
        name: what it is called in the registry; its module is `naming_NAME`.
        title: whose it is, for messages.
        flat: whether the dots of a path are underscores.
        ends: how the names of tensors end.
        marks: a regular expression that some of its names match, and no other naming's.
        components: how names begin, as regular expressions, and which model of a pipeline that means. The first one that fits counts.
    """

    name: str
    title: str
    flat = False
    ends: ClassVar[Ends] = {**LORA, **LYCORIS}
    marks: str
    components: ClassVar[Mapping[str, str]] = {"": ""}

    def claims(self, source: Source) -> bool:
        """Return whether an adapter has these names."""
        mark = re.compile(self.marks)
        return any(mark.search(key) for key in source.checkpoint)

    @cached_property
    def _end(self) -> re.Pattern[str]:
        ends = "|".join(f"(?P<e{index}>{end.replace('NAME', _NAME)})" for index, end in enumerate(self.ends))
        return re.compile(f"(?P<module>.+?)(?:{ends})")

    def layers(self, source: Source) -> list[Layer]:
        """Return the layers that an adapter changes, with their parts.

        Raises:
            EditError: two tensors are the same part of a layer, or one is no part of any.
        """
        layers: dict[tuple[str, str], Layer] = {}
        strangers = []
        for key, tensor in source.checkpoint.items():
            found = self.place(key)
            if found is None:
                strangers.append(key)
            elif found[2]:
                component, module, role = found
                layers.setdefault((component, module), Layer(component, module)).add(role, key, tensor)
        if strangers:
            raise EditError(f"{first_few(strangers, 10)}: {self.title} has no such tensors", "leave them out: ckpt drop")
        return list(layers.values())

    def place(self, key: str) -> tuple[str, str, str] | None:
        """Return the component, the path of the layer, and the role of a tensor; None where it has no role, an empty one to ignore it."""
        match = self._end.fullmatch(key)
        if match is None:
            return None
        role = list(self.ends.values())[int(str(match.lastgroup)[1:])]
        component, module = self.split(match["module"])
        return component, module, role

    def split(self, path: str) -> tuple[str, str]:
        """Return which model of a pipeline a path belongs to, and the path in that model."""
        for prefix, component in self.components.items():
            if match := re.match(prefix, path):
                return component, path[match.end() :]
        return "", path

    def scale(self, source: Source, layer: Layer, rank: int, notes: Notes) -> float:
        """Return the factor of a delta: alpha / rank, where alpha is a tensor; 1 without one, as the programs of these names take it.

        Raises:
            EditError: alpha is no number, or the rank is 0.
        """
        if not rank and "lokr_w1" in layer.parts:  # LyCORIS modules/lokr.py: two whole matrices have no rank
            return 1.0
        if "alpha" not in layer.parts:
            notes.assumed += 1
            return 1.0
        key, tensor = layer.parts["alpha"]
        if tensor.numel != 1:
            raise EditError(f"{key} is no single number", "save the adapter again")
        return ratio(float(tensor.decoded(key).array().reshape(-1)[0]), rank, key)


def ratio(alpha: float, rank: float, key: str) -> float:
    """Return alpha / rank. Raises EditError where that is no number."""
    if not rank or abs(alpha) > _MOST or alpha != alpha:
        raise EditError(f"{key}: alpha is {alpha:g}, the rank {rank:g}: no scale comes of that", "save the adapter again")
    return alpha / rank


namings: ModuleRegistry[Naming] = ModuleRegistry(
    "naming of adapters", "ckpt_cli.adapters", "naming_", likely=("naming_peft", "naming_kohya", "naming_gguf", "naming_mlx")
)
