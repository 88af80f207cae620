"""The layers in MXNet's `PREFIX-symbol.json`, the graph that Module and `export` write beside `PREFIX-0000.params`.

    {"nodes": [{"op": "null", "name": "data", "inputs": []}, {"op": "null", "name": "fc1_weight", "inputs": []}, …
               {"op": "FullyConnected", "name": "fc1", "attrs": {…}, "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]]}, …], "heads": …}

As in src/nnvm/legacy_json_util.cc of apache/mxnet and nnvm's saveload_json.cc: a node comes after its inputs, and `null` is a variable.

- A tensor belongs to the first node that takes it together with anything that is no tensor of the file (an RNN's weights are reshaped and
  joined first).
- Files from before 0.9 leave the auxiliary states out; their names begin with the name of their layer.
- Gluon calls the node of the layer `dense0` `dense0_fwd`.
- A node without tensors is a layer where its operator begins with a capital (Activation); the others are plain functions.
- The gamma of a BatchNorm with `fix_gamma`, the default, counts as 1 whatever the file holds (src/operator/nn/batch_norm.cc). Attributes
  are texts, and are called attrs, before 1.0 attr, before 0.9 param.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...disk.opening import open_file
from ...errors import CkptError, Malformed
from ..encodings import strict_json

_MOST_GRAPH = 1 << 24  # bytes: a network of ten thousand nodes has two million
_MOST_DOTS = 50  # in the name of a layer
_PARAMS = re.compile(r"(-\d{4,})?\.params$")


class Layers(NamedTuple):
    """The layers of a network: `types` and `layer_of` are `layers` and `layer_of` of a Checkpoint.

    `fixed` are values that count for whole tensors, by name. `note` says why there are no layers though there is a graph.
    """

    types: dict[str, str]
    layer_of: dict[str, tuple[str, str]]
    fixed: dict[str, float]
    note: str = ""


class _GraphNode(NamedTuple):
    """A node of the graph; `inputs` are the indices of the nodes that it takes."""

    op: str
    name: str
    inputs: list[int]
    attributes: dict[str, Any]


def graph_beside(path: str) -> str:
    """Return the path of the graph beside the file at `path`; empty where there is none."""
    graph = _PARAMS.sub("", path) + "-symbol.json"
    return graph if _PARAMS.search(path) and os.path.lexists(graph) else ""


def layers(path: str, names: Iterable[str]) -> Layers:
    """Return the layers of the tensors `names` in the file at `path`, by the graph beside it; nothing where there is none."""
    graph = graph_beside(path)
    if not graph:
        return Layers({}, {}, {})
    try:
        return _layers_in(_contents(graph), names)
    except CkptError as error:
        return Layers({}, {}, {}, f"{graph} tells of no layers: {error.what}")


def _contents(path: str) -> bytes:
    """Read a whole file. Raises ReadError; Malformed where it is too large, or a link that leads out of its folder."""
    if os.path.dirname(os.path.realpath(path)) != os.path.realpath(os.path.dirname(path) or "."):
        raise Malformed("it is a link that leads out of the folder")
    file = open_file(path)
    if file.size > _MOST_GRAPH:
        raise Malformed(f"it has {file.size:,} bytes, more than any network's")
    return file.read(0, file.size)


def _layers_in(graph: bytes, names: Iterable[str]) -> Layers:
    """Return the layers of the tensors `names` in a graph (JSON). Raises Malformed where it is none, or of another network."""
    nodes = _nodes(graph)
    variable_names = {name: re.sub(r"^(arg|aux):", "", name) for name in names}
    constant, takers = _flow(nodes, set(variable_names.values()))
    variables = {node.name: index for index, node in enumerate(nodes) if node.op == "null"}
    owners = {name: _owner(variables[name], constant, takers) for name in variable_names.values() if name in variables}
    if not owners:
        raise Malformed("it is of another network: none of the tensors is in it")
    types, paths = _types(nodes, constant, set(owners.values()))
    layer_of = {}
    for name, variable in variable_names.items():
        path = paths.get(owners[variable], "") if variable in owners else _layer_by_name(variable, types)
        layer_of[name] = path, variable.removeprefix(f"{path}_")
    gammas = _fixed_gammas(nodes)
    return Layers(types, layer_of, {name: 1.0 for name, variable in variable_names.items() if variable in gammas})


def _is_batch_norm(op: str) -> bool:
    """Whether it is BatchNorm, or one of its kin: BatchNorm_v1, _contrib_SyncBatchNorm, _npx_batch_norm."""
    return "batchnorm" in op.lower().replace("_", "")


def _fixed_gammas(nodes: list[_GraphNode]) -> set[str]:
    """The names of the variables that are a fixed gamma wherever they are taken."""
    gammas: dict[str, bool] = {}
    for node in nodes:
        for position, index in enumerate(node.inputs):
            fixed = position == 1 and _is_batch_norm(node.op) and str(node.attributes.get("fix_gamma", "True")) in ("True", "1")
            gammas[nodes[index].name] = gammas.get(nodes[index].name, True) and fixed and nodes[index].op == "null"
    return {name for name, fixed in gammas.items() if fixed}


def _nodes(graph: bytes) -> list[_GraphNode]:
    document = strict_json.loads(graph)
    nodes = document.get("nodes") if type(document) is dict else None
    if type(nodes) is not list:
        raise Malformed("it holds no nodes")
    return [_node(node, index) for index, node in enumerate(nodes)]


def _node(node: Any, index: int) -> _GraphNode:
    """Check a node. Raises Malformed where it does not have an operator, a name, and earlier nodes as inputs."""
    if type(node) is not dict or type(node.get("op")) is not str or type(node.get("name")) is not str:
        raise Malformed(f"node {index:,} has no op and name")
    inputs = node.get("inputs")
    if type(inputs) is not list or not all(_is_input(each, index) for each in inputs):
        raise Malformed(f"the inputs of node {index:,} are no earlier nodes")
    attributes: dict[str, Any] = next((node[key] for key in ("attrs", "attr", "param") if type(node.get(key)) is dict), {})
    return _GraphNode(node["op"], node["name"], [each[0] for each in inputs], attributes)


def _is_input(value: Any, index: int) -> bool:
    """Whether `value` is [node, …], where the node comes before the one at `index`."""
    return type(value) is list and bool(value) and type(value[0]) is int and 0 <= value[0] < index


def _flow(nodes: list[_GraphNode], tensors: set[str]) -> tuple[list[bool], dict[int, int]]:
    """Return whether each node is computed of the file's tensors alone; and the first node that takes each node."""
    constant: list[bool] = []
    takers: dict[int, int] = {}
    for index, node in enumerate(nodes):
        computed = bool(node.inputs) and all(constant[each] for each in node.inputs)
        constant.append(node.name in tensors if node.op == "null" else computed)
        for each in node.inputs:
            takers.setdefault(each, index)
    return constant, takers


def _owner(index: int, constant: list[bool], takers: dict[int, int]) -> int:
    """Return the node that the variable at `index` belongs to; -1 where nothing takes it."""
    while index >= 0 and constant[index]:
        index = takers.get(index, -1)
    return index


def _types(nodes: list[_GraphNode], constant: list[bool], owners: set[int]) -> tuple[dict[str, str], dict[int, str]]:
    """Return the type of each layer by its path, in the order of the graph, and the path of each node that is one.

    A layer that is used twice is listed once.
    """
    types, paths = {"": "Symbol"}, {}
    for index, node in enumerate(nodes):
        is_layer = index in owners or (node.op[:1].isupper() and not constant[index])
        if node.op == "null" or not node.name or not is_layer or node.name.count(".") > _MOST_DOTS:
            continue
        candidates = (node.name.removesuffix("_fwd"), node.name, f"{node.name}_{index}")
        paths[index] = next((path for path in candidates if path and types.setdefault(path, node.op) == node.op), "")
    return types, paths


def _layer_by_name(name: str, types: dict[str, str]) -> str:
    """Return the layer that the name of a tensor begins with; the root ("") where there is none."""
    while name and name not in types:
        name = name.rpartition("_")[0]
    return name
