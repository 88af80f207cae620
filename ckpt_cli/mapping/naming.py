"""What a framework calls the tensors of an architecture: the layers of a container by number or by class, others by their attributes."""

from __future__ import annotations

from ..architectures.layers import Layer, join_path
from .axes import shape_of, spatial
from .convention import Convention, convention
from .pairing import Like


def names_of(tree: Layer, theirs: Convention) -> Like:
    """Names, shapes and ties of the network in that framework."""
    naming = _Naming(theirs)
    naming.container(tree, "")
    return Like(naming.shapes, [group for group in naming.layers.values() if len(group) > 1])


class _Naming:
    def __init__(self, theirs: Convention) -> None:
        self.theirs = theirs
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.layers: dict[tuple[int, str], list[str]] = {}  # the names of each variable of each layer: several where it is used so often

    def container(self, layer: Layer, path: str) -> None:
        """The layers in it; what it holds itself keeps its name. Layers without tensors (ReLU) are no layers of their own elsewhere."""
        self.shapes |= {self._joined(path, name): shape for name, shape in {**layer.parameters, **layer.buffers}.items()}
        homes: dict[str, int] = {}
        for number, (name, child) in enumerate(self._children(layer)):
            home = _home(child, self.theirs)
            count = homes[home] = homes.get(home, -1) + 1
            called = self.theirs.child.format(n=number, home=f"{home}_{count}" if count else home)
            own = home if name == child.type.lower() else name  # self.linear is self.dense where a Linear is a Dense
            place = self._joined(path, called if layer.type == "Sequential" else own)
            (self.container if child.children else self.layer)(child, place)

    def _children(self, layer: Layer) -> list[tuple[str, Layer]]:
        """The layers in it that hold tensors; where a framework has a layer that is used twice once, at its first place."""
        seen: set[int] = set()
        found = []
        for name, child in layer.children.items():
            if child.shapes() and not (self.theirs.once and id(child) in seen):
                found.append((name, child))
                seen.add(id(child))
        return found

    def layer(self, layer: Layer, place: str) -> None:
        """The variables of a layer, as the kind that torch's names and shapes tell."""
        fit = convention("torch").layers(layer.shapes())[0].fits[0]
        kind = self.theirs.kinds[fit.kind.name]
        for key in (key for key in kind.variables if set(key.split("+")) <= fit.tensors.keys()):
            name = self.theirs.new(kind, key, place)
            axes = spatial(kind.variables[key].axes, sum(letter in fit.sizes for letter in "DHW"))
            self.shapes[name] = shape_of(axes, fit.sizes)
            self.layers.setdefault((id(layer), key), []).append(name)

    def _joined(self, path: str, name: str) -> str:
        return join_path(path, name) if self.theirs.separator == "." else f"{path}/{name}" if path else name


def _home(layer: Layer, theirs: Convention) -> str:
    if layer.children:
        return layer.type.lower()
    fit = convention("torch").layers(layer.shapes())[0].fits[0]
    return theirs.kinds[fit.kind.name].home.format(d=sum(letter in fit.sizes for letter in "DHW"))
