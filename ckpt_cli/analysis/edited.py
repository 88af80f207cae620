"""A config, and the weights that it belongs to before and after an edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from ..configs import Config
from ..configs.json_text import REMOVED, Path
from ..configs.reader import reader_of
from ..configs.sizes import SPELLINGS, entry_of
from ..packing import dequantised, find
from ..tensors.checkpoint import Checkpoint, Kind
from .compared import Compared
from .shown_sizes import FURTHER
from .summary import model_tensors


class Adjustment(NamedTuple):
    """An entry of a config, and the value that is right after an edit.

    Attributes:
        path: where the entry is in the document.
        old: its value; None where it is not there.
        new: the right value; REMOVED for an entry that is no longer true.
    """

    path: Path
    old: object
    new: object

    @property
    def entry(self) -> str:
        """The entry as it is named: `text_config.vocab_size`."""
        return ".".join(map(str, self.path))


class Edited:
    """A config, and the weights before and after an edit.

    Attributes:
        config: the config.
        before: the weights that it told of, packed parameters as plain ones.
        after: the weights as they are written.
        explained: the tensors whose shapes an entry of the config tells, as topics find them.
        sources: the name before the edit, by the name after it, where they differ.
    """

    def __init__(self, config: Config, before: Checkpoint, after: Checkpoint) -> None:
        """Nothing is compared yet."""
        self.config, self.sources, self.explained = config, after.sources, set[str]()
        self.before, self.after = _compared(config, before), _compared(config, after)

    @cached_property
    def entries(self) -> dict[str, object]:
        """The document."""
        return dict(self.config.entries)

    def source(self, name: str) -> str:
        """Return the name that a tensor had before the edit."""
        return self.sources.get(name, name)

    def sizes(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield the part of the model, the size, the entry and the value of each size that is one number.

        Those that a summary does not tell are among them, and those that only further entries of a library tell: `model_args.in_chans`.
        """
        for part, sizes in self.before.said.items():
            yield from ((part, name, size.entry, size.value) for name, size in sizes.items() if isinstance(size.value, int))
        for part, sizes in self.before.said.items():
            at = min((_object_of(size.entry) for size in sizes.values()), key=len, default="")
            for name, spellings in FURTHER.items():
                for key in spellings:
                    value = entry_of(self.config.entries, f"{at}{key}")
                    if type(value) is int:
                        yield part, name, f"{at}{key}", value

        for name, entries in reader_of(self.config).again.items():
            path = next((path for entry in entries if (path := self.path(entry))), ())
            if path and name not in self.before.said[""] and type(value := self.value(path)) is int:
                yield "", name, ".".join(map(str, path)), value

    def adjusted(self, size: str, entry: str, old: int, new: int) -> Iterator[Adjustment]:
        """Yield what becomes of the entry that tells a size, and of others of the same object and library that tell it, too."""
        keys = {entry, *(f"{_object_of(entry)}{key}" for key in SPELLINGS.get(size, ())), *reader_of(self.config).again.get(size, ())}
        for key in sorted(keys, key=lambda each: (each != entry, each)):
            path = self.path(key)
            if path and self.value(path) == old and type(self.value(path)) is int:
                yield Adjustment(path, old, new)

    def path(self, entry: str) -> Path:
        """Return where an entry is in the document; empty where it is not there."""
        value: object = self.config.entries
        path: Path = ()
        while entry:
            if isinstance(value, list) and entry.isdecimal() and int(entry) < len(value):
                return (*path, int(entry))
            if not isinstance(value, Mapping):
                return ()
            if entry in value:
                return (*path, entry)
            first, _, entry = entry.partition(".")
            value, path = value.get(first), (*path, first)
        return ()

    def value(self, path: Path) -> object:
        """Return the entry at a path of the document."""
        value: object = self.config.entries
        for key in path:
            value = value[key]  # type: ignore[index]
        return value


def adjusted_config(config: Config, adjustments: list[Adjustment]) -> Config:
    """Return the config with its entries adjusted."""
    entries = dict(config.entries)
    for adjustment in adjustments:
        _put(entries, adjustment.path, adjustment.new)
    return replace(config, entries=entries)


def _put(document: dict[str, object], path: Path, value: object) -> None:
    """Set an entry in the copy of a document; the objects and lists on the way are copied."""
    inner: object = document
    for key in path[:-1]:
        found = inner[key]  # type: ignore[index]
        copied = dict(found) if isinstance(found, dict) else list(found)
        inner[key] = copied  # type: ignore[index]
        inner = copied
    if value is REMOVED:
        del inner[path[-1]]  # type: ignore[attr-defined]
    else:
        inner[path[-1]] = value  # type: ignore[index]


def _object_of(entry: str) -> str:
    """The object that an entry is in, with the point behind it; empty for the whole document."""
    return entry[: entry.rfind(".") + 1]


def _compared(config: Config, checkpoint: Checkpoint) -> Compared:
    """A config and a checkpoint as they are compared."""
    found = find(checkpoint)
    own = model_tensors(dequantised(checkpoint, found) if found.packed else checkpoint, None)
    dtypes: dict[str, int] = {}
    kinds: Mapping[str, Kind] = own.kinds()
    for name in own.distinct():
        if name not in found.packed:
            dtypes[kinds[name].dtype.name] = dtypes.get(kinds[name].dtype.name, 0) + kinds[name].numel
    return Compared(config, own, dtypes, bool(found.packed))
