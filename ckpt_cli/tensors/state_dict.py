"""`Checkpoint.state_dict`: what torch's `load_state_dict` takes, made when it is asked for."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import number_of
from .arrays import bytes_in_torch, torch_dtype

if TYPE_CHECKING:
    import torch

    from .tensor import Tensor


class StateDict(Mapping[str, "torch.Tensor"]):
    """Tensors of torch by name. One is read when it is first asked for, and kept; tensors that share a storage share their memory.

    Pickled, as `torch.save` does it, and copied, it is an OrderedDict.

    Args:
        tensors: The tensors by name.
        shared: The names whose tensors may share a storage with another one.
    """

    def __init__(self, tensors: Mapping[str, Tensor], shared: Iterable[str]) -> None:
        self._tensors = tensors
        held = Counter(id(tensors[name].storage) for name in shared)
        self._several = {storage for storage, count in held.items() if count > 1}
        self._storages: dict[int, torch.Tensor] = {}
        self._made: dict[str, torch.Tensor] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._made:
            tensor = self._tensors[name]
            shares = id(tensor.storage) in self._several and not tensor.layout and tensor.dtype.addressable
            self._made[name] = self._view(tensor) if shares else tensor.torch()
        return self._made[name]

    def _view(self, tensor: Tensor) -> torch.Tensor:
        """A tensor over the memory that all tensors of its storage have in common."""
        dtype, key = torch_dtype(tensor), id(tensor.storage)
        if key not in self._storages:
            self._storages[key] = bytes_in_torch(tensor.storage)
        whole = self._storages[key]
        elements = whole[: len(whole) // tensor.dtype.nbytes * tensor.dtype.nbytes].view(dtype)
        return elements.as_strided(tensor.shape, tensor.strides, tensor.offset if tensor.numel else 0)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"StateDict({number_of(len(self), 'tensor')})"

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), None, None, iter(self.items())
