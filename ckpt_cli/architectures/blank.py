"""A checkpoint of a model before its values are drawn: the names, shapes, dtypes and ties that the model has, zero throughout."""

from __future__ import annotations

from ..numbers.dtypes import named
from ..numbers.shapes import numel_of
from ..storage.storage import Fill, Storage
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor
from .model import Model


def blank(model: Model, dtype: str = "") -> Checkpoint:
    """Return the checkpoint of a model. It takes no memory for values.

    Args:
        model: the model.
        dtype: the dtype of its floating-point tensors; empty for the model's own, float32 where it says none.
    """
    storages: dict[str, Storage] = {}
    place = {name: index for index, name in enumerate(model.shapes)}
    first = {name: min(group, key=lambda each: place.get(each, len(place))) for group in model.ties for name in group}
    tensors = {}
    for name, shape in model.shapes.items():
        own = named(model.dtypes.get(name, "float32"))
        kind = named(dtype) if dtype and own.kind == "f" else own
        storage = storages.setdefault(first.get(name, name), Fill(bytes(kind.nbytes), kind.nbytes * numel_of(shape)))
        tensors[name] = Tensor.whole(kind, shape, storage)
    return Checkpoint(tensors)
