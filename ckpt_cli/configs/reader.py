"""What a kind of config consists of, and the registry of the kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from ..registry import ModuleRegistry
from .config import Config

if TYPE_CHECKING:
    from ..tensors.checkpoint import Checkpoint
    from .folder import Folder


class Reader:
    """A kind of config. A subclass sets the attributes, defines `beside` or `inside`, and is registered by `readers.add`.

    Attributes:
        name: the library whose config it is; its module is `reader_NAME`.
        files: what its files are called, for a user who names one.
        weights: how the names of the files of weights begin that no other config is about.
        spellings: how this library spells sizes; they come before those of `sizes.SPELLINGS`.
        again: further entries that tell a size, beside the one that is believed.
    """

    name: str
    files: tuple[str, ...] = ("config.json",)
    weights: tuple[str, ...] = ()
    spellings: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    again: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def beside(self, folder: Folder) -> Config | None:
        """Return what the config in the folder of the weights says; None where there is none of this kind."""
        return None

    def inside(self, checkpoint: Checkpoint) -> Config | None:
        """Return what the file of the weights itself says; None where it says nothing of this kind."""
        return None

    def quantised(self, config: Config) -> str:
        """Return how the weights are quantised, where this kind of config says it in a way of its own; else an empty text."""
        return ""

    def told(self, config: Config) -> Iterable[str]:
        """Return what else is to be said of the model, besides its class and sizes, in words."""
        return ()


readers: ModuleRegistry[Reader] = ModuleRegistry("kind of config", "ckpt_cli.configs", "reader_", likely=("reader_transformers",))


def reader_of(config: Config) -> Reader:
    """Return the reader of the library whose config it is; for a library that has none, one that knows the usual spellings."""
    return readers[config.library] if config.library in readers else Reader()


def text(value: object) -> str:
    """Return an entry that is to be a text; an empty one where it is another thing."""
    return value if isinstance(value, str) else ""


def first_text(value: object) -> str:
    """Return the first text of an entry that is to be a list of texts, or a text; an empty one where it is another thing."""
    return text(value[0]) if isinstance(value, list) and value else text(value)
