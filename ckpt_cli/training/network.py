"""A checkpoint's values in the module that they belong to, and the module's values back in the checkpoint, in place of the old ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from ..architectures.mismatch import hold
from ..architectures.own import told
from ..architectures.recognition import Model, get
from ..errors import CkptError, EditError, UsageError
from ..numbers.dtypes import named
from ..numbers.shapes import span
from ..schemes.seeds import import_torch
from ..storage.storage import Memory, Storage
from ..tensors.checkpoint import Checkpoint
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    import torch
    from torch.nn import Module


def model_in(checkpoint: Checkpoint, arch: str) -> Model:
    """The model that the file holds: recognised, or the one that the user names. Raises UsageError where there is none to run."""
    shapes = {name: tensor.shape for name, tensor in checkpoint.items()}
    model = get(arch, shapes, checkpoint.ties(), checkpoint.layers)
    if not model or not model.architecture:
        raise UsageError("no architecture is recognised in this file, so nothing can run it", "name it with --arch")
    if arch != "auto":
        hold(model, shapes)
    return model


@contextmanager
def steady(seed: int) -> Iterator[None]:
    """torch's global generator begins at `seed` and goes on as it was afterwards; one thread, so that sums have one order."""
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
def running(what: str) -> Iterator[None]:
    """Around code of torch and of models, which may raise anything: an error of ours that says `what` failed."""
    try:
        yield
    except (CkptError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what}: {told(error)}") from error


def load(checkpoint: Checkpoint, model: Model) -> Module:
    """The module with the file's values, in the file's dtypes. What is tied, in the file or in the module, is one parameter.

    What the file does not hold (a constant that is drawn when the module is made) comes from torch's global generator.
    """
    import torch

    with running("the model cannot be built"):
        module = model.module()
        own = {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, torch.Tensor)}
    refuse_overlaps(checkpoint, model)
    values: dict[str, torch.Tensor] = {}
    for group in merged([[name] for name in own], known(model.ties, own), known(inside(checkpoint.ties(), model.prefix), own)):
        value = one_value(checkpoint, [model.prefix + name for name in group])
        first = own[group[0]]
        if value is not None and isinstance(first, torch.nn.Parameter):
            value = parameter(value, first.requires_grad, model.prefix + group[0])
        values |= {} if value is None else dict.fromkeys(group, value)
    with running("the model does not take the values of the file"):
        module.load_state_dict(values, strict=False, assign=True)
    return module


def parameter(value: torch.Tensor, requires_grad: bool, name: str) -> torch.Tensor:
    import torch

    if requires_grad and not (value.dtype.is_floating_point or value.dtype.is_complex):
        raise EditError(f"{name} is {str(value.dtype)[6:]}, which has no gradient", "cast it to a float: ckpt cast")
    return torch.nn.Parameter(value, requires_grad)


def inside(groups: Iterable[Sequence[str]], prefix: str) -> list[list[str]]:
    """The names below the prefix, without it."""
    return [[name[len(prefix) :] for name in group if name.startswith(prefix)] for group in groups]


def known(groups: Iterable[Iterable[str]], names: Iterable[str]) -> list[list[str]]:
    """The groups, of these names alone and in their order."""
    order = {name: number for number, name in enumerate(names)}
    return [sorted((name for name in group if name in order), key=order.__getitem__) for group in groups]


def merged(*groupings: Iterable[Iterable[str]]) -> list[list[str]]:
    """Groups of names, those that have a name in common made one."""
    home: dict[str, list[str]] = {}
    for group in (list(group) for grouping in groupings for group in grouping):
        joined = list(dict.fromkeys(name for member in group for name in home.get(member, [member])))
        home |= dict.fromkeys(joined, joined)
    return list({id(group): group for group in home.values()}.values())


def one_value(checkpoint: Checkpoint, names: Sequence[str]) -> torch.Tensor | None:
    """The value that all of `names` have which the file holds; None where it holds none of them."""
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
    import torch

    dtype = getattr(torch, tensor.dtype.name, None)
    if dtype is None:
        raise EditError(f"torch does not compute with {tensor.dtype.name}", "cast it: ckpt cast")
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(tensor.shape) if data else torch.empty(tensor.shape, dtype=dtype)


def bytes_of(value: torch.Tensor) -> bytes:
    """Its elements as C-contiguous little-endian bytes."""
    import torch

    return value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""


def as_tensor(value: torch.Tensor) -> Tensor:
    """A tensor of torch's as one of ours."""
    return Tensor.whole(named(str(value.dtype)), tuple(value.shape), Memory(bytes_of(value)))


def refuse_overlaps(checkpoint: Checkpoint, model: Model) -> None:
    """Different views of the same elements (a transposed twin) would be trained apart, and saved over each other."""
    for group in checkpoint.sharing():
        views = {checkpoint[name].key: name for name in group if name.startswith(model.prefix)}
        reach: list[tuple[int, int, str]] = []
        for name in views.values():
            tensor = checkpoint[name]
            low, high = span(tensor.shape, tensor.strides, tensor.offset)
            reach.append((low * tensor.dtype.nbytes, high * tensor.dtype.nbytes, name))
        reach.sort()
        for (_, end, one), (start, _, other) in pairwise(reach):
            if start < end:
                raise EditError(f"{one} and {other} are different views of the same elements", f"give one its own: ckpt untie {other}")


def stored(checkpoint: Checkpoint, model: Model, values: Mapping[str, torch.Tensor]) -> Checkpoint:
    """The checkpoint with the module's values (by the module's own names) in place of the old ones; whatever is tied follows."""
    storages: dict[Storage, Storage] = {}
    written: set[object] = set()
    held = {model.prefix + name: value for name, value in values.items() if model.prefix + name in checkpoint}
    for name, value in held.items():
        tensor = checkpoint[name]
        if tensor.key in written:
            continue
        written.add(tensor.key)
        current = storages.get(tensor.storage, tensor.storage)
        storages[tensor.storage] = tensor.over(current).storage_with(Memory(bytes_of(value)))
    return checkpoint.with_storages(storages)


def all_tensors(module: Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer by name, all names of those that are tied: in the order of state_dict(), then what it leaves out."""
    import torch

    state = {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, torch.Tensor)}
    return state | dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
