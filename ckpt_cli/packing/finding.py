"""The packed parameters of a checkpoint, and the checkpoint with each of them decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from ..errors import CkptError, EditError, about, first_few, naming
from ..numbers.shapes import show_shape
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .headers import Headers
from .packed import Packed, Packing, packings

__all__ = ["Found", "Packed", "dequantised", "find", "packed_parameters", "parts_changed", "refuse_cast"]

_SHOWN = 3  # names in an error
_WORDS = ("int32", "uint32")  # packed integers are kept in these, or in types of one byte


class Found(NamedTuple):
    """What is packed in a checkpoint.

    Attributes:
        packed: the packed parameters by the name that they have in the plain model, in the order of the file.
        broken: what announces itself as packed and does not fit, by the name of the tensor that announces it.
        nbytes: the bytes that the parts of each packed parameter take.
        markers: the tensors that say of the file that it is packed.
        packings: the ways to pack that are in use.
        unknown: the error where the config says that the weights are packed, and in which way is not known.
    """

    packed: dict[str, Packed]
    broken: dict[str, CkptError]
    nbytes: dict[str, int]
    markers: frozenset[str]
    packings: tuple[Packing, ...]
    unknown: tuple[CkptError, ...] = ()

    def part_of(self) -> dict[str, Packed]:
        """Return the packed parameter that each tensor is a part of, by the tensor's name."""
        return {part: packed for packed in self.packed.values() for part in packed.parts}


def find(checkpoint: Checkpoint) -> Found:
    """Find the packed parameters of a checkpoint, from its header."""
    headers = Headers(checkpoint)
    if not any(kind.layout or kind.dtype.nbytes == 1 or kind.dtype.name in _WORDS for kind in headers.kinds.values()):
        return Found({}, {}, {}, frozenset(), ())
    taken: dict[str, Packed] = {}
    broken: dict[str, CkptError] = {}
    markers: set[str] = set()
    used: list[Packing] = []
    for packing in packings.built_in():
        before = len(taken)
        for name in packing.candidates(headers):
            if name not in taken:
                _take(packing, headers, name, taken, broken)
        if len(taken) > before:
            used.append(packing)
            markers.update(headers.ending(packing.markers))
    places = {name: place for place, name in enumerate(headers.kinds)}
    in_order = sorted({packed.name: packed for packed in taken.values()}.values(), key=lambda packed: places[packed.main])
    left = {name: error for name, error in broken.items() if name not in taken}
    nbytes = {packed.name: sum(headers.kinds[part].nbytes for part in packed.parts) for packed in in_order}
    return Found(
        {packed.name: packed for packed in in_order}, left, nbytes, frozenset(markers), tuple(used), _unknown(headers, in_order, left)
    )


def _unknown(headers: Headers, known: Collection[Packed], broken: Collection[str]) -> tuple[CkptError, ...]:
    """The error where a config names a way to pack, matrices of small integers are there, and none of them is known."""
    method = headers.config.get("quant_method") if not known and not broken else None
    if not isinstance(method, str):
        return ()
    small = (kind for kind in headers.kinds.values() if len(kind.shape) > 1 and (kind.dtype.nbytes == 1 or kind.dtype.kind in "iu"))
    if not any(kind.dtype.name != "bool" for kind in small):
        return ()
    return (EditError(f"the config beside it says that it is quantised by {method:.40}, whose tensors are not known as packed"),)


def _take(packing: Packing, headers: Headers, name: str, taken: dict[str, Packed], broken: dict[str, CkptError]) -> None:
    """Add what the tensor `name` announces to what is found, or to what is broken."""
    try:
        packed = packing.at(headers, name)
    except CkptError as error:
        broken.setdefault(name, error)
    else:
        if packed and not any(part in taken for part in packed.parts):
            taken.update(dict.fromkeys(packed.parts, packed))


def packed_parameters(checkpoint: Checkpoint) -> dict[str, Packed]:
    """Return the packed parameters of a checkpoint by the name that they have in the plain model. What does not fit is left out."""
    return find(checkpoint).packed


