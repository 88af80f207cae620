"""The user's own architecture: `FILE.py:CALLABLE` or `package.module:CALLABLE`, with literal arguments if wanted.

This is the only way in which code that is not the project's runs, and it runs because the user names it. What it prints goes to standard
error; an exception in it becomes a UserCodeError of one line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..configs.code_allowed import require_code_allowed
from ..errors import UnknownName, UserCodeError, did_you_mean
from .hyperparameters import parse_call
from .layers import Ties
from .model import Model

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def load(spec: str, source: str, call: str) -> Model:
    """Return the model that the callable makes, built on torch's meta device: it takes no memory and has no values.

    Args:
        spec: the whole text, for messages.
        source: the Python file, or the dotted name of a module.
        call: the callable, with or without arguments in brackets.

    Raises:
        UsageError: the arguments are no literals, or a recipe names it and may not run code.
        UnknownName: the source has no such name.
        UserCodeError: the user's code raises an exception, or gives something other than a torch.nn.Module.
    """
    require_code_allowed(spec)
    name, positional, keywords = parse_call(call)
    with user_code(source):
        factory = attribute(load_source(source), name, source)

    def build() -> Module:
        with user_code(source):
            return build_module(factory, positional, keywords, spec)

    return describe(spec, keywords, build)


def types_of(module: Module) -> dict[str, str]:
    """Return the type of each layer by its path; a convolution with weight normalisation is a Conv1d, not a ParametrizedConv1d."""
    from torch.nn.utils.parametrize import type_before_parametrizations

    return {path: type_before_parametrizations(layer).__name__ for path, layer in module.named_modules(remove_duplicate=False)}


def describe(spec: str, keywords: dict[str, Any], build: Callable[[], Module], built: Module | None = None) -> Model:
    """Return what is known of a module: its layers, and the names, shapes, buffers and ties of its state_dict.

    Args:
        spec: what messages call it.
        keywords: its arguments by name.
        build: builds it on the device in force.
        built: the module, where it is built already.
    """
    module = built or on_meta(build)
    tensors = {name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if hasattr(tensor, "shape")}
    layers = types_of(module)
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    buffers = frozenset(shapes.keys() - parameters)
    frozen = frozenset(name for name in parameters if not tensors[name].requires_grad)
    dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
    return Model(spec, keywords, layers, shapes, buffers, ties_of(tensors), build, lambda: str(module), frozen=frozen, dtypes=dtypes)


def ties_of(tensors: dict[str, Tensor]) -> Ties:
    """Return the groups of names that are one parameter."""
    groups: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(id(tensor), []).append(name)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def on_meta(build: Callable[[], Module]) -> Module:
    """Build on the meta device; on the CPU where the constructor needs values, as one that calls `.item()` does."""
    import torch

    try:
        with torch.device("meta"):
            return build()
    except UserCodeError as error:
        if "meta" not in error.what:
            raise
    return build()


def build_module(factory: Any, positional: list[object], keywords: dict[str, object], spec: str) -> Module:
    """Return what the factory returns for these arguments, or the factory itself where it is a module already.

    Raises:
        UserCodeError: the result is no torch.nn.Module.
    """
    from torch import nn

    module = factory if isinstance(factory, nn.Module) else factory(*positional, **keywords) if callable(factory) else None
    if not isinstance(module, nn.Module):
        kind = type(module if callable(factory) else factory).__name__
        raise UserCodeError(f"{spec} gives {kind}, not a torch.nn.Module")
    return module


def load_source(source: str) -> ModuleType:
    """Import the Python file or the module with that dotted name.

    Raises:
        UserCodeError: there is no such file, or Python cannot load it.
    """
    if not source.endswith(".py"):
        return import_module(source)
    path = Path(source).absolute()
    if not path.is_file():
        raise UserCodeError("no such file", "write FILE.py:CALLABLE", source)
    name = f"ckpt_own_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserCodeError("cannot be loaded as Python", where=source)
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def attribute(module: ModuleType, name: str, source: str) -> Any:
    """Return `make` or `nets.make` of the module.

    Raises:
        UnknownName: it has no such name.
    """
    value: Any = module
    for piece in name.split("."):
        if not hasattr(value, piece):
            raise UnknownName(f"has no {name}", did_you_mean(piece, [known for known in dir(value) if not known.startswith("_")]), source)
        value = getattr(value, piece)
    return value


@contextmanager
def user_code(source: str) -> Iterator[None]:
    """Run the user's code: modules beside it can be imported, and its output goes to standard error.

    Raises:
        UserCodeError: the code raises any exception; the message is one line.
    """
    path = list(sys.path)
    sys.path.insert(0, str(Path(source).absolute().parent) if source.endswith(".py") else str(Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (UserCodeError, UnknownName):
        raise
    except (Exception, SystemExit) as error:
        raise UserCodeError(one_line(error), where=location(error, source)) from error
    finally:
        sys.path[:] = path


def one_line(error: BaseException) -> str:
    """Return an exception's type and message in one line."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def location(error: BaseException, source: str) -> str:
    """Return `FILE:LINE` of the innermost frame in the user's file, or of a syntax error; `source` where there is neither."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name if Path(error.filename) == Path(source).absolute() else error.filename}:{error.lineno}"
    file = str(Path(source).absolute())
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    return f"{source}:{lines[-1]}" if lines else source
