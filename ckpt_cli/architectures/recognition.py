"""Which architecture a checkpoint holds: found by names and shapes alone, or said by the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..tensors.checkpoint import Checkpoint
from . import Architecture, Found, architectures, exactly
from .declared_layers import root_of, tree_of
from .hyperparameters import checked, read_call, schema
from .layers import Shape, Ties, joined

if TYPE_CHECKING:
    from torch.nn import Module

# What programs put around a state dict, and wrappers put before the names in it.
WRAPPERS = {"model", "module", "network", "params", "weights", "state_dict", "model_state", "model_state_dict"}
WRAPPERS |= {"_orig_mod", "_forward_module"}
# What programs put beside it: the state of the training.
TRAINING = re.compile(
    r"optim|sched|scaler|rng|random|epoch|step|iter|loss|metric|history|best|callback|loop|train|args|config|hyper|seed|sampler|loader"
    r"|(^|_)(ema|swa)(_|$)",
    re.IGNORECASE,
)
OWN = re.compile(r"(?P<source>.+?):(?P<call>[^\W\d][\w.]*(\(.*)?)", re.DOTALL)  # FILE.py:CALLABLE, with arguments or without
MOST_PARTS = 50  # a file with more top-level parts than that is one model, not several things side by side
DEEPEST = 5  # wrappers around wrappers


@dataclass(frozen=True)
class Model:
    """A model whose architecture is known. Paths and names in it are the model's own: `prefix` comes before them in the file.

    layers      path → type of every layer, containers included, the root's path being empty; in the order of print(net)
    shapes      name → shape of what its state_dict holds; buffers: the names that are no parameters; ties: names of one storage
    assumed     what names and shapes do not tell, and was taken for granted: ("activation=relu",)
    module()    the torch.nn.Module, freshly drawn: on the device in force, so that `with torch.device("meta")` costs nothing
    repr()      what print(net) prints
    frozen      the parameters that ask for no gradient

    `architecture` is empty where the file itself says what its layers are, and no family has them.
    """

    architecture: str
    hyperparameters: Mapping[str, object]
    layers: Mapping[str, str]
    shapes: Mapping[str, Shape]
    buffers: frozenset[str]
    ties: Ties
    module: Callable[[], Module]
    repr: Callable[[], str]
    prefix: str = ""
    assumed: tuple[str, ...] = ()
    frozen: frozenset[str] = frozenset()

    @property
    def placed(self) -> dict[str, str]:
        """Path in the file → type of every layer."""
        return {joined(self.prefix[:-1], path) if path else self.prefix[:-1]: kind for path, kind in self.layers.items()}


def of(checkpoint: Checkpoint, spec: str) -> Model | None:
    """The model that a checkpoint holds, by what `--arch` says (see `get`). What a file tells by layers' own names is not guessed at."""
    if spec == "auto" and checkpoint.layer_of:
        return as_told(checkpoint) if checkpoint.layers else None
    shapes = {name: kind.shape for name, kind in checkpoint.kinds().items()}
    return get(spec, shapes, checkpoint.ties(), checkpoint.layers)


def as_told(checkpoint: Checkpoint) -> Model:
    """The model as the file itself says it: types by path, and what each tensor is called in its layer."""
    shapes = {checkpoint.layer_name(name): checkpoint[name].shape for name in checkpoint if name in checkpoint.layer_of}
    tree = tree_of(checkpoint.layers, shapes, checkpoint.separator)
    tied = {frozenset(map(checkpoint.layer_name, group)) for group in checkpoint.ties()}
    return Model("", {}, checkpoint.layers, shapes, frozenset(), tied, no_module, tree.__str__)


def get(spec: str, shapes: Mapping[str, Shape], ties: Sequence[Sequence[str]] = (), types: Mapping[str, str] | None = None) -> Model | None:
    """What `--arch` means: `auto`, `none`, `NAME`, `NAME(key=value)`, `FILE.py:CALLABLE` or `package.module:CALLABLE`.

    `types` is what the file itself says of its layers, path → type. A model that the user names is given whether or not
    the file holds it: `compare` tells.
    """
    if spec in ("auto", "none"):
        return found_in(shapes, ties, types or {}) if spec == "auto" else None
    if own := OWN.fullmatch(spec):
        from .user_module import load

        return at_home(load(spec, own["source"], own["call"]), shapes)
    if spec.endswith(".py"):
        raise UsageError(f"{spec} names no callable", f"write {spec}:CALLABLE")
    name, positional, given = read_call(spec)
    architecture = architectures[name]
    if positional:
        raise UsageError(f"{name} takes its hyperparameters by name", f"as in {name}({next(iter(schema(architecture)), '')}=…)")
    values = checked(architecture, given)
    return recognise(shapes, ties, [architecture], values) or at_home(model(architecture, member(architecture, values)), shapes)


