"""What MXNet's `PREFIX-symbol.json`, beside `PREFIX-0000.params`, says of the layers: the graph that Module and `export` write with them.

    {"nodes": [{"op": "null", "name": "data", "inputs": []}, {"op": "null", "name": "fc1_weight", "inputs": []}, …
               {"op": "FullyConnected", "name": "fc1", "attrs": {…}, "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]]}, …], "heads": …}

As in src/nnvm/legacy_json_util.cc of apache/mxnet and nnvm's saveload_json.cc: nodes come after what they take, `null` is a variable. A
tensor is of the first node that takes it together with anything that is no tensor of the file (an RNN's weights are reshaped and joined
first); files from before 0.9 leave the auxiliary states out, whose names begin with their layer's. Gluon calls the node of the layer
`dense0` `dense0_fwd`. Layers without tensors are those that MXNet calls by a capital (Activation); the other nodes are plain functions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...disk.opening import open_file
from ...errors import CkptError, Malformed
from ..encodings import strict_json

_MOST = 1 << 24  # bytes: a network of ten thousand nodes has two million
_DEEPEST = 50  # dots in a name
_PARAMS = re.compile(r"(-\d{4,})?\.params$")


class Layers(NamedTuple):
    """`types` and `homes` as Checkpoint's layers and homes; `note`: why there are none though a graph is there."""

    types: dict[str, str]
    layer_of: dict[str, tuple[str, str]]
    note: str = ""


class _Node(NamedTuple):
    op: str
    name: str
    inputs: list[int]


def layers(path: str, names: Iterable[str]) -> Layers:
    """The layers of the tensors `names` in the file at `path`, by the graph beside it; nothing where there is none."""
    beside = _PARAMS.sub("", path) + "-symbol.json"
    if not _PARAMS.search(path) or not os.path.lexists(beside):
        return Layers({}, {})
    try:
        return told(_contents(beside), names)
    except CkptError as error:
        return Layers({}, {}, f"{beside} tells of no layers: {error.what}")


def _contents(path: str) -> bytes:
    """The whole of a plain file that lies where it seems to. Raises ReadError, Malformed."""
    if os.path.dirname(os.path.realpath(path)) != os.path.realpath(os.path.dirname(path) or "."):
        raise Malformed("it is a link that leads out of the folder")
    file = open_file(path)
    if file.size > _MOST:
        raise Malformed(f"it has {file.size:,} bytes, more than any network's")
    return file.read(0, file.size)


def told(raw: bytes, names: Iterable[str]) -> Layers:
    """What the graph in `raw` says of the tensors `names`. Raises Malformed where it is none, or one of another network."""
    nodes = _nodes(raw)
    plain = {name: re.sub(r"^(arg|aux):", "", name) for name in names}
    fixed, takers = _flow(nodes, set(plain.values()))
    variables = {node.name: at for at, node in enumerate(nodes) if node.op == "null"}
    owners = {name: _owner(variables[name], fixed, takers) for name in plain.values() if name in variables}
    if not owners:
        raise Malformed("it is of another network: none of the tensors is in it")
    types, paths = _types(nodes, fixed, set(owners.values()))
    homes = {}
    for name, own in plain.items():
        path = paths.get(owners[own], "") if own in owners else _by_name(own, types)
        homes[name] = path, own.removeprefix(f"{path}_")
    return Layers(types, homes)


def _nodes(raw: bytes) -> list[_Node]:
    document = strict_json.loads(raw)
    found = document.get("nodes") if type(document) is dict else None
    if type(found) is not list:
        raise Malformed("it holds no nodes")
    return [_node(each, at) for at, each in enumerate(found)]


def _node(told: Any, at: int) -> _Node:
    """The `at`-th node, which takes what earlier ones give."""
    if type(told) is not dict or type(told.get("op")) is not str or type(told.get("name")) is not str:
        raise Malformed(f"node {at:,} has no op and name")
    inputs = told.get("inputs")
    if type(inputs) is not list or not all(type(each) is list and each and type(each[0]) is int and 0 <= each[0] < at for each in inputs):
        raise Malformed(f"the inputs of node {at:,} are no earlier nodes")
    return _Node(told["op"], told["name"], [each[0] for each in inputs])


def _flow(nodes: list[_Node], kept: set[str]) -> tuple[list[bool], dict[int, int]]:
    """Whether each node is made of the file's tensors alone; and node → the first that takes it."""
    fixed: list[bool] = []
    takers: dict[int, int] = {}
    for at, node in enumerate(nodes):
        made = bool(node.inputs) and all(fixed[each] for each in node.inputs)
        fixed.append(node.name in kept if node.op == "null" else made)
        for each in node.inputs:
            takers.setdefault(each, at)
    return fixed, takers


def _owner(at: int, fixed: list[bool], takers: dict[int, int]) -> int:
    """The node that a variable is a tensor of; -1 where nothing takes it."""
    while at >= 0 and fixed[at]:
        at = takers.get(at, -1)
    return at


def _types(nodes: list[_Node], fixed: list[bool], owners: set[int]) -> tuple[dict[str, str], dict[int, str]]:
    """Path of a layer → its type, in the order of the graph, and number of a node → path. A layer that is used twice is there once."""
    types, paths = {"": "Symbol"}, {}
    for at, node in enumerate(nodes):
        layer = at in owners or (node.op[:1].isupper() and not fixed[at])
        if node.op == "null" or not node.name or not layer or node.name.count(".") > _DEEPEST:
            continue
        candidates = (node.name.removesuffix("_fwd"), node.name, f"{node.name}_{at}")
        paths[at] = next((path for path in candidates if path and types.setdefault(path, node.op) == node.op), "")
    return types, paths


def _by_name(name: str, types: dict[str, str]) -> str:
    """The layer that the name of a tensor begins with; the root where there is none."""
    while name and name not in types:
        name = name.rpartition("_")[0]
    return name
