"""Names and shapes compared with those of an architecture, or of another checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from ..architectures import recognition
from ..architectures.hyperparameters import shown_all
from ..architectures.mismatch import compare
from ..architectures.model import Model
from ..configs import find
from ..errors import LibraryError
from ..formats.parts.copies import equal
from ..numbers.dtypes import DTYPES
from ..numbers.shapes import show_shape
from ..packing import dequantised
from ..providers import Provided, asking
from ..tensors.checkpoint import Checkpoint, Kind
from ..tensors.prefix import prefixes
from ..tensors.tensor import Tensor
from . import Violation, violation

_ANY = Kind(DTYPES["uint8"], ())  # of names whose shapes are told elsewhere
_SAID_BY_LINES = re.compile(r"does not agree with the file|; the file holds ")  # notes of providers on what is a violation here


def as_architecture(checkpoint: Checkpoint, arch: str, told: Callable[[str], None] = lambda note: None) -> Iterator[Violation]:
    """List names that the architecture has and the file lacks, names that only the file has, shapes that differ, and ties.

    Args:
        checkpoint: The checkpoint.
        arch: The name of the architecture. `auto` asks the library that the config beside the file names, and recognises the architecture
            where there is none; `none` asks for nothing.
        told: Is given notes, such as that the library is not installed.
    """
    yield from _unread_config(checkpoint) if arch == "auto" else ()
    plain = dequantised(checkpoint) if arch == "auto" or asking.library_in(arch) else checkpoint
    provided = None
    try:
        provided = _provided(plain, arch, told)
    except LibraryError as error:
        if arch != "auto":
            raise
        yield violation("config", "", f"the library of the config cannot be asked: {error}")
    checkpoint = plain if provided else checkpoint
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    model = provided.model if provided else recognition.resolve_arch(arch, shapes, checkpoint.ties(), checkpoint.layers)
    if model is None or not model.architecture:
        if arch != "none":
            yield violation("architecture", "", "no known architecture has these names and shapes")
        return
    shown = model.architecture + (f"({shown_all(model.hyperparameters)})" if model.hyperparameters else "")
    mismatch = compare(model, shapes)
    for name in mismatch.missing:
        yield violation("missing", name, f"{shown} has it: {show_shape(model.shapes[name[len(model.prefix) :]])}")
    for name in mismatch.unexpected:
        yield violation("unexpected", name, f"{shown} has none of this name")
    for name, ours, theirs in mismatch.mismatched:
        yield violation(
            "shape", name, f"{show_shape(theirs)}, not {show_shape(ours)} as in {shown}", shape=list(theirs), expected=list(ours)
        )
    if arch == "auto" and model.prefix and not mismatch and all(name.startswith(model.prefix) for name in shapes):
        told(f"all names have {model.prefix!r} before those of {shown}")
    if provided:
        yield from _another_class(checkpoint, arch, model)
        yield from _ties(checkpoint, model, shown)


def _provided(checkpoint: Checkpoint, arch: str, told: Callable[[str], None]) -> Provided | None:
    """What the library says that `arch` or a config names; None where none is named, or the one of the config is not installed.

    Raises:
        LibraryError: the library cannot build the model, or is named by the user and not installed.
    """
    try:
        provided = asking.ask(checkpoint, arch)
    except LibraryError as error:
        if arch != "auto" or not asking.has_to_be_installed(error):
            raise
        told(f"names and shapes are not compared with those of the library: {error}")
        return None
    for note in provided.notes if provided else ():
        if not _SAID_BY_LINES.search(note):
            told(note)
    return provided


def _unread_config(checkpoint: Checkpoint) -> Iterator[Violation]:
    """Name a config beside the file that cannot be read, or says nothing of a model: nothing is compared with it."""
    found = find(checkpoint)
    for note in found.notes:
        yield violation("config", "", note)
    if found.config is None and not found.notes and found.folder and found.folder.document("config.json") is not None:
        yield violation("config", "", f"{found.folder.file('config.json')} names no model, and no sizes of one")


def _another_class(checkpoint: Checkpoint, arch: str, model: Model) -> Iterator[Violation]:
    """Say that the file holds another class than the config names: a base model without its head, say. `resnet18.a1` is a resnet18."""
    config = asking.config_for(checkpoint, arch)
    named, held = config.class_name.partition(".")[0] if config else "", model.architecture.partition(":")[2]
    if named and held and named.lower() != held.lower():
        yield violation("architecture", "", f"the config names {named}; the file holds {held}")


def _ties(checkpoint: Checkpoint, model: Model, shown: str) -> Iterator[Violation]:
    """List tensors that are one in the model and have other values in the file, and those that are one in the file alone."""
    in_model = {model.prefix + name: model.prefix + min(group) for group in model.ties for name in group}
    for group in model.ties:
        first, *others = [name for name in checkpoint if name.startswith(model.prefix) and name[len(model.prefix) :] in group] or [""]
        for name in others:
            if not _equal(checkpoint[first], checkpoint[name]):
                yield violation("tied", name, f"has other values than {first}, with which it is one in {shown}", to=first)
    for name, first in checkpoint.tied_to().items():
        if name.startswith(model.prefix) and in_model.get(name, name) != in_model.get(first, first):
            yield violation("tied", name, f"is tied to {first}, and {shown} has two", to=first)


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same elements. Packed ones and the like, whose elements are not plain, count as the same."""
    if one.key == other.key or one.layout or other.layout:
        return True
    return (one.dtype, one.shape) == (other.dtype, other.shape) and equal(one.elements(), other.elements())


def as_other(checkpoint: Mapping[str, object], other: Mapping[str, object], path: str) -> Iterator[Violation]:
    """List the names that one of two checkpoints lacks. `path` is what violations call `other`."""
    for name in other:
        if name not in checkpoint:
            yield violation("missing", name, f"{path} has it")
    for name in checkpoint:
        if name not in other:
            yield violation("unexpected", name, f"{path} has none of this name")


def prefix_hint(checkpoint: Collection[str], violations: Iterable[Violation]) -> str:
    """Suggest a renaming if all names lack the same prefix, or all have it in excess; else return an empty text."""
    names: dict[str, list[str]] = {"missing": [], "unexpected": []}
    for each in violations:
        names.get(each.kind, []).append(each.name)
    missing, unexpected = names["missing"], names["unexpected"]
    if not 1 < len(missing) == len(unexpected) == len(checkpoint):
        return ""
    found = prefixes(dict.fromkeys(unexpected, _ANY), dict.fromkeys(missing, _ANY))
    if len(found) != 1 or found[0].tensors < len(checkpoint):
        return ""
    old, new, _ = found[0]
    what = "lack" if not old else "begin with" if new else "have"
    rest = "" if not old else f" instead of {new!r}" if new else " before them"
    return f"all names {what} {old or new!r}{rest} (ckpt rename CKPT '{found[0].rule}')"
