"""Makes a checkpoint of the HDF5 that Keras writes: its tensors in order, its layers, its metadata, and objects besides tensors."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ...errors import Malformed
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint, Foreign
from ..encodings import strict_json
from .hdf5_objects import ElementKind, HDF5Tree, Node, ObjectKind
from .layers import naming
from .recurrent_arguments import unusual_arguments

_DIRECTION = re.compile(r"^(forward|backward)_")  # what Bidirectional puts before the name of its layer
_CONFIGS = ("model_config", "training_config")  # attributes that are not listed as metadata
_VIRTUAL = "made of other datasets (virtual)"
_SHOWN = 1000  # characters of a text that are listed
_LINKS: dict[str, str] = {
    ObjectKind.SOFT_LINK: "soft link",
    ObjectKind.EXTERNAL_LINK: "external link",
    ObjectKind.REPEATED_GROUP: "hard link",
    ObjectKind.NAMED_TYPE: "named type",
}


class Archive(NamedTuple):
    """A .keras file: the HDF5 file in it, and all of its records by name, that file included."""

    tree: HDF5Tree
    records: dict[str, Storage]


def checkpoint_of(tree: HDF5Tree, config: dict[str, Any] | None, rest: Any = None) -> Checkpoint:
    """Make the checkpoint that `tree` holds.

    Args:
        tree: What the HDF5 file holds.
        config: The model's config, where there is one.
        rest: What only the format understands of the checkpoint, where it is not `tree` itself.
    """
    named, odd = naming(tree, config), unusual_arguments(config)
    layers = {name: path.rpartition("/")[2] for name, (path, _) in named.layer_of.items()} if odd else {}
    remarks = {name: odd[each] for name, own in layers.items() for each in (own, _DIRECTION.sub("", own)) if each in odd}
    return Checkpoint(
        {name: tree.tensors[name] for name in named.names},
        metadata={each.name: each.text for each in tree.nodes[""].attributes if each.text is not None and each.name not in _CONFIGS},
        objects={path: _listed(node) for path, node in tree.nodes.items() if node.kind not in (ObjectKind.GROUP, ObjectKind.DATASET)},
        undecoded=tree.undecoded,
        notes=tuple(f"{path} is {_VIRTUAL}, and is not read" for path, node in tree.nodes.items() if node.kind == ObjectKind.VIRTUAL),
        layers=named.layers,
        layer_of=named.layer_of,
        remarks=remarks,
        rest=tree if rest is None else rest,
        separator="/",
    )


def told_of_new(names: str) -> str:
    """Return what Keras makes of tensors that the config or the lists of names in a file do not have."""
    return f"the model in the file does not know of {names}: Keras passes over it, or refuses a layer that has it"


def attributes(tree: HDF5Tree) -> dict[str, Any]:
    """Return what the attributes of each object say, by path and name, besides those that are metadata."""
    listed = ((path, each) for path, node in tree.nodes.items() for each in node.attributes)
    return {f"{path or '/'}@{each.name}": each[1:] for path, each in listed if path or each.text is None or each.name in _CONFIGS}


def model_config(tree: HDF5Tree) -> dict[str, Any] | None:
    """Return the model's config in a whole-model .h5, an attribute of JSON text; None without it. Raises Malformed."""
    attribute = tree.nodes[""].attribute("model_config")
    return json_object(attribute.text.encode(), "model_config") if attribute and attribute.text is not None else None


def json_object(raw: bytes, where: str) -> dict[str, Any]:
    """Parse a config, which serves to name layers and is not trusted beyond that. Raises Malformed where `raw` is no JSON object."""
    try:
        document = strict_json.loads(raw)
    except Malformed as error:
        raise Malformed(f"{where}: {error.what}") from None
    if type(document) is not dict:
        raise Malformed(f"{where} is no JSON object")
    return document


def _listed(node: Node) -> Any:
    """Return what is listed of an object that is no tensor: a text, a link, a dataset of another type."""
    record = node.record
    if node.kind == ObjectKind.TEXT:
        texts = node.as_attribute().texts if "value" in record else None
        if texts and record["shape"] == [] and len(texts[0]) <= _SHOWN:
            return texts[0]
        return Foreign("texts", f"{len(texts or []):,} texts")
    if node.kind == ObjectKind.VIRTUAL:
        return Foreign("dataset", _VIRTUAL)
    if node.kind == ObjectKind.OBJECT:
        what = record["type"][1] if record["type"][0] == ElementKind.OTHER else "without elements"
        return Foreign("dataset", str(what))
    target = record.get("to", "")
    return Foreign(_LINKS.get(node.kind, node.kind), ":".join(target) if isinstance(target, list) else target)
