"""A module that a library builds in its constructor, as what a provider provides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from ..architectures.layers import Shape
from ..architectures.user_module import describe, one_line
from ..errors import CkptError, LibraryError
from . import Provided

if TYPE_CHECKING:
    from torch.nn import Module


def imported(module: str, library: str) -> Any:
    """Import a module of a library.

    Raises:
        LibraryError: it is not installed, or does not load.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise LibraryError(f"{error.name} is not installed", f"pip install 'ckpt-tool[{library}]'") from error
    except Exception as error:  # a library that does not fit the others raises anything
        raise LibraryError(f"{library} does not load: {one_line(error)}", f"pip install 'ckpt-tool[{library}]'") from error


def provided_module(
    library: str,
    name: str,
    arguments: Mapping[str, object],
    build: Callable[[], Module],
    shapes: Mapping[str, Shape],
    notes: tuple[str, ...] = (),
) -> Provided:
    """Build a module on the meta device, and describe it.

    Args:
        library: the library, as pip calls it.
        name: the name of the model.
        arguments: its arguments.
        build: builds the module on the device in force. It has the names of the file.
        shapes: the shapes in the file.
        notes: what the user must know.

    Raises:
        LibraryError: the module cannot be built, or has many more tensors than the file.
    """
    from importlib.metadata import version

    def built() -> Module:
        with library_code(f"{library} cannot build {name}"):
            return build()

    with bounded(shapes):
        module = on_meta(built)
    model = describe(f"{library}:{name}", dict(arguments), built, module)
    return Provided(f"{library} {version(library)}", model, dict, notes)


def on_meta(build: Callable[[], Module]) -> Module:
    """Build a module on the meta device. Where its constructor needs values (`torch.linspace(…).tolist()`), those are computed."""
    import torch

    try:
        with torch.device("meta"):
            return build()
    except LibraryError as error:
        if "meta" not in error.what:
            raise
    with values_computed():
        return build()


def values_computed() -> AbstractContextManager[object]:
    """Return a context in which tensors are made on the meta device, but for those that are made of their values."""
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._device import _device_constructors

    of_values = {torch.arange, torch.linspace, torch.logspace, torch.tensor, torch.as_tensor, torch.scalar_tensor, torch.range}
    without_values = frozenset(_device_constructors()) - of_values

    class ValuesComputed(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            device = {"device": "meta"} if func in without_values else {}
            return func(*args, **device | (kwargs or {}))

    return ValuesComputed()


@contextmanager
def library_code(what: str) -> Iterator[None]:
    """Run code of a library, which may raise anything.

    Raises:
        LibraryError: it did; the message says `what` failed and why.
    """
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (CkptError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise LibraryError(f"{what}: {one_line(error)}") from error


@contextmanager
def bounded(shapes: Mapping[str, Shape]) -> Iterator[None]:
    """Stop the building of a module with many more tensors than the file has.

    Raises:
        LibraryError: it has.
    """
    from torch.nn.modules import module

    most, count = 4 * len(shapes) + 1_000 if shapes else 1_000_000, 0

    def registered(*_: object) -> None:
        nonlocal count
        count += 1
        if count > most:
            raise LibraryError(f"the config asks for over {most:,} layers and tensors; the file has {len(shapes):,} tensors")

    hooks = [module.register_module_parameter_registration_hook(registered), module.register_module_module_registration_hook(registered)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