def dequantised(checkpoint: Checkpoint, found: Found | None = None) -> Checkpoint:
    """Return the checkpoint with each packed parameter as one plain tensor, in the place of its main part. Its other parts are gone.

    Args:
        checkpoint: the checkpoint; one in which nothing is packed is returned as it is.
        found: what `find` found in it; broken parts are then left as they are.

    Raises:
        CkptError: parts of a packed parameter are missing, do not fit, or are not understood.
        EditError: the plain name is that of another tensor.
    """
    if found is None:
        found = find(checkpoint)
        for error in (*found.broken.values(), *found.unknown):
            raise error
    if not found.packed:
        return checkpoint
    part_of = found.part_of()
    plain = _decoded(checkpoint, found.packed.values())
    tensors: dict[str, Tensor] = {}
    sources = dict(checkpoint.sources)
    for name in checkpoint:
        packed = part_of.get(name)
        if packed is None and name not in found.markers:
            tensors[name] = checkpoint[name]
        elif packed and packed.main == name:
            if packed.name in checkpoint and packed.name not in packed.parts:
                raise EditError(f"{packed.name} is there, and {name} is a packed one of that name", f"drop one: --drop '{packed.name}'")
            tensors[packed.name] = plain[packed.name]
            sources[packed.name] = sources.pop(name, name)
    objects = {path: value for path, value in checkpoint.objects.items() if path not in found.packed}  # subclasses that wrapped them
    made = checkpoint.replacing(tensors=tensors, sources=sources, objects=objects)
    for packing in found.packings:
        made = packing.settled(made)
    return made


def _decoded(checkpoint: Checkpoint, packed: Iterable[Packed]) -> dict[str, Tensor]:
    """The plain tensor of each packed parameter; those whose parts are tied are tied."""
    made: dict[object, Tensor] = {}
    path = checkpoint.origin.path if checkpoint.origin else ""
    plain: dict[str, Tensor] = {}
    for each in packed:
        key = tuple(checkpoint[part].key for part in each.parts)
        if key not in made:
            made[key] = each.decode()
            made[key].storage.watch(partial(_of, path, each.name))
        plain[each.name] = made[key]
    return plain


@contextmanager
def _of(path: str, name: str) -> Iterator[None]:
    """Let errors say which file is read, where another one is written meanwhile, and which parameter."""
    with about(path), naming(name):
        yield


def refuse_cast(checkpoint: Checkpoint, names: Collection[str] | None = None) -> None:
    """Check that no part of a packed parameter is to be cast.

    Args:
        checkpoint: the checkpoint.
        names: the tensors to cast; None for all that are cast where no pattern picks some.

    Raises:
        EditError: a part is among them.
    """
    found = find(checkpoint)
    picked = {packed.name: packed for part, packed in found.part_of().items() if names is None or part in names}
    for name, error in found.broken.items():
        if names is None or name in names:
            raise error
    for error in found.unknown if names is None else ():
        raise error
    if picked:
        shown = [f"{name} ({packed.title}, {show_shape(packed.shape)})" for name, packed in picked.items()]
        are = "are packed parameters" if len(picked) > 1 else "is a packed parameter"
        raise EditError(f"{first_few(shown, _SHOWN)} {are}, whose parts are not cast one by one", "add --dequantise to decode them")


def parts_changed(before: Checkpoint, after: Checkpoint) -> list[str]:
    """Return a line for each part of a packed parameter that has other values in `after`, where another of its parts has not."""
    changed = (
        {name for name, tensor in before.tensors.items() if after.tensors.get(name) is not tensor} if len(before) == len(after) else set()
    )
    changed = {name for name in changed if name in after and after[name].key != before[name].key}
    lines: list[str] = []
    for packed in find(before).packed.values() if changed else ():
        alone = [part for part in packed.parts if part in changed]
        if alone and len(alone) < len(packed.parts):
            lines.extend(f"{part} is a part of the packed parameter {packed.name} ({packed.title})" for part in alone)
    return lines
