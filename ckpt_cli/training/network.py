"""A checkpoint's values in the module that they belong to, and the module's values in place of the checkpoint's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from ..architectures.mismatch import require_match
from ..architectures.model import Model
from ..architectures.user_module import one_line
from ..errors import CkptError, EditError, UsageError
from ..numbers.dtypes import named
from ..numbers.shapes import span
from ..providers.asking import model_of
from ..schemes.seeds import import_torch
from ..storage.storage import Memory, Storage
from ..tensors.arrays import torch_dtype
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    import torch
    from torch.nn import Module


def model_in(checkpoint: Checkpoint, arch: str) -> Model:
    """Return the model that the file holds: recognised, or the one that the user names.

    Raises:
        UsageError: none is recognised, or the file does not hold the one that is named.
    """
    model = model_of(checkpoint, arch)
    if not model or not model.architecture:
        raise UsageError("no architecture is recognised in this file, so nothing can run it", "name it with --arch")
    if arch != "auto":
        require_match(model, {name: tensor.shape for name, tensor in checkpoint.items()})
    return model


@contextmanager
def steady(seed: int) -> Iterator[None]:
    """Let torch compute reproducibly: its global generator begins at `seed`, and one thread gives sums one order. Both are restored."""
    import_torch()
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def usage_errors(what: str) -> Iterator[None]:
    """Run code of torch or of a model, which may raise anything.

    Raises:
        UsageError: it did; the message says `what` failed and why.
    """
    try:
        yield
    except (CkptError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what}: {one_line(error)}") from error


def load_module(checkpoint: Checkpoint, model: Model) -> Module:
    """Return the module with the file's values, in the file's dtypes. Tensors tied in the file or in the module are one parameter.

    What the file does not hold (a constant that is drawn when the module is built) comes from torch's global generator.

    Raises:
        UsageError: the module cannot be built, or does not take the values.
        EditError: tensors of one parameter differ, overlap, or have a dtype that torch does not compute with.
    """
    import torch

    with usage_errors("the model cannot be built"):
        module = model.module()
        state = state_of(module)
    refuse_overlaps(checkpoint, model)
    values: dict[str, torch.Tensor] = {}
    for group in merged([[name] for name in state], known(model.ties, state), known(inside(checkpoint.ties(), model.prefix), state)):
        value = common_value(checkpoint, [model.prefix + name for name in group])
        first = state[group[0]]
        if value is not None and isinstance(first, torch.nn.Parameter):
            value = parameter(value, first.requires_grad, model.prefix + group[0])
        values |= {} if value is None else dict.fromkeys(group, value)
    with usage_errors("the model does not take the values of the file"):
        module.load_state_dict(values, strict=False, assign=True)
    return module


def state_of(module: Module) -> dict[str, torch.Tensor]:
    """Return the tensors of the module's state_dict, as they are in the module."""
    import torch

    return {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, torch.Tensor)}


def parameter(value: torch.Tensor, requires_grad: bool, name: str) -> torch.Tensor:
    """Return a parameter of this value.

    Raises:
        EditError: it requires a gradient and its dtype can have none.
    """
    import torch

    if requires_grad and not (value.dtype.is_floating_point or value.dtype.is_complex):
        raise EditError(f"{name} is {str(value.dtype)[6:]}, which has no gradient", "cast it to a float: ckpt cast")
    return torch.nn.Parameter(value, requires_grad)


def inside(groups: Iterable[Sequence[str]], prefix: str) -> list[list[str]]:
    """Return the names that begin with the prefix, without it, group by group."""
    return [[name[len(prefix) :] for name in group if name.startswith(prefix)] for group in groups]


def known(groups: Iterable[Iterable[str]], names: Iterable[str]) -> list[list[str]]:
    """Return the groups without other names than these, each in the order of `names`."""
    order = {name: number for number, name in enumerate(names)}
    return [sorted((name for name in group if name in order), key=order.__getitem__) for group in groups]


