"""A checkpoint out of the HDF5 that Keras writes: its tensors in order, its layers, and what is there besides."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...errors import Malformed
from ...storage.storage import Storage
from ...tensors.checkpoint import Checkpoint, Foreign
from ..encodings import strict_json
from .hdf5 import Node, Tree
from .layers import naming

_CONFIGS = ("model_config", "training_config")
_SHOWN = 1000  # characters of a text that are listed


def checkpoint(tree: Tree, config: dict[str, Any] | None, rest: Any = None) -> Checkpoint:
    """What `tree` holds; `config` is the model's, where it is there, `rest` what is to be carried along in place of the tree alone."""
    named = naming(tree, config)
    return Checkpoint(
        {name: tree.tensors[name] for name in named.names},
        metadata={each.name: each.text for each in tree.nodes[""].attributes if each.text is not None and each.name not in _CONFIGS},
        objects={path: listed(node) for path, node in tree.nodes.items() if node.kind not in ("group", "dataset")},
        layers=named.layers,
        layer_of=named.layer_of,
        rest=tree if rest is None else rest,
        separator="/",
    )


def stated(tree: Tree) -> dict[str, Any] | None:
    """The model's config in a whole-model .h5: an attribute of JSON text. Raises Malformed."""
    attribute = tree.nodes[""].attribute("model_config")
    return config(attribute.text.encode(), "model_config") if attribute and attribute.text is not None else None


def config(raw: bytes, where: str) -> dict[str, Any]:
    """A model's config. Raises Malformed where it is no JSON object; what is in it is not believed further than to name layers."""
    try:
        document = strict_json.loads(raw)
    except Malformed as error:
        raise Malformed(f"{where}: {error.what}") from None
    if type(document) is not dict:
        raise Malformed(f"{where} is no JSON object")
    return document


def listed(node: Node) -> Any:
    """What is no tensor: a text, a link, a dataset of another type."""
    told = node.told
    if node.kind == "text":
        texts = node.as_attribute().texts if "value" in told else None
        if texts and told["shape"] == [] and len(texts[0]) <= _SHOWN:
            return texts[0]
        return Foreign("texts", f"{len(texts or []):,} texts")
    if node.kind == "object":
        kind = told["type"][1] if told["type"][0] == "another" else "without elements"
        return Foreign("dataset", str(kind))
    kinds = {"soft": "soft link", "external": "external link", "again": "hard link", "type": "named type"}
    to = told.get("to", "")
    return Foreign(kinds.get(node.kind, node.kind), ":".join(to) if isinstance(to, list) else to)


class Archive(NamedTuple):
    """A .keras: the HDF5 file in it, and all of its records by name, that file among them."""

    tree: Tree
    records: dict[str, Storage]
