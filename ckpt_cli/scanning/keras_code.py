"""Code in Keras' configs: `Lambda` layers, whose functions are marshalled into the JSON, and names of modules outside of Keras.

As in keras/src/saving/serialization_lib.py (`__lambda__`; `module` and `class_name` are imported, CVE-2025-1550; `registered_name` stands
in where a module has no `class_name`), keras/src/layers/core/lambda_layer.py, keras/src/utils/torch_utils.py (`TorchModuleWrapper`, a
pickle) and keras/src/export/tfsm_layer.py. SavedModel keeps the configs in keras_metadata.pb
(keras/protobuf/saved_metadata.proto), or in saved_model.pb (tensorflow/core/protobuf/saved_object_graph.proto).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from ..errors import Malformed
from ..formats.encodings import protobuf, strict_json
from ..storage.file import File
from ..tensors.checkpoint import Checkpoint
from . import Search
from .safe_names import KERAS_FORMS, KERAS_FUNCTIONS

_CODE = {
    "Lambda": "a Lambda layer, whose function is code in the file",
    "__lambda__": "a function as marshalled code",
    "TorchModuleWrapper": "a module of torch's as a pickle",
    "TFSMLayer": "a layer that loads a SavedModel from any path",
}
_SAFE_MODULES = ("keras", "tensorflow.keras", "tf_keras", "tensorflow.python.keras")
_UNSAFE_MODULES = ("keras.utils", "keras.src.utils", "keras.saving", "keras.src.saving", "keras.src.legacy")
_MOST = 64 << 20  # bytes of a file of configs
_WORDS = re.compile(rb"(?i)lambda|TorchModule|TFSM|\\u00|\"module\"")  # without one of these there is no code in a config
# The fields that lead to the texts: SavedMetadata.nodes.metadata; SavedModel.meta_graphs.object_graph_def.nodes.user_object.metadata.
_PATHS = {"keras_metadata.pb": (1, 5), "saved_model.pb": (2, 7, 1, 4, 3)}


def scan_config(search: Search, raw: bytes, place: str) -> None:
    """Search a config of JSON text."""
    try:
        _scan_json(search, strict_json.loads(raw), place)
    except Malformed as error:
        search.unread(f"the config is not read: {error.what}", place)


def _scan_json(search: Search, document: Any, place: str) -> None:
    for value in strict_json.objects_in(document):
        _scan_object(search, value, place)


def _scan_object(search: Search, value: dict[str, Any], place: str) -> None:
    names, module, config = _names_in(value), value.get("module"), value.get("config")
    for name in names:
        if (kind := name.rpartition(">")[2]) in _CODE:
            called = config.get("name") if isinstance(config, dict) else None
            what = _CODE[kind] + (f": {called}" if isinstance(called, str) else "")
            search.add(name, f"{what}; loading or calling the model elsewhere may run it", place)
    if not isinstance(module, str):
        return
    is_function = value.get("class_name") == "function"
    if module == "builtins":
        imported = [name for name in names if not _is_safe_builtin(name, is_function)]
    else:
        imported = [] if _is_safe(module) else names[:1]
    for name in imported:
        search.add(f"{module}.{name}", "loading the model elsewhere imports it, and may call it", place)


def _names_in(value: dict[str, Any]) -> list[str]:
    """The names that Keras looks up for an object: that of its function or class, and the registered one, which may stand in for it."""
    name, config, registered = value.get("class_name"), value.get("config"), value.get("registered_name")
    if not isinstance(name, str):
        return []
    found = [config if name == "function" and isinstance(config, str) else name]
    if isinstance(registered, str) and registered not in (name, "function"):
        found.append(registered)
    return found


def _is_safe_builtin(name: str, is_function: bool) -> bool:
    """Whether a name in the module `builtins` is none of Python's: a function of Keras, or one that the program has registered.

    Keras looks for functions among its own first; a name with a `>` is a package's and no attribute of a module. Names such as
    `__tensor__` are read before any module is imported.
    """
    return ">" in name or (name in KERAS_FUNCTIONS if is_function else name in KERAS_FORMS)


def _is_safe(module: str) -> bool:
    def below(names: tuple[str, ...]) -> bool:
        return any(module == name or module.startswith(f"{name}.") for name in names)

    return below(_SAFE_MODULES) and not below(_UNSAFE_MODULES)


def names_in_configs(checkpoint: Checkpoint) -> list[str]:
    """The names of code in the configs that were read with a checkpoint, or lie beside it."""
    from ..formats.keras.hdf5_checkpoint import Archive, model_config
    from ..formats.keras.hdf5_objects import HDF5Tree

    search, rest = Search(), checkpoint.rest
    if isinstance(rest, Archive):
        scan_config(search, rest.records["config.json"].read(), "")
    elif isinstance(rest, HDF5Tree):
        _scan_json(search, model_config(rest), "")
    elif checkpoint.origin and os.path.basename(checkpoint.origin.path) == "variables.index":
        scan_saved_model(search, saved_model_of(checkpoint.origin.path))
    return list(dict.fromkeys(found.name for found in search if found.name))


def saved_model_of(index: str) -> str:
    """The folder of the SavedModel that has this `variables/variables.index`."""
    return os.path.dirname(os.path.dirname(os.path.abspath(index)))


def scan_saved_model(search: Search, folder: str) -> None:
    """Search the configs in the folder of a SavedModel, where there are any."""
    for name, path in _PATHS.items():
        full = os.path.join(folder, name)
        if not os.path.isfile(full):
            continue
        file = File(full)
        if file.size > _MOST:
            search.unread(f"its {file.size:,} bytes are not looked at", name)
            continue
        try:
            data = file.read(0, file.size)
            for text in _texts(data, path) if _WORDS.search(data) else ():
                if text.lstrip()[:1] == b"{":
                    scan_config(search, text, name)
        except Malformed as error:
            search.unread(f"it is not read: {error.what}", name)


def _texts(data: bytes, path: tuple[int, ...], start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """The bytes in the fields that `path` leads to, in a message of Protocol Buffers. Raises Malformed."""
    for field in protobuf.fields(data, start, stop):
        if field.number != path[0]:
            continue
        if len(path) == 1:
            yield data[field.start : field.stop]
        else:
            yield from _texts(data, path[1:], field.start, field.stop)
