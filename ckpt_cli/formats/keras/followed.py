"""The objects of an HDF5 file after tensors were renamed, dropped or added: groups and Keras' lists of names follow them.

- A group whose tensors were all dropped goes with them. One whose tensors were all renamed goes to where the first of them went. Its
  attributes and the empty groups in it go along.
- A list of names (name_lists) keeps its order: a new name stands where the old one stood. A layer whose weights were all dropped is listed
  no more: by_name=True would take its empty list for an error. A layer that never had weights stays listed, and so does one whose weights
  were given names that lie in no layer.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...tensors.checkpoint import Checkpoint
from .hdf5_objects import Attribute, HDF5Tree, Node, ObjectKind
from .name_lists import LAYER_NAMES, WEIGHT_NAMES, insert, relisted


def followed(tree: HDF5Tree, checkpoint: Checkpoint) -> dict[str, Node]:
    """Return the objects of the file that `checkpoint` is to be written to, by path, in the order in which they were read.

    Args:
        tree: The contents of the file that the checkpoint was read from.
        checkpoint: The checkpoint, edited.
    """
    now = {checkpoint.sources.get(name, name): name for name in checkpoint}
    if all(now.get(path) == path for path in tree.tensors) and len(now) == len(tree.tensors):
        return tree.nodes
    groups = _Groups(tree, checkpoint, now)
    nodes: dict[str, Node] = {}
    for path, node in tree.nodes.items():
        if node.kind == ObjectKind.GROUP:
            if (place := groups.moved.get(path)) is not None:
                nodes[place] = merged(nodes.get(place), node._replace(path=place))
        elif node.kind == ObjectKind.DATASET:
            if path in now:
                nodes[now[path]] = node
        else:
            nodes[path] = node
    lists = _Lists(tree, groups)
    return {path: lists.renewed(node) if node.kind == ObjectKind.GROUP else node for path, node in lists.with_new_groups(nodes).items()}


def merged(one: Node | None, other: Node) -> Node:
    """Join two groups that come to lie in one place: what both have is that of the first."""
    known = {each.name for each in one.attributes} if one else set()
    return one._replace(attributes=[*one.attributes, *(each for each in other.attributes if each.name not in known)]) if one else other


class _Groups:
    """Where the groups of a file go.

    Attributes:
        now: The path of a tensor as it was read → its name now.
        moved: The path of a group as it was read → its path now. A group that goes is not there.
    """

    def __init__(self, tree: HDF5Tree, checkpoint: Checkpoint, now: dict[str, str]) -> None:
        self.now = now
        self.moved: dict[str, str] = {"": ""}
        below: dict[str, list[str]] = {}
        for path in tree.tensors:
            for group in _above(path):
                below.setdefault(group, []).append(path)
        held = {group for name in checkpoint.objects for group in _above(name)}
        held |= {node.record["to"] for node in tree.nodes.values() if node.kind == ObjectKind.REPEATED_GROUP}
        for path, node in tree.nodes.items():
            if node.kind == ObjectKind.GROUP and path:
                place = path if path in held else self._place(path, below.get(path))
                if place is not None:
                    self.moved[path] = place

    def _place(self, path: str, below: list[str] | None) -> str | None:
        """Return where a group goes; None where it goes altogether. `below`: the tensors in it as they were read; None for none."""
        if below is None:
            parent, _, leaf = path.rpartition("/")
            return joined(self.moved[parent], leaf) if parent in self.moved else None
        left = [source for source in below if source in self.now]
        if any(is_below(self.now[source], path) for source in left):
            return path
        return _new_place(path, left[0], self.now[left[0]]) if left else None


def _new_place(group: str, source: str, name: str) -> str:
    """Return where the tensor `source` took its group along as it became `name`: to the part before what stayed, or as deep as it was.

    A group stays where the new name is not that deep.
    """
    inner = source[len(group) + 1 :]
    if name == inner or name.endswith(f"/{inner}"):
        return name[: -len(inner)].removesuffix("/")
    return as_deep(group, name) or group


class _Lists:
    """The lists of names, as the tensors in them are called now.

    Attributes:
        weights: The path of a group that has a list of weights now → the list.
        layers: The path of a group that has a list of layers → that list.
    """

    def __init__(self, tree: HDF5Tree, groups: _Groups) -> None:
        self.tree, self.groups = tree, groups
        self.weights: dict[str, list[str]] = {}
        self.layers: dict[str, list[str]] = {}
        self._homes = [path for path, node in tree.nodes.items() if node.kind == ObjectKind.GROUP and _has(node, WEIGHT_NAMES)]
        self._homes_now = {groups.moved[path] for path in self._homes if path in groups.moved}
        self._listed: set[str] = set()  # tensors, by their names as they were read
        self._went: dict[str, list[str]] = {home: list(dict.fromkeys(self._follow(home))) for home in self._in_order()}
        for source, name in groups.now.items():
            home = self._home_of(name) if source not in self._listed and (source != name or source not in tree.tensors) else None
            if home is not None:
                insert(self.weights.setdefault(home, []), below(name, home))
        for root, names in self._roots().items():
            if root in groups.moved:
                self.layers[groups.moved[root]] = list(self._layers(root, names))

    def _roots(self) -> dict[str, list[str]]:
        groups = [path for path, node in self.tree.nodes.items() if node.kind == ObjectKind.GROUP and _has(node, LAYER_NAMES)]
        return {path: self.tree.texts(path, LAYER_NAMES) for path in groups}

    def _in_order(self) -> list[str]:
        """Return the groups with a list of weights: layers in the order of the model first."""
        listed = [joined(root, name) for root, names in self._roots().items() for name in names]
        return [*(path for path in dict.fromkeys(listed) if path in self._homes), *(path for path in self._homes if path not in listed)]

    def _follow(self, home: str) -> Iterator[str]:
        """List the weights of a group where they are now; yield the groups in which they are."""
        moved, now = self.groups.moved, self.groups.now
        sources = [joined(home, weight) for weight in self.tree.texts(home, WEIGHT_NAMES)]
        places = {source: self._home_of(now[source], home) for source in sources if source in now}
        for source, place in places.items():
            joins_another = place != home and place is not None and moved.get(place) == place
            if place is not None and not joins_another:
                self._listed.add(source)
                self.weights.setdefault(place, []).append(below(now[source], place))
                yield place
        if home in moved and (not sources or None in places.values()):
            yield moved[home]

    def _home_of(self, name: str, home: str | None = None) -> str | None:
        """Return the innermost group with a list that a tensor lies in; in none, a new one as deep as `home`, which it comes from."""
        known = next((group for group in reversed(_above(name)) if group in self._homes_now), None)
        return known if known is not None or home is None else as_deep(home, name)

    def _layers(self, root: str, names: list[str]) -> Iterator[str]:
        """Yield the layers that take the places of `names`, those of the group `root`."""
        place, seen = self.groups.moved[root], set()
        for name in names:
            layer = joined(root, name)
            unlisted = [self.groups.moved[layer]] if layer in self.groups.moved else []
            for home in self._went.get(layer, unlisted):
                if is_below(home, place) and home not in seen:
                    seen.add(home)
                    yield below(home, place)

    def with_new_groups(self, nodes: dict[str, Node]) -> dict[str, Node]:
        """Add the groups that get a list and were none."""
        new = {path: Node(path, ObjectKind.GROUP, [], {}) for path in self.weights if path not in nodes}
        return {**nodes, **new}

    def renewed(self, node: Node) -> Node:
        """Return a group with its lists as they are now."""
        attributes: list[Attribute] = node.attributes
        for name, lists in ((LAYER_NAMES, self.layers), (WEIGHT_NAMES, self.weights)):
            texts = lists.get(node.path, [])
            if texts != HDF5Tree({node.path: node}, {}).texts(node.path, name):
                attributes = relisted(attributes, name, texts)
        return node._replace(attributes=attributes)


def _has(node: Node, name: str) -> bool:
    """Whether a group has a list called `name`, whole or in parts."""
    return any(each.name in (name, f"{name}0") for each in node.attributes)


def _above(path: str) -> list[str]:
    """Return the groups that a path lies in, the outermost first, without the root."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def as_deep(group: str, name: str) -> str | None:
    """Return the group above `name` that has as many parts as `group`; None where `name` is not that deep."""
    parts, depth = name.split("/"), group.count("/") + 1 if group else 0
    return "/".join(parts[:depth]) if len(parts) > depth else None


def joined(group: str, name: str) -> str:
    """Return the path of what is called `name` in a group."""
    return f"{group}/{name}" if group else name


def is_below(path: str, group: str) -> bool:
    """Whether a path lies in a group."""
    return not group or path.startswith(f"{group}/")


def below(path: str, group: str) -> str:
    """Return what a path is called from the group that it lies in."""
    return path[len(group) + 1 :] if group else path
