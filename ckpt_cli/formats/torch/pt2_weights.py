"""The weights of a torch.export archive: JSON that names the records they lie in; in older archives a torch zip within the zip.

As in torch/export/pt2_archive/_package.py and torch/_export/serde/schema.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import Malformed
from ...numbers.dtypes import DTYPES, DType
from ...numbers.shapes import show_shape
from ...storage.storage import Memory
from ...tensors.checkpoint import Foreign, Undecoded
from ...tensors.tensor import Tensor
from ..encodings import strict_json
from ..encodings import zip as zips
from ..encodings.object_nodes import Dict
from ..encodings.pickle_reader import load
from ..encodings.pickle_tree import sorted_leaves
from ..encodings.pickled_tensors import TensorReader
from .archive import Archive

# torch/_export/serde/schema.py, ScalarType.
_SCALARS = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 9: "complex32",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2",
    31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip
_CONFIG = "_weights_config.json"
_OLD = "serialized_state_dict.pt"  # before torch 2.8
_STRIDED = 7  # schema.py, Layout


def weights(members: Mapping[str, zips.Member], root: str) -> dict[str, Tensor]:
    """The tensors of every model in the archive, by name; where there are several models, below the model's name.

    Args:
        members: The members of the zip.
        root: The folder in the zip that holds them.

    Raises:
        Malformed: The archive's JSON is broken, or names a record that is not there.
    """
    if _OLD in members:
        return _nested(members[_OLD])
    folder = f"{root}/data/weights/"
    configs = {name[len(folder) : -len(_CONFIG)]: member for name, member in members.items() if _in(name, folder, _CONFIG)}
    legacy = {name[len(folder) : -3]: member for name, member in members.items() if _in(name, folder, ".pt")}
    models = {model: _of_config(members, folder, member) for model, member in configs.items()}
    models |= {model: _nested(member) for model, member in legacy.items() if model not in models}
    if len(models) == 1:
        return next(iter(models.values()))
    return {f"{model}.{name}": tensor for model, tensors in models.items() for name, tensor in tensors.items()}


def constants(members: Mapping[str, zips.Member], root: str) -> dict[str, Any]:
    """The tensors that are in no state dict, as Foreign objects that say their dtype and shape."""
    folder, objects = f"{root}/data/constants/", {}
    for name, member in members.items():
        if _in(name, folder, "_constants_config.json"):
            for constant, meta in _config(member).items():
                tensor_meta = meta.get("tensor_meta")
                what = Foreign("torch.Tensor", _sketch(tensor_meta)) if tensor_meta else Foreign("object", "")
                objects[f"constants.{constant}"] = what
    return objects


def undecoded_constants(members: Mapping[str, zips.Member], root: str, tensors: Mapping[str, Tensor]) -> dict[str, Undecoded]:
    """The members that hold constants. Samples of inputs and files of the user belong to the program, as its code does."""
    used, folder = {id(tensor.storage) for tensor in tensors.values()}, f"{root}/data/constants/"
    names = [name for name, member in members.items() if name.startswith(folder) and id(member) not in used]
    return {name[len(root) + 1 :]: Undecoded("a constant", members[name]) for name in names if not name.endswith("_config.json")}


def _sketch(meta: Any) -> str:
    return f"{show_shape(_ints(meta, 'sizes'))} of {_dtype(meta).name}"


def _in(name: str, folder: str, suffix: str) -> bool:
    return name.startswith(folder) and name.endswith(suffix) and "/" not in name[len(folder) :]


def _config(member: zips.Member) -> dict[str, Any]:
    document = strict_json.loads(member.contents())
    config = document.get("config") if type(document) is dict else None
    if type(config) is not dict or any(type(meta) is not dict for meta in config.values()):
        raise Malformed(f"{member.name}: its config is no object of objects")
    return config


def _of_config(members: Mapping[str, zips.Member], folder: str, config: zips.Member) -> dict[str, Tensor]:
    tensors = {}
    for name, meta in _config(config).items():
        record = members.get(f"{folder}{meta.get('path_name')}")
        if record is None:
            raise Malformed(f"the weight {name!r} lies in {meta.get('path_name')!r}, which is not in the archive")
        tensors[name] = _pickled(name, record) if meta.get("use_pickle") else _view(name, record, meta.get("tensor_meta"))
    return tensors


def _view(name: str, record: zips.Member, meta: Any) -> Tensor:
    if type(meta) is not dict or meta.get("layout") != _STRIDED:
        raise Malformed(f"the weight {name!r} is described in an unknown way")
    dtype, shape, strides = _dtype(meta), _ints(meta, "sizes"), _ints(meta, "strides")
    if record.nbytes == 0 and 0 not in shape:
        raise Malformed(f"the weight {name!r} was saved without its values")
    offset = _int(meta.get("storage_offset"))
    return Tensor.view(dtype, shape, record, strides, offset) if 0 not in shape else Tensor.whole(dtype, shape, Memory(b""))


def _dtype(meta: Any) -> DType:
    number = meta.get("dtype") if type(meta) is dict else None
    if type(number) is not int or number not in _SCALARS:
        raise Malformed(f"the dtype {number!r} of torch.export is not known")
    return DTYPES[_SCALARS[number]]


def _ints(meta: Any, key: str) -> tuple[int, ...]:
    items = meta.get(key) if type(meta) is dict else None
    if type(items) is not list or len(items) > 64:
        raise Malformed(f"a weight whose {key} are no list")
    return tuple(map(_int, items))


def _int(item: Any) -> int:
    number = item.get("as_int") if type(item) is dict else item
    if type(number) is not int or not 0 <= number < 1 << 63:
        raise Malformed("a weight whose sizes, strides or offset are no integers ≥ 0")
    return number


def _inner(member: zips.Member) -> Archive:
    """The torch zip that a stored member is."""
    return Archive(zips.within(member.file, member.place(), member.nbytes))


def _pickled(name: str, member: zips.Member) -> Tensor:
    archive = _inner(member)
    tensor = TensorReader(archive.storage).tensor(load(archive.pickle))
    if tensor is None:
        raise Malformed(f"the weight {name!r} is no tensor")
    return tensor


def _nested(member: zips.Member) -> dict[str, Tensor]:
    archive = _inner(member)
    root = load(archive.pickle)
    if not isinstance(root, Dict) and not getattr(root, "pairs", None) and getattr(root, "path", "") != "collections.OrderedDict":
        raise Malformed(f"{member.name} holds no state dict")
    return sorted_leaves(root, TensorReader(archive.storage)).tensors
