"""What names and shapes tell of a model's parts without its config: stacks of layers, embeddings, output heads, experts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from ..tensors.checkpoint import Kind

# How a layer of a stack is called, before its number: `model.layers.3.mlp`, `blk.3.`, `layer_._3/` (TensorFlow), `layers_3/` (Flax).
_LAYER = re.compile(
    r"(?:^|.*?[./])(?:layers?|h|blocks?|blk|resblocks|transformer_blocks|single_transformer_blocks)(?:[./_]|_\._)(?P<index>\d{1,6})(?=[./])"
)
_NUMBERED = re.compile(r"(?P<path>.+?)(?:[./_]|_\._)(?P<index>\d{1,6})(?=[./])")  # of any name
_EMBEDDING = re.compile(
    r"(?:^|.*[./])(?:embed_tokens|wte|word_embeddings?|tok_embeddings|tokens_embed|token_embedding|token_embd|embed_in|shared|embeddings?)"
    r"[./](?:weight|embeddings?)(?::0)?"
)
_HEAD = re.compile(
    r"(?:^|.*[./])(?:lm_head|embed_out|output|output_layer|predictions[./]decoder|lm_head[./]decoder|proj_out|lm_loss|vocab_projector"
    r"|generator_lm_head)[./](?:weight|kernel)(?::0)?"
)
_EXPERT = re.compile(r"(?:^|.*[./])(?:local_)?experts[./_](?P<index>\d{1,6})[./]")
_STACK_OF_EXPERTS = re.compile(r".*(?:[./]experts[./]|_exps[./]).*")

_MOST_LAYERS = 10_000  # of a stack in which missing ones are looked for


def is_embedding(name: str) -> bool:
    """Whether a tensor is called as an embedding of tokens is."""
    return bool(_EMBEDDING.fullmatch(name))


def is_head(name: str) -> bool:
    """Whether a tensor is called as an output head for tokens is, outside of stacks of layers."""
    return bool(_HEAD.fullmatch(name)) and not _LAYER.match(name)


def layer_number(name: str) -> tuple[str, int] | None:
    """Return the path of the stack of layers that a tensor is in, and the number of its layer; None for one outside."""
    found = _LAYER.match(name)
    return (name[: found.start("index")].rstrip("._/"), int(found["index"])) if found else None


class Stack(NamedTuple):
    """A stack of layers.

    Attributes:
        path: what stands before their numbers.
        numbers: the numbers.
        tensors: how many tensors are in them.
    """

    path: str
    numbers: frozenset[int]
    tensors: int

    def __str__(self) -> str:
        """How many layers it has, and which of them are missing."""
        last = max(self.numbers)
        missing = sorted(set(range(last)) - self.numbers) if last <= _MOST_LAYERS else []
        without = f".0 to .{last} without {', '.join(map(str, missing[:8]))}{', …' if len(missing) > 8 else ''}" if missing else ""
        return f"{len(self.numbers)} ({self.path}{without})"


def _stacks(places: Iterable[tuple[str, int]]) -> list[Stack]:
    """The stacks that tensors are in, by path and number of the layer of each tensor."""
    numbers: dict[str, list[int]] = {}
    for path, number in places:
        numbers.setdefault(path, []).append(number)
    return [Stack(path, frozenset(each), len(each)) for path, each in numbers.items()]


class NamedParts:
    """The parts of a model by the names of its tensors. Each is looked for when it is asked for.

    Attributes:
        kinds: dtype and shape of each tensor, by name; packed parameters as plain ones.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        """Nothing is looked for yet."""
        self.kinds = kinds

    @cached_property
    def stacks(self) -> list[Stack]:
        """The stacks of layers, in file order. Stacks within layers of another stack are not among them."""
        return _stacks(found for name in self.kinds if (found := layer_number(name)))

    @cached_property
    def numbered(self) -> list[Stack]:
        """The outermost parts with a number each, in file order: layers, stages, blocks, whatever they are called."""
        found = (_NUMBERED.match(name) for name in self.kinds)
        return _stacks((each["path"], int(each["index"])) for each in found if each)

    @cached_property
    def embeddings(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the embeddings of tokens, rows by width."""
        return {name: kind.shape for name, kind in self.kinds.items() if len(kind.shape) == 2 and is_embedding(name)}

    @cached_property
    def heads(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what is called as an output head for tokens is, outside of stacks of layers."""
        return {name: kind.shape for name, kind in self.kinds.items() if len(kind.shape) == 2 and is_head(name)}

    @cached_property
    def experts(self) -> set[int]:
        """How many experts the layers have: by their numbers, or by the first axis of what holds all of them."""
        numbers: dict[str, set[int]] = {}
        stacked = set[int]()
        for name, kind in self.kinds.items():
            if found := _EXPERT.match(name):
                numbers.setdefault(name[: found.start("index")], set()).add(int(found["index"]))
            elif len(kind.shape) == 3 and _STACK_OF_EXPERTS.fullmatch(name):
                stacked.add(kind.shape[0])
        return stacked | {len(each) for each in numbers.values()}

    @cached_property
    def axes(self) -> set[int]:
        """The sizes of all axes."""
        return {size for shape in {kind.shape for kind in self.kinds.values()} for size in shape}

    @cached_property
    def vectors(self) -> set[int]:
        """The sizes of all vectors: biases and the scales of norms."""
        return {kind.shape[0] for kind in self.kinds.values() if len(kind.shape) == 1}
