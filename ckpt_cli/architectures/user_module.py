"""The user's own architecture: `FILE.py:CALLABLE` or `package.module:CALLABLE`, with literal arguments if wanted.

This is the only way in which code that is not the project's runs, and it runs because the user names it. What it prints
goes to standard error; what goes wrong in it is told in one line.
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

from ..errors import UnknownName, UserCodeError, did_you_mean
from .hyperparameters import read_call
from .layers import Ties
from .recognition import Model

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def load(spec: str, source: str, call: str) -> Model:
    """The model that the callable makes, made on torch's meta device: no memory, no values."""
    name, positional, keywords = read_call(call)
    with user_code(source):
        thing = member(loaded(source), name, source)

    def make() -> Module:
        with user_code(source):
            return made(thing, positional, keywords, spec)

    return described(spec, keywords, make)


def described(spec: str, keywords: dict[str, Any], make: Callable[[], Module]) -> Model:
    """The facts of a module: its layers, and the names, shapes, buffers and ties of its state_dict."""
    module = on_meta(make)
    tensors = {name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if hasattr(tensor, "shape")}
    layers = {path: type(layer).__name__ for path, layer in module.named_modules(remove_duplicate=False)}
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    buffers = frozenset(shapes.keys() - parameters)
    frozen = frozenset(name for name in parameters if not tensors[name].requires_grad)
    return Model(spec, keywords, layers, shapes, buffers, tied(tensors), make, lambda: str(module), frozen=frozen)


def tied(tensors: dict[str, Tensor]) -> Ties:
    """The groups of names that are one parameter."""
    groups: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(id(tensor), []).append(name)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def on_meta(make: Callable[[], Module]) -> Module:
    """Made on the meta device; on the CPU where the constructor needs values, as those do that call `.item()`."""
    import torch

    try:
        with torch.device("meta"):
            return make()
    except UserCodeError as error:
        if "meta" not in error.what:
            raise
    return make()


def made(thing: Any, positional: list[object], keywords: dict[str, object], spec: str) -> Module:
    """The module that the callable gives, or that the name already is."""
    from torch import nn

    module = thing if isinstance(thing, nn.Module) else thing(*positional, **keywords) if callable(thing) else None
    if not isinstance(module, nn.Module):
        raise UserCodeError(f"{spec} gives {type(module).__name__ if callable(thing) else type(thing).__name__}, not a torch.nn.Module")
    return module


def loaded(source: str) -> ModuleType:
    """The module of that file or dotted name."""
    if not source.endswith(".py"):
        return import_module(source)
    path = Path(source).absolute()
    if not path.is_file():
        raise UserCodeError("no such file", "write FILE.py:CALLABLE", source)
    name = f"ckpt_own_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserCodeError("cannot be loaded as Python", where=source)
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def member(module: ModuleType, name: str, source: str) -> Any:
    """`make` or `nets.make` in the module."""
    thing: Any = module
    for piece in name.split("."):
        if not hasattr(thing, piece):
            raise UnknownName(f"has no {name}", did_you_mean(piece, [known for known in dir(thing) if not known.startswith("_")]), source)
        thing = getattr(thing, piece)
    return thing


@contextmanager
def user_code(source: str) -> Iterator[None]:
    """Where the user's code runs: its folder is importable, its output is not ours, and its errors are one line."""
    path = list(sys.path)
    sys.path.insert(0, str(Path(source).absolute().parent) if source.endswith(".py") else str(Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (UserCodeError, UnknownName):
        raise
    except (Exception, SystemExit) as error:
        raise UserCodeError(told(error), where=place(error, source)) from error
    finally:
        sys.path[:] = path


def told(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def place(error: BaseException, source: str) -> str:
    """`FILE:LINE` of the innermost frame in the user's file; of the statement that does not parse; or the source itself."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name if Path(error.filename) == Path(source).absolute() else error.filename}:{error.lineno}"
    file = str(Path(source).absolute())
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    return f"{source}:{lines[-1]}" if lines else source
