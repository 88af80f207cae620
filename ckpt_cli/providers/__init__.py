"""Providers: the libraries of models, asked what a config's model is.

A provider is one module of this folder with one class under `@provider`. It builds the model that a config names on torch's meta device,
without memory for weights, and tells its layers, the names of its tensors in the file, its ties, and how it initialises each tensor.
Packages outside the project announce theirs in the entry-point group `ckpt_cli.providers`. A library is imported when a provider is asked
for something, and never for the listing of a file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ..errors import UsageError
from ..registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..architectures.model import Model
    from ..configs import Config
    from ..tensors.checkpoint import Checkpoint


class Initialisation(NamedTuple):
    """How a library initialises one tensor.

    Attributes:
        scheme: the right side of a rule, which draws the same: `normal(0, 0.02)`; empty where it cannot be told.
        reason: the class of the layer that holds the tensor, or why the scheme cannot be told.
    """

    scheme: str
    reason: str


@dataclass(frozen=True)
class Provided:
    """A model as its library builds it.

    Attributes:
        library: the library and its version: `transformers 5.24.0`.
        model: names, shapes, layer types, buffers and ties, all as the file has them.
        initialisations: gives how each tensor of the file is initialised, by name.
        notes: what the user must know: names that do not agree with the file, an `auto_map` that was not run.
    """

    library: str
    model: Model
    initialisations: Callable[[], Mapping[str, Initialisation]]
    notes: tuple[str, ...] = ()


class Provider(ABC):
    """A library of models. The first line of the docstring is its title."""

    name: ClassVar[str]  # of the extra that installs it, and before the colon in `--arch torchvision:resnet18`

    def accepts(self, config: Config) -> bool:
        """Return whether a config is one of this library's. The library is not imported."""
        return config.library == self.name

    def config_named(self, text: str) -> Config:
        """Return the config that `--arch LIBRARY:TEXT` stands for. By default TEXT is the path of a config, or of the folder of one.

        Raises:
            UsageError: the text makes no sense to the library.
            ReadError: there is no such config.
        """
        from ..configs import config_at

        if not text:
            raise UsageError(f"{self.name}: names no model", f"write {self.name}:FOLDER, or the path of a config")
        return config_at(text)

    @abstractmethod
    def provide(self, config: Config, shapes: Mapping[str, tuple[int, ...]]) -> Provided:
        """Build the model that a config names, on the meta device.

        Args:
            config: the config.
            shapes: the shape of each tensor of the file by name; empty where there is no file (`ckpt new config.json`). A model with many
                more tensors than these is refused while it is built.

        Raises:
            LibraryError: the library is not installed, is too old, or cannot build the model.
        """

    def provide_file(self, config: Config, checkpoint: Checkpoint) -> Provided:
        """Build the model of a config that belongs to a checkpoint: by default from the config and the shapes.

        Raises:
            LibraryError: as `provide`.
        """
        return self.provide(config, {name: kind.shape for name, kind in checkpoint.kinds().items()})


providers: Registry[Provider] = Registry("provider", "ckpt_cli.providers")


def provider(library: type[Provider]) -> type[Provider]:
    """Register a library under its name.

    Raises:
        ValueError: another provider has that name.
    """
    providers.add(library.name, library())
    return library
