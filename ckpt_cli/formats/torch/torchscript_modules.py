"""The parameters and buffers of a TorchScript archive, named as `state_dict` names them.

`data.pkl` holds objects of classes such as `__torch__.torch.nn.modules.linear.Linear`; `code/__torch__/torch/nn/modules/linear.py` says of
such a class `__parameters__ = ["weight", "bias", ]`, `__buffers__ = []`. These lines are matched as text; the code is neither parsed nor
run. As in torch/csrc/jit/serialization/python_print.cpp and export_module.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...errors import Malformed
from ...numbers.shapes import show_shape
from ...tensors.checkpoint import Checkpoint, Foreign, Undecoded
from ...tensors.tensor import Tensor
from ..encodings.object_nodes import Call, text_of
from ..encodings.pickle_reader import load
from ..encodings.pickled_objects import plain
from ..encodings.pickled_tensors import TensorReader, is_tensor
from .archive import Archive

_CLASS = re.compile(r"^class (\w+)\(Module\):\n(?:  __parameters__ = \[([^\]]*)\]\n)?(?:  __buffers__ = \[([^\]]*)\]\n)?", re.MULTILINE)
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OF_EVERY_MODULE = {"training", "_is_full_backward_hook"}
# Far above what programs write: characters of the names of all attributes, bytes of code.
_MOST_NAMES = 1 << 27
_MOST_CODE = 64 << 20


class _Classes:
    """The parameters and buffers that the classes of an archive declare; each file of code is read once."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.known: dict[str, dict[str, dict[str, None]]] = {}
        self.room = _MOST_CODE

    def tensors_of(self, path: str) -> dict[str, None]:
        """The names of a class's parameters, then those of its buffers. Raises Malformed where its code is missing or too long."""
        module, _, name = path.rpartition(".")
        if module not in self.known:
            self.known[module] = self._declared(module)
        return self.known[module].get(name, {})

    def _declared(self, module: str) -> dict[str, dict[str, None]]:
        """The tensors of every class in a file of code."""
        member = self.archive.members.get(f"{self.archive.root}/code/{module.replace('.', '/')}.py")
        if member is None:
            raise Malformed(f"the archive has no code of {module!r}")
        self.room -= member.nbytes
        if self.room < 0:
            raise Malformed(f"the archive has over {_MOST_CODE:,} bytes of code")
        text = member.contents().decode(errors="replace")
        return {
            name: dict.fromkeys(_NAME.findall(parameters) + _NAME.findall(buffers)) for name, parameters, buffers in _CLASS.findall(text)
        }


def read_modules(archive: Archive) -> Checkpoint:
    """Parameters and buffers under the names that `state_dict` gives them; other attributes are objects. Raises Malformed."""
    reader = TensorReader(archive.storage)
    tensors: dict[str, Tensor] = {}
    undecoded: dict[str, Undecoded] = {}
    objects: dict[str, Any] = {}
    layers: dict[str, str] = {}
    classes = _Classes(archive)
    for prefix, module, state in _modules(load(archive.pickle)):
        layers[prefix.rstrip(".")] = module.path.rpartition(".")[2]
        declared = classes.tensors_of(module.path)
        for name in declared:
            tensor = reader.tensor(state.get(name))
            if tensor is not None:  # a parameter may be None
                tensors[prefix + name] = tensor
        for name in state.keys() - declared.keys() - _OF_EVERY_MODULE:
            if not _is_module(state[name]):
                objects[prefix + name] = _object(reader, state[name])
                tensor = reader.tensor(state[name])
                if tensor is not None:
                    undecoded[prefix + name] = Undecoded("a tensor that is no parameter and no buffer", tensor.storage)
    undecoded = dict(sorted(undecoded.items())) | archive.unasked() | _constants(archive)
    return Checkpoint(tensors, objects=dict(sorted(objects.items())), layers=layers, undecoded=undecoded)


def _constants(archive: Archive) -> dict[str, Undecoded]:
    """The tensors that the code of the program names."""
    start = f"{archive.root}/"
    names = [name for name in archive.members if name.startswith(f"{start}constants/")]
    return {name.removeprefix(start): Undecoded("a constant of the program", archive.members[name]) for name in names}


def _is_module(node: Any) -> bool:
    return type(node) is Call and node.path.startswith("__torch__.") and ".torch.classes." not in node.path and node.state() is not None


def _modules(root: Any) -> Iterator[tuple[str, Call, dict[str, Any]]]:
    """Every module with the prefix of its names and its attributes, parents first. A module that is reached twice comes twice."""
    if not _is_module(root):
        raise Malformed("the root of the archive is no module")
    steps, room = [("", root)], _MOST_NAMES
    while steps:
        prefix, module = steps.pop()
        pairs = module.state().pairs
        room -= (len(pairs) + 1) * (len(prefix) + 16)
        if room < 0:
            raise Malformed("the archive holds its modules within one another too often to be walked")
        state = {name: value for key, value in pairs if (name := text_of(key)) is not None}
        yield prefix, module, state
        steps.extend((f"{prefix}{name}.", value) for name, value in reversed(state.items()) if _is_module(value))


def _object(reader: TensorReader, node: Any) -> Any:
    """An attribute that is in no state dict; a tensor as a Foreign object that says its dtype and shape."""
    if not is_tensor(node):
        return plain(node)
    tensor = reader.tensor(node)
    return Foreign("torch.Tensor", f"{show_shape(tensor.shape)} of {tensor.dtype.name}" if tensor is not None else "")
