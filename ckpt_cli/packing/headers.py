"""What packings are found by: the names, dtypes and shapes of a checkpoint, and the quantisation entry of the config beside it.

Of the data, only what takes the place of a header is read, within a limit: a state in JSON, a shape, the number of bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from ..errors import Malformed
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint, Kind
from ..tensors.tensor import Tensor

MOST_STATE = 1 << 20  # bytes of a tensor that is read as a header


class Headers:
    """The tensors of a checkpoint by name, without their data.

    Attributes:
        checkpoint: the checkpoint.
        kinds: dtype, shape and layout of each tensor.
        facts: what packings found out about the checkpoint, by the name of the fact.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.kinds = checkpoint, checkpoint.kinds()
        self.facts: dict[str, Any] = {}

    def fact(self, name: str, find: Callable[[Headers], Any]) -> Any:
        """Return the fact `name` about the checkpoint: what `find` returns, which is called once."""
        if name not in self.facts:
            self.facts[name] = find(self)
        return self.facts[name]

    @cached_property
    def _by_leaf(self) -> dict[str, list[str]]:
        leaves: dict[str, list[str]] = {}
        for name in self.kinds:
            leaves.setdefault(name.rpartition(".")[2], []).append(name)
        return leaves

    def ending(self, ends: Iterable[str]) -> Iterator[str]:
        """Yield the names whose last part is one of `ends`, or ends with one of them that begins with `_`."""
        for end in ends:
            if end.startswith("_"):
                for leaf, names in self._by_leaf.items():
                    if leaf.endswith(end):
                        yield from names
            else:
                yield from self._by_leaf.get(end, ())

    def get(self, name: str) -> Kind | None:
        """Return dtype and shape of a tensor whose elements lie in its storage; None where there is none."""
        kind = self.kinds.get(name)
        return kind if kind and not kind.layout else None

    def is_a(self, name: str, dtypes: str) -> bool:
        """Return whether there is a plain tensor `name` of one of the dtypes, which are given as names with spaces between."""
        kind = self.get(name)
        return kind is not None and kind.dtype.name in dtypes.split()

    def need(self, name: str, dtypes: str, of: str) -> Tensor:
        """Return the tensor `name`, a part of the packed parameter that `of` announces.

        Raises:
            Malformed: there is none, or its dtype is none of `dtypes`.
        """
        kind = self.get(name)
        if kind is None:
            raise Malformed(f"{of}: its part {name} is not there", "download the checkpoint again")
        if kind.dtype.name not in dtypes.split():
            raise Malformed(f"{of}: its part {name} is {kind.dtype.name}, not {dtypes.replace(' ', ' or ')}")
        return self.checkpoint[name]

    def bytes_of(self, name: str) -> bytes:
        """Return the data of a small tensor. Raises Malformed where it is large."""
        tensor = self.checkpoint[name]
        if tensor.nbytes > MOST_STATE:
            raise Malformed(f"{name}: a header of {tensor.nbytes:,} bytes; up to {MOST_STATE:,} are read")
        return tensor.tobytes()

    def integers(self, name: str) -> list[int]:
        """Return the elements of a small tensor of integers. Raises Malformed where it is another one."""
        kind = self.get(name)
        if kind is None or kind.dtype.kind not in "iu" or kind.numel > 8:
            raise Malformed(f"{name}: not a few integers")
        data, size = self.bytes_of(name), kind.dtype.nbytes
        return [int.from_bytes(data[at : at + size], "little", signed=kind.dtype.kind == "i") for at in range(0, len(data), size)]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The quantisation entry of the config beside the file; empty where there is none."""
        from ..configs.quantisation import quantisation_of

        return quantisation_of(self.checkpoint)

    def setting(self, *keys: str) -> int | None:
        """Return the first of the entries `keys` that is an integer, of the config or of an object in it."""
        places = [self.config, *(value for value in self.config.values() if isinstance(value, dict))]
        return next((place[key] for key in keys for place in places if type(place.get(key)) is int), None)


def check_shape(of: str, name: str, shape: tuple[int, ...], want: tuple[int, ...]) -> None:
    """Raise Malformed where a part of a packed parameter has another shape than the others ask for."""
    if shape != want:
        raise Malformed(f"{of}: its part {name} is {show_shape(shape)}, where {show_shape(want)} is needed")
