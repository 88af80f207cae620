"""Names of layers taken apart: words and numbers, the same for `encoder/layer_0/attention/self/query` and `encoder.layer.0.attn.self.q`."""

from __future__ import annotations

import re
from functools import cached_property

_TOKEN = re.compile(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_DIMENSIONS = re.compile(r"(?<=[A-Za-z])[123][dD](?![A-Za-z])")
_SAME = {
    "q": "query", "k": "key", "v": "value", "emb": "embedding", "embed": "embedding", "embeddings": "embedding", "attn": "attention",
    "fwd": "forward", "bwd": "backward", "reverse": "backward", "projection": "proj", "r": "backward", "enc": "encoder", "dec": "decoder",
    "ln": "layernorm", "bn": "batchnorm", "out": "output",
}  # fmt: skip
_FRAMES = {"layers", "layer", "vars", "model", "module", "weights", "with", "params", "functional", "operations", "cell", "rnn",
           "attributes", "variable", "forward", "l"}  # fmt: skip
_CLASSES = {"dense", "linear", "fc", "conv", "convolution", "batch", "norm", "normalization", "layernorm", "batchnorm", "embedding", "lstm",
            "gru", "bidirectional", "transpose", "sequential", "depthwise", "separable"}  # fmt: skip
_ROLES = (
    {"query", "key", "value", "output"}, {"encoder", "decoder"}, {"up", "down", "gate"}, {"backward", "forward"},
    {"depthwise", "pointwise"}, {"word", "position", "token"},
)  # fmt: skip


class LayerName:
    """The name of a layer.

    Attributes:
        path: The name itself.
        tokens: Its words in one spelling, and its numbers as texts, without words that only say that something is a layer.
        words: The words among them that say which layer it is, not of what kind.
        number: Where it stands among layers of the same `skeleton`: `dense` is 0, `dense_1` is 1.
        skeleton: The name with `#` for each number.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        found = (_SAME.get(token.lower(), token.lower()) for token in _TOKEN.findall(_DIMENSIONS.sub("", path)))
        self.tokens = tuple(token for token in found if token not in _FRAMES)
        self.words = frozenset(token for token in self.tokens if not token.isdecimal()) - _CLASSES
        self.roles = tuple(frozenset(role & set(self.tokens)) for role in _ROLES)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its numbers, in order."""
        return tuple(int(token) for token in self.tokens if token.isdecimal())

    @property
    def spelling(self) -> tuple[str, ...]:
        """Its tokens with `#` for each number."""
        return tuple("#" if token.isdecimal() else token for token in self.tokens)

    @cached_property
    def _parts(self) -> list[str]:
        """The parts of the path, each with a number: 0 where it has none."""
        parts = [_DIMENSIONS.sub("", part) for part in re.split(r"[/.:]+", self.path.strip("/.:"))]
        return [part if part[-1:].isdecimal() else f"{part}0" for part in parts]

    @property
    def skeleton(self) -> tuple[str, ...]:
        """The parts of the path without their numbers."""
        return tuple(re.sub(r"[_ -]?\d+", "#", part) for part in self._parts)

    @property
    def place(self) -> tuple[int, ...]:
        """The numbers of the parts."""
        return tuple(int(number) for part in self._parts for number in re.findall(r"\d+", part))

    def contradicts(self, other: LayerName) -> bool:
        """Whether both names say what the layer does, and not the same: one is a query, the other a key."""
        return any(one and two and not one & two for one, two in zip(self.roles, other.roles, strict=True))
