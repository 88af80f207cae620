"""What the providers share: whether a library is there, and a module of it as a Model with the names of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..architectures.layers import Shape
from ..architectures.model import Model
from ..architectures.user_module import describe, types_of
from ..errors import LibraryError
from . import Initialisation

if TYPE_CHECKING:
    from torch.nn import Module

# library → the oldest version that is tried, and the one that was tested
TESTED = {"transformers": ("5.20", "5.24"), "diffusers": ("0.35", "0.42"), "timm": ("1.0", "1.0"), "torchvision": ("0.20", "0.29")}


def installed(library: str) -> str:
    """Return the version of a library. It is not imported.

    Raises:
        LibraryError: it is not installed, or too old to be tried.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version(library)
    except PackageNotFoundError:
        raise LibraryError(f"{library} is not installed", f"pip install 'ckpt-tool[{library}]'") from None
    oldest = TESTED[library][0]
    if _numbers(found) < _numbers(oldest):
        raise LibraryError(f"{library} {found} is too old", f"pip install -U 'ckpt-tool[{library}]' gets {oldest} or newer")
    return found


def drift(library: str, version: str) -> list[str]:
    """Return a note where a library is not of the version that was tested: what is used of its inside changes between releases."""
    tested = TESTED[library][1]
    return [f"{library} {version} is used; {tested} was tested"] if _numbers(version) != _numbers(tested) else []


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version: `5.24.0.dev0` → (5, 24)."""
    import re

    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


@dataclass(frozen=True)
class Carried:
    """Which tensor of a module each tensor of a file is.

    Attributes:
        names: name in the file → name in the module.
        parts: name in the file → the tensor on the meta device, of those that the library makes others of: an expert of many that are
            fused; None where it does not say how. `names` gives the first tensor of the module into which it goes.
        unread: names in the file that the library passes over: buffers that it computes anew.
        prefix: what all names of the file begin with before the library's own begin: `module.`.
    """

    names: Mapping[str, str]
    parts: Mapping[str, Any]
    unread: frozenset[str] = frozenset()
    prefix: str = ""


def described_in_file(module: Module, spec: str, build: Callable[[], Module], carried: Carried, shapes: Mapping[str, Shape]) -> Model:
    """Return a module as a Model with the names of a file.

    Args:
        module: the module, on the meta device.
        spec: what messages call it.
        build: builds it on the device in force.
        carried: its names in the file.
        shapes: the file's tensors, prefix included; the shapes of those that the library passes over come from here.
    """
    model = describe(spec, {}, build, module)
    back = {ours: theirs for theirs, ours in carried.names.items() if theirs not in carried.parts}

    def shape(name: str) -> Shape:
        if name not in carried.parts:
            return model.shapes[carried.names[name]]
        part = carried.parts[name]
        return shapes[carried.prefix + name] if part is None else tuple(part.shape)

    layers, places = layers_in_file(model.layers, carried)
    return replace(
        model,
        layers=layers,
        places=places,
        shapes={name: shape(name) for name in carried.names} | {name: shapes[carried.prefix + name] for name in carried.unread},
        buffers=frozenset(theirs for theirs, ours in carried.names.items() if ours in model.buffers) | carried.unread,
        ties={frozenset(back[name] for name in group if name in back) for group in model.ties if len(group & back.keys()) > 1},
        frozen=frozenset(back[name] for name in model.frozen if name in back),
        prefix=carried.prefix,
    )


def drawn(build: Callable[[], tuple[Module, Carried]]) -> dict[str, Initialisation]:
    """Return how each tensor of a file is initialised, by its name there; those that the library passes over are not among them.

    Args:
        build: builds the module on the meta device and initialises it; what it does is recorded.
    """
    from .recording import recording

    with recording() as record:
        module, carried = build()
        tensors = module.state_dict(keep_vars=True)
    kinds = types_of(module)
    found = {}
    for theirs, ours in carried.names.items():
        tensor = carried.parts[theirs] if theirs in carried.parts else tensors[ours]
        kind = kinds.get(ours.rpartition(".")[0], "")
        found[carried.prefix + theirs] = (
            record.initialisation(tensor, kind) if tensor is not None else Initialisation("", f"a part of {ours}")
        )
    return found


def layers_in_file(layers: Mapping[str, str], carried: Carried) -> tuple[dict[str, str], dict[str, str]]:
    """Return the layers under the paths that their tensors have in a file; one without tensors keeps its place in the one that holds it.

    Where the tensors of one layer are in several places of the file, as experts are that the library fuses, each has the layer's type.

    Returns:
        Path in the file → type; path in the module → path in the file, where that is another one.
    """
    found: dict[str, dict[str, None]] = {}
    for theirs, ours in carried.names.items():
        found.setdefault(_above(ours), {})[_above(theirs)] = None
    places = _places((path, _common(list(parts))) for path, parts in found.items())
    placed: dict[str, str] = {}
    for path, kind in layers.items():
        placed.setdefault(_place_of(path, places), kind)
        for part in found.get(path, ()):
            placed.setdefault(part, kind)
    return placed, {path: places[path] for path in layers if places[path] != path}


def _above(name: str) -> str:
    return name.rpartition(".")[0]


def _places(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Where layers are in a file.

    Args:
        pairs: (path in the module, path in the file) of layers that have tensors of their own. What is said of the layers that hold them
            is put to the vote.
    """
    places = {"": ""}
    votes: dict[str, dict[str, int]] = {}
    for ours, theirs in pairs:
        places.setdefault(ours, theirs)
        for path, place in _holders(ours.split("."), theirs.split(".")):
            votes.setdefault(path, {}).setdefault(place, 0)
            votes[path][place] += 1
    return {path: max(found, key=lambda place: found[place]) for path, found in votes.items()} | places


def _holders(ours: list[str], theirs: list[str]) -> Iterator[tuple[str, str]]:
    """Yield where the layers around a layer may be: from the inside and from the root, as long as names are alike or as deep."""
    end, their_end = len(ours), len(theirs)
    while end and their_end and ours[end - 1] == theirs[their_end - 1]:
        end, their_end = end - 1, their_end - 1
        yield ".".join(ours[:end]), ".".join(theirs[:their_end])
    for depth in range(1, min(end, their_end)):
        if end == their_end or ours[:depth] == theirs[:depth]:
            yield ".".join(ours[:depth]), ".".join(theirs[:depth])


def _place_of(path: str, places: dict[str, str]) -> str:
    """The place of a layer: its own, else below that of the layer that holds it."""
    if path not in places:
        holder = _place_of(_above(path), places)
        name = path.rpartition(".")[2]
        places[path] = f"{holder}.{name}" if holder else name
    return places[path]


def _common(paths: list[str]) -> str:
    """The path that paths have in common."""
    from itertools import takewhile

    steps = zip(*(path.split(".") for path in paths), strict=False)
    return ".".join(step[0] for step in takewhile(lambda step: len(set(step)) == 1, steps))