def merged(*groupings: Iterable[Iterable[str]]) -> list[list[str]]:
    """Return the groups of all groupings; groups that have a name in common become one."""
    group_of: dict[str, list[str]] = {}
    for group in (list(group) for grouping in groupings for group in grouping):
        joined = list(dict.fromkeys(name for member in group for name in group_of.get(member, [member])))
        group_of |= dict.fromkeys(joined, joined)
    return list({id(group): group for group in group_of.values()}.values())


def common_value(checkpoint: Checkpoint, names: Sequence[str]) -> torch.Tensor | None:
    """Return the value of those of `names` that the file holds; None where it holds none of them.

    Raises:
        EditError: they have different values, dtypes or shapes, or torch does not compute with the dtype.
    """
    present = {checkpoint[name].key: name for name in reversed(names) if name in checkpoint}
    first, *others = reversed(present.values()) if present else [""]
    if not first:
        return None
    data = checkpoint[first].plain(first).tobytes()
    for other in others:
        if (checkpoint[other].dtype, checkpoint[other].shape) != (checkpoint[first].dtype, checkpoint[first].shape):
            raise EditError(f"the model has one parameter for {first} and {other}, which differ in dtype or shape", "give another --arch")
        if checkpoint[other].plain(other).tobytes() != data:
            raise EditError(f"the model has one parameter for {first} and {other}, which differ in the file", "tie them: ckpt tie")
    return tensor_of(checkpoint[first], data)


def tensor_of(tensor: Tensor, data: bytes) -> torch.Tensor:
    """Return a torch tensor of the shape and dtype of `tensor` with these elements.

    Raises:
        EditError: torch has no such dtype.
    """
    import torch

    dtype = torch_dtype(tensor)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(tensor.shape) if data else torch.empty(tensor.shape, dtype=dtype)


def bytes_of(value: torch.Tensor) -> bytes:
    """Return the elements as C-contiguous little-endian bytes."""
    import torch

    return value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""


def as_tensor(value: torch.Tensor) -> Tensor:
    """Return a torch tensor as a tensor of a checkpoint."""
    return Tensor.whole(named(str(value.dtype)), tuple(value.shape), Memory(bytes_of(value)))


def refuse_overlaps(checkpoint: Checkpoint, model: Model) -> None:
    """Refuse different views of the same elements (a transposed twin): they would be trained apart, and saved over each other.

    Raises:
        EditError: two tensors of the model are such views.
    """
    for group in checkpoint.sharing():
        views = {checkpoint[name].key: name for name in group if name.startswith(model.prefix)}
        spans: list[tuple[int, int, str]] = []  # first and last byte in the storage
        for name in views.values():
            tensor = checkpoint[name]
            low, high = span(tensor.shape, tensor.strides, tensor.offset)
            spans.append((low * tensor.dtype.nbytes, high * tensor.dtype.nbytes, name))
        spans.sort()
        for (_, end, one), (start, _, other) in pairwise(spans):
            if start < end:
                raise EditError(f"{one} and {other} are different views of the same elements", f"give one its own: ckpt untie {other}")


def with_values(checkpoint: Checkpoint, model: Model, values: Mapping[str, torch.Tensor]) -> Checkpoint:
    """Return the checkpoint with a module's values in place of its own; tied tensors follow.

    Args:
        checkpoint: the file.
        model: the model in it.
        values: the new values, by the module's own names; those that the file does not hold are left out.
    """
    storages: dict[Storage, Storage] = {}
    written: set[object] = set()
    in_file = {model.prefix + name: value for name, value in values.items() if model.prefix + name in checkpoint}
    for name, value in in_file.items():
        tensor = checkpoint[name]
        if tensor.key in written:
            continue
        written.add(tensor.key)
        current = storages.get(tensor.storage, tensor.storage)
        storages[tensor.storage] = tensor.over(current).storage_with(Memory(bytes_of(value)))
    return checkpoint.with_storages(storages)


def all_tensors(module: Module) -> dict[str, torch.Tensor]:
    """Return every parameter and buffer by each of its names, in the order of state_dict(), then those that it leaves out."""
    return state_of(module) | dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