def found_in(shapes: Mapping[str, Shape], ties: Sequence[Sequence[str]], types: Mapping[str, str]) -> Model | None:
    """The model recognised, where it has the layers that the file says it has; else what the file says."""
    found = recognise(shapes, ties)
    root = root_of(types)
    if root is None:
        return found
    if found and found.placed == types:
        said = {kind.lower() for kind in types.values()}
        return replace(found, assumed=tuple(each for each in found.assumed if each.partition("=")[2].lower() not in said))
    prefix = f"{root}." if root else ""
    inside = {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}
    layers = {path[len(prefix) :]: kind for path, kind in types.items()}
    groups = [[name[len(prefix) :] for name in group if name.startswith(prefix)] for group in ties]
    tied = {frozenset(group) for group in groups if len(group) > 1}
    tree = tree_of(layers, inside)
    return Model("", {}, layers, inside, frozenset(), tied, no_module, tree.__str__, prefix)


def no_module() -> Module:
    raise UsageError("the architecture is not known well enough to build it", "name it with --arch")


def recognise(
    shapes: Mapping[str, Shape],
    ties: Sequence[Sequence[str]] = (),
    families: Iterable[Architecture] | None = None,
    given: Mapping[str, object] | None = None,
) -> Model | None:
    """The model that has exactly these names, shapes and ties, by itself or under a prefix; special families come first."""
    asked = sorted(architectures.values() if families is None else families, key=lambda family: family.general)
    for prefix in prefixes(shapes):
        inside = {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}
        groups = [[name[len(prefix) :] for name in group if name.startswith(prefix)] for group in ties]
        if strangers(shapes, prefix, inside):
            continue
        for family in asked:
            found = family.recognise(inside, given or {})
            agrees = found and all(found.hyperparameters.get(key) == value for key, value in (given or {}).items())
            if found and agrees and exactly(found.tree, inside, [group for group in groups if len(group) > 1]):
                return model(family, found, prefix)
    return None


def member(architecture: Architecture, values: Mapping[str, object]) -> Found:
    """The member of the family with these hyperparameters, and the defaults of the others."""
    complete = {name: each.default for name, each in schema(architecture).items()} | dict(values)
    return Found(complete, architecture.layers(**complete))


def model(architecture: Architecture, found: Found, prefix: str = "") -> Model:
    tree = found.tree
    layers = {path: layer.type for path, layer in tree.walk()}
    facts = (tree.shapes(), tree.buffer_names(), tree.ties())
    return Model(architecture.name, found.hyperparameters, layers, *facts, tree.module, tree.__str__, prefix, found.assumed)


def prefixes(names: Iterable[str]) -> list[str]:
    """Where a model may begin: under known wrappers, the innermost first; at the root; under any one of a few top-level parts."""
    names = list(names)
    wrapped = dict.fromkeys(prefix for name in names for prefix in wrappers(name))
    parts = dict.fromkeys(f"{first}." for first, dot, _ in (name.partition(".") for name in names) if dot and not first.isdecimal())
    return list(dict.fromkeys([*sorted(wrapped, key=len, reverse=True), "", *(parts if len(parts) <= MOST_PARTS else ())]))


def wrappers(name: str) -> Iterator[str]:
    """`module.model.0.weight` → `module.`, `module.model.`"""
    pieces = name.split(".")[:-1][:DEEPEST]
    for end, piece in enumerate(pieces, 1):
        if piece not in WRAPPERS:
            return
        yield ".".join(pieces[:end]) + "."


def strangers(shapes: Mapping[str, Shape], prefix: str, inside: Mapping[str, Shape]) -> list[str]:
    """Names outside the prefix that may belong to the same network: no state of the training, no copies of the model (its average).

    Beside a known wrapper, what is not called weight or bias is taken for data of the program's own.
    """
    wrapped = prefix.split(".")[0] in WRAPPERS
    outside = (name for name in shapes if not name.startswith(prefix) and not TRAINING.search(name.partition(".")[0]))
    likely = (name for name in outside if not wrapped or name.rpartition(".")[2] in ("weight", "bias"))
    return [name for name in likely if not is_copy(name, shapes[name], inside)]


def is_copy(name: str, shape: Shape, inside: Mapping[str, Shape]) -> bool:
    """Whether this is a tensor of the model by path and shape, under some other prefix; `weight` alone is no path."""
    pieces = name.split(".")
    return any(inside.get(".".join(pieces[start:])) == shape for start in range(1, min(len(pieces) - 1, DEEPEST)))


def at_home(model: Model, shapes: Mapping[str, Shape]) -> Model:
    """The model under the prefix at which the file has most of its names, the shortest of those."""

    def missed(prefix: str) -> tuple[int, int]:
        return sum(prefix + name not in shapes for name in model.shapes), len(prefix)

    return replace(model, prefix=min(prefixes(shapes), key=missed))
