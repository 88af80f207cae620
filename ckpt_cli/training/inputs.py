"""What goes into a network: arrays of numpy's files, or standard normal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..architectures.output_shapes import parse_shape
from ..errors import UsageError
from ..schemes.seeds import generator, subseed

if TYPE_CHECKING:
    import numpy
    from torch import Tensor
    from torch.nn import Module


def read_npy(path: str) -> Tensor:
    """Read the array of a .npy file as a tensor, floats as they are, integers as int64. Nothing in it is ever unpickled.

    Raises:
        UsageError: it is no such file, or holds no real numbers.
    """
    import numpy

    array = _load(path)
    if not isinstance(array, numpy.ndarray):
        raise UsageError("this is an archive of arrays", "give one .npy file", path)
    return _tensor(array, path)


def read_npz(path: str) -> dict[str, Tensor]:
    """Read the arrays `x` and, where there is one, `y` of a .npz file; their first axes are the samples.

    Raises:
        UsageError: it is no such file, has no x, or x and y have different numbers of samples.
    """
    import numpy

    archive = _load(path)
    if isinstance(archive, numpy.ndarray):
        raise UsageError("this is one array", "save x and y with numpy.savez", path)
    with archive:
        if "x" not in archive:
            listed = ", ".join(archive.files[:5]) or "nothing"
            raise UsageError(f"there is no array x in it, but {listed}", "numpy.savez(FILE, x=…, y=…)", path)
        arrays = {name: _tensor(_member(archive, name, path), path) for name in ("x", "y") if name in archive}
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if 0 in counts.values() or len(set(counts.values())) > 1:
        listed = " and ".join(f"{count} of {name}" for name, count in counts.items())
        raise UsageError(f"samples are counted along the first axis: there are {listed}", "give as many of each", path)
    return arrays


def _load(path: str) -> Any:
    """What numpy.load gives: an array, or an archive of arrays."""
    from zipfile import BadZipFile

    import numpy

    try:
        return numpy.load(path, allow_pickle=False)
    except (ValueError, EOFError, BadZipFile) as error:
        raise UsageError(f"no array could be read: {_reason(error)}", "save it with numpy.save", path) from None


def _reason(error: Exception) -> str:
    """What is wrong with a file. numpy's own message advises to unpickle what is no array."""
    return "it is none, or one of objects" if "pickle" in str(error) else str(error)


def _member(archive: Mapping[str, Any], name: str, path: str) -> numpy.ndarray[Any, Any]:
    from zipfile import BadZipFile
    from zlib import error as ZlibError

    try:
        array: numpy.ndarray[Any, Any] = archive[name]
    except (ValueError, EOFError, BadZipFile, ZlibError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"array {name} cannot be read: {_reason(error)}", "save it with numpy.savez", path) from None
    return array


def _tensor(array: numpy.ndarray[Any, Any], path: str) -> Tensor:
    """An array as a tensor: floats as they are, integers and booleans as int64."""
    import torch

    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise UsageError(f"an array of {array.dtype} holds no numbers that go into a network", "save floats or integers", path)
    return torch.from_numpy(array.astype(f"f{array.dtype.itemsize}" if array.dtype.kind == "f" else "i8", order="C"))


def random_input(shape: tuple[int, ...], module: Module, seed: int) -> Tensor:
    """Return standard normal numbers in the network's dtype; indices of its entries (int64) where the network has an Embedding."""
    import torch

    random, entries = generator(subseed(seed, "input")), embedding_entries(module)
    if entries:
        return torch.randint(entries, shape, generator=random)
    return torch.randn(shape, generator=random, dtype=torch.float32).to(dtype_of(module))


def sample_shape(text: str, module: Module) -> tuple[int, ...]:
    """Return the shape that a text means: `2` is two samples of the width that the first layer takes; `2x3x32x32` is itself.

    Raises:
        UsageError: the text is no shape, or the first layer does not tell a width.
    """
    from torch import nn

    shape = parse_shape(text)
    if len(shape) > 1:
        return shape
    leaves = (layer for layer in module.modules() if next(layer.children(), None) is None)
    first = next((layer for layer in leaves if next(layer.parameters(), None) is not None), None)
    if not isinstance(first, nn.Linear):
        raise UsageError("what an input of this network looks like is not known", "give its whole shape, as in --random 2x3x32x32")
    return (*shape, first.in_features)


def cast_input(data: Tensor, module: Module) -> Tensor:
    """Return the input in the dtype that the network computes in; integers as they are where it has an Embedding."""
    return data if embedding_entries(module) and not data.dtype.is_floating_point else data.to(dtype_of(module))


def embedding_entries(module: Module) -> int:
    """Return how many entries the network's first Embedding has; 0 where it has none."""
    from torch import nn

    kinds = (nn.Embedding, nn.EmbeddingBag)
    return next((layer.num_embeddings for layer in module.modules() if isinstance(layer, kinds)), 0)


def dtype_of(module: Module) -> Any:
    """Return the torch.dtype of the first parameter of floats; float32 where there is none."""
    import torch

    return next((value.dtype for value in module.parameters() if value.dtype.is_floating_point), torch.float32)
