"""What a framework calls the tensors of an architecture: the layers of a container by number or by class, others by their attributes."""

from __future__ import annotations

from ..architectures.layers import Layer, join_path
from .axes import shape_of, spatial, spatial_count
from .convention import Convention, convention
from .kinds import Candidate
from .pairing import Template


def names_of(tree: Layer, theirs: Convention) -> Template:
    """Return names, shapes and ties of the network in that framework."""
    naming = _Naming(theirs)
    naming.add_container(tree, "")
    return Template(naming.shapes, [group for group in naming.names.values() if len(group) > 1])


class _Naming:
    """The names given so far.

    Attributes:
        theirs: the convention.
        shapes: name → shape.
        names: (id of a layer, key of a variable) → its names: as many as the layer is used.
    """

    def __init__(self, theirs: Convention) -> None:
        self.theirs = theirs
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.names: dict[tuple[int, str], list[str]] = {}

    def add_container(self, layer: Layer, path: str) -> None:
        """Name what is in a container. Its own tensors keep their names; layers without tensors (ReLU) are none elsewhere."""
        self.shapes |= {self._join(path, name): shape for name, shape in {**layer.parameters, **layer.buffers}.items()}
        counts: dict[str, int] = {}
        for number, (name, child) in enumerate(self._children(layer)):
            home = _home(child, self.theirs)
            count = counts[home] = counts.get(home, -1) + 1
            numbered = self.theirs.child.format(n=number, home=f"{home}_{count}" if count else home, count=count, kind=home)
            attribute = home if name == child.type.lower() else name  # self.linear is self.dense where a Linear is a Dense
            place = self._join(path, numbered if layer.type == "Sequential" else attribute)
            (self.add_container if child.children else self.add_layer)(child, place)

    def _children(self, layer: Layer) -> list[tuple[str, Layer]]:
        """The layers in it that hold tensors; a layer used twice only at its first place, where the framework stores it once."""
        seen: set[int] = set()
        children = []
        for name, child in layer.children.items():
            if child.shapes() and not (self.theirs.once and id(child) in seen):
                children.append((name, child))
                seen.add(id(child))
        return children

    def add_layer(self, layer: Layer, place: str) -> None:
        """Name the variables of a layer, which is called `place`."""
        ours = _torch_candidate(layer)
        kind = self.theirs.kinds[ours.kind.name]
        for key, variable in kind.variables.items():
            if not variable.terms <= ours.terms:
                continue
            name = self.theirs.new_name(kind, key, place)
            axes = spatial(variable.axes, spatial_count(ours.sizes))
            self.shapes[name] = shape_of(axes, ours.sizes | variable.counts)
            self.names.setdefault((id(layer), key), []).append(name)

    def _join(self, path: str, name: str) -> str:
        return join_path(path, name) if self.theirs.separator == "." else f"{path}/{name}" if path else name


def _torch_candidate(layer: Layer) -> Candidate:
    """The kind of a layer, as torch's names and shapes of its tensors tell it."""
    return convention("torch").layers(layer.shapes())[0].candidates[0]


def _home(layer: Layer, theirs: Convention) -> str:
    """What new layers of this kind are called there, without a number."""
    if layer.children:
        return layer.type.lower()
    ours = _torch_candidate(layer)
    return theirs.kinds[ours.kind.name].home.format(d=spatial_count(ours.sizes))
