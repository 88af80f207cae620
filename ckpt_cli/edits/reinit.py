"""reinit: fill tensors anew by rules and presets. Nothing is drawn until the result is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import EditError, about
from ..formats import formats
from ..numbers.shapes import span
from ..schemes.draws import Draw, Fill, Values
from ..schemes.presets import Preset, presets
from ..schemes.roles import Kind, role
from ..schemes.rules import Rule
from ..schemes.sampling import blocks, check, constant, portable
from ..schemes.seeds import generator, import_torch, subseed
from ..schemes.target import Source, Target, layout_of
from ..storage.sequential import Drawn
from ..storage.storage import Fill as Filled
from ..storage.storage import Storage
from ..tensors.checkpoint import Checkpoint
from ..tensors.selection import Layers, matches, no_layers
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    from torch import Generator
    from torch import Tensor as TorchTensor


class Planned(NamedTuple):
    """How one tensor is filled: the scheme or preset, what it draws, the sub-seed where it draws at random, and why."""

    name: str
    scheme: str
    draw: str
    seed: int | None
    reason: str


class Wish(NamedTuple):
    """What is to become of one tensor, before it is looked at; a draw of None leaves it as it is."""

    draw: Callable[[Target], Draw | None]
    scheme: str
    reason: str


def reinit(
    checkpoint: Checkpoint,
    rules: Sequence[Rule],
    *,
    seed: int,
    preset: str = "",
    rng: Literal["tensor", "torch"] = "tensor",
    layers: Layers = no_layers,
    layout: str = "",
    open: Callable[[str], Mapping[str, Source]],
) -> tuple[Checkpoint, list[Planned]]:
    """The checkpoint with its tensors filled by `preset` and then by `rules`, of which the last that matches wins; and the plan.

    What is tied is drawn once, under its first name. `rng="torch"` draws all from one generator in file order, as torch.manual_seed(seed)
    and torch.nn.init would. `layers` tells types by path, for roles and @Type; `open` opens what copy_from names.
    Fans are counted by `layout`, or by that of the format that was read.
    """
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    layout = layout or (formats[checkpoint.origin.format].layout if checkpoint.origin else "oi")
    stream = Stream(seed) if rng == "torch" else None
    storages: dict[Storage, Storage] = {}
    plan = []
    wishes = _wishes(checkpoint, rules, preset, layers)
    _check_apart(checkpoint, list(wishes))
    for name, wish in wishes.items():
        tensor = checkpoint[name]
        draw = _decided(wish, Target(name, tensor.shape, tensor.dtype.name, layout, tensor.tobytes, shapes, open))
        if draw is None:
            continue
        own = subseed(seed, name)
        chance = not isinstance(draw, Fill | Values)
        plan.append(Planned(name, wish.scheme, str(draw), own if chance and stream is None else None, wish.reason))
        # another view of the same storage may have been filled already
        current = tensor.over(storages.get(tensor.storage, tensor.storage))
        storages[tensor.storage] = current.storage_with(_contents(draw, tensor, own, stream))
    return checkpoint.with_storages(storages), plan


def _wishes(checkpoint: Checkpoint, rules: Sequence[Rule], preset: str, layers: Layers) -> dict[str, Wish]:
    """What is wished for each tensor, in file order; what is tied is one, under its first name."""
    wishes = _by_preset(checkpoint, preset, layers) if preset else {}
    first = checkpoint.tied_to()
    for rule in rules:
        for name in matches(checkpoint, rule.pattern, layers):
            checkpoint[name].plain(name)
            wishes[first.get(name, name)] = Wish(rule.call.draw, str(rule.call), rule.pattern)
    return {name: wishes[name] for name in checkpoint if name in wishes}


def _check_apart(checkpoint: Checkpoint, names: list[str]) -> None:
    """Raises EditError where two tensors that are to be filled overlap in one storage: neither would hold what was asked for it."""
    reaches: dict[int, list[tuple[int, int, str]]] = {}
    for name in names:
        tensor = checkpoint[name]
        low, high = (at * tensor.dtype.nbytes for at in span(tensor.shape, tensor.strides, tensor.offset))
        reaches.setdefault(id(tensor.storage), []).append((low, high, name))
    for found in reaches.values():
        found.sort()
        for (_, high, one), (low, _, two) in pairwise(found):
            if low < high:
                raise EditError(f"{one} and {two} overlap in one storage", "fill one of them, or untie them first")


def _decided(wish: Wish, target: Target) -> Draw | None:
    """What is drawn for the target, once it is sure that it can be."""
    with about(target.name):
        draw = wish.draw(target)
        if draw is not None:
            check(draw, target.dtype)
    return draw


def _by_preset(checkpoint: Checkpoint, preset: str, layers: Layers) -> dict[str, Wish]:
    """A wish for each tensor that is no tie of an earlier one and has plain elements, by its role."""
    fill, types = presets[preset], layers()
    shapes = {checkpoint.layer_name(name): tensor.shape for name, tensor in checkpoint.tensors.items()}
    wishes = {}
    for name, tensor in checkpoint.distinct().items():
        if tensor.layout or not tensor.dtype.addressable:
            continue
        target = Target(checkpoint.layer_name(name), tensor.shape, tensor.dtype.name, shapes=shapes)
        kind, reason = role(target, types.get(checkpoint.layer_and_leaf(name)[0]))
        if layout_of(target) == "io" and kind == "linear":
            reason += ", in x out by its bias"
        wishes[name] = Wish(partial(_by_role, fill, kind), f"preset {preset}", f"{kind}, {reason}")
    return wishes


def _by_role(fill: Preset, kind: Kind, target: Target) -> Draw | None:
    return fill(target._replace(layout=layout_of(target)), kind)


def _contents(draw: Draw, tensor: Tensor, own: int, stream: Stream | None) -> Storage:
    """The elements of `tensor` as `draw` gives them: a constant, or what is drawn when it is read."""
    dtype, shape = tensor.dtype.name, tensor.shape
    if isinstance(draw, Fill):
        return Filled(constant(draw.value, dtype), tensor.nbytes)
    if isinstance(draw, Values):
        return Drawn(tensor.nbytes, lambda: blocks(draw, dtype, shape))
    if stream is not None:
        return Drawn(tensor.nbytes, stream.next(lambda source: blocks(draw, dtype, shape, source)))
    alone = import_torch if portable(draw, dtype, tensor.nbytes) else None
    return Drawn(tensor.nbytes, lambda: blocks(draw, dtype, shape, generator(own)), alone)


class Stream:
    """One generator for all tensors. Each starts where the one before it ended, whichever is asked for first, and however often."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._draws: list[Callable[[Generator], Iterator[bytes]]] = []
        self._starts: list[TorchTensor] = []  # states of the generator, as far as they are known

    def next(self, draw: Callable[[Generator], Iterator[bytes]]) -> Callable[[], Iterator[bytes]]:
        """Queue `draw`; the answer runs it."""
        at = len(self._draws)
        self._draws.append(draw)
        return lambda: self._run(at)

    def _run(self, at: int) -> Iterator[bytes]:
        source = generator(self.seed)
        if not self._starts:
            self._starts.append(source.get_state())
        while len(self._starts) <= at:
            for _ in self._run(len(self._starts) - 1):
                pass
        source.set_state(self._starts[at])
        # one block behind: who has its last block asks for no more, and the end must be known by then
        held = b""
        for block in self._draws[at](source):
            if held:
                yield held
            held = block
        if len(self._starts) == at + 1:
            self._starts.append(source.get_state())
        if held:
            yield held
