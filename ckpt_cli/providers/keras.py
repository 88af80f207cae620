"""Keras' models: a file of a whole model holds its config, which says how each layer is initialised. No library is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..architectures.layers import Shape
from ..architectures.recognition import declared_model
from ..configs import Config
from ..errors import LibraryError
from ..formats.keras.layer_classes import arguments_of, layers_in, name_of
from ..tensors.checkpoint import Checkpoint
from . import Initialisation, Provided, Provider, provider
from .keras_layers import NotTold, initialisation

_SEPARATOR = re.compile(r"(?<!\\)/")
_OF_PARTS = ("MultiHeadAttention", "GroupQueryAttention")  # layers whose parts are initialised by their own arguments


@provider
class Keras(Provider):
    """Keras: whole models in `.keras` and HDF5."""

    name = "keras"

    def provide(self, config: Config, shapes: Mapping[str, Shape]) -> Provided:
        """Refuse: a config tells neither the names nor the shapes of the tensors.

        Raises:
            LibraryError: always.
        """
        raise LibraryError("a config of Keras alone tells neither names nor shapes", "give the .keras or .h5 of the whole model")

    def provide_file(self, config: Config, checkpoint: Checkpoint) -> Provided:
        """Return the model that the file declares, initialised as its config says."""
        version = re.fullmatch(r"[\w.+-]{1,40}", checkpoint.metadata.get("keras_version", ""))
        library = f"Keras {version[0]}" if version else "Keras"
        return Provided(library, declared_model(checkpoint), lambda: initialisations(config, checkpoint))


def initialisations(config: Config, checkpoint: Checkpoint) -> dict[str, Initialisation]:
    """Return how each tensor of the model is initialised, by its name in the file."""
    return {name: _initialisation(config, checkpoint, name) for name in checkpoint if name in checkpoint.layer_of}


def _initialisation(config: Config, checkpoint: Checkpoint, name: str) -> Initialisation:
    path, variable = checkpoint.layer_of[name]
    kind = checkpoint.layers.get(path, "")
    try:
        layer = layer_at(config.entries, path)
        return Initialisation(initialisation(layer, kind, path, variable, checkpoint[name].shape), kind)
    except NotTold as reason:
        return Initialisation("", str(reason))


def layer_at(config: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Return the config of the layer at `path`, which is made of the layers' names.

    Raises:
        NotTold: there is none, or there are several.
    """
    for part in filter(None, _SEPARATOR.split(path)):
        name = part.replace("\\/", "/").replace("\\\\", "\\")
        found = [inner for inner in layers_in(config) if name_of(inner) == name]
        if len(found) > 1 and any(other != found[0] for other in found):
            raise NotTold(f"several layers are called {name[:60]}")
        if found:
            config = found[0]
        elif config.get("class_name") not in _OF_PARTS:
            config = _inner(config, name)
    return config


def _inner(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The config of the layer that a layer wraps, or of its cell."""
    arguments = arguments_of(config)
    keys = ("backward_layer", "layer") if name.startswith("backward") else ("layer", "cell")
    found = next((arguments[key] for key in keys if isinstance(arguments.get(key), dict)), None)
    if found is None:
        raise NotTold(f"the config has no layer {name[:60]}")
    layer: Mapping[str, Any] = found
    return layer
