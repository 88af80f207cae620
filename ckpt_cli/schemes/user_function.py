"""The user's own schemes: FILE.py:FUNCTION. The one way by which foreign code runs here, and only because the user names it.

The function has the convention of torch.nn.init: it fills the tensor that it is given in place, or returns one of the same shape. It is
passed `generator`, `name`, `fan_in` and `fan_out` where its signature names them. One that takes no generator draws from torch's global
one, which then is set to where the tensor's own stands, and restored. Python's and numpy's own generators are not seeded.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, UserCodeError, did_you_mean
from .distribution import Draw, Whole
from .fans import fans
from .scheme import Scheme
from .target import Target

if TYPE_CHECKING:
    from torch import Generator, Tensor

_PASSED = {"generator", "name", "fan_in", "fan_out"}
_GLOBAL = threading.Lock()  # torch's global generator is one for all threads


def load(spec: str) -> Scheme[Any]:
    """The scheme that `FILE.py:FUNCTION` names. Executes FILE, once. Raises UsageError, UserCodeError."""
    path, _, name = spec.rpartition(":")
    module = _module(str(Path(path).expanduser().resolve()))
    function = vars(module).get(name)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UsageError(f"{path} has no function {name}", did_you_mean(name, functions) or f"it has {', '.join(functions) or 'none'}")
    try:
        _tensor, *rest = inspect.signature(function).parameters.values()
    except ValueError:
        raise UsageError(f"{spec} takes no tensor", "its first parameter is the tensor to fill") from None
    passed = _PASSED & {parameter.name for parameter in rest}
    own = [p.replace(annotation=p.empty) for p in rest if p.name not in _PASSED and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return Scheme(spec, "user", _scheme(spec, function, passed), own)


@cache
def _module(path: str) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    if not Path(path).is_file():
        raise UsageError("there is no such file", "check the path", path)
    found = spec_from_file_location(path, path)
    if found is None or found.loader is None:
        raise UsageError("this is no Python file", "give a .py file", path)
    module = module_from_spec(found)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    sys.path.insert(0, str(Path(path).parent))
    try:
        with blaming(path):
            found.loader.exec_module(module)
    finally:
        sys.path.remove(str(Path(path).parent))
    return module


def _scheme(spec: str, function: Callable[..., Any], passed: set[str]) -> Callable[..., Draw]:
    path = str(Path(spec.rpartition(":")[0]).expanduser().resolve())

    def scheme(target: Target, **arguments: Any) -> Draw:
        if passed & {"fan_in", "fan_out"}:
            into, out = fans(target)
            arguments |= {key: value for key, value in (("fan_in", into), ("fan_out", out)) if key in passed}
        if "name" in passed:
            arguments["name"] = target.name

        def fill(tensor: Tensor, generator: Generator) -> None:
            own = {"generator": generator} if "generator" in passed else {}
            with _global_from(None if own else generator), blaming(path):
                result = function(tensor, **arguments, **own)
            _take(tensor, result, spec)

        return Whole(spec, fill, random=False)

    scheme.__doc__ = inspect.getdoc(function)
    return scheme


def _take(tensor: Tensor, result: Any, spec: str) -> None:
    """Copy what the function returned, where that is not the tensor that it filled."""
    if result is None or result is tensor:
        return
    import torch

    if not isinstance(result, torch.Tensor) or result.shape != tensor.shape:
        got = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        mend = "fill the tensor in place, or return one of its shape"
        raise UserCodeError(f"{spec} returned {got}, not a tensor of shape {tuple(tensor.shape)}", mend)
    tensor.copy_(result)


@contextmanager
def _global_from(generator: Generator | None) -> Iterator[None]:
    """torch's global generator in the state of `generator`, which goes on from where the block ends; nothing for None."""
    if generator is None:
        yield
        return
    import torch

    with _GLOBAL, torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())


@contextmanager
def blaming(path: str) -> Iterator[None]:
    """An error in the user's code as one line, with the file and the line where it arose."""
    try:
        with redirect_stdout(sys.stderr):  # standard output is for the answer
            yield
    except (Exception, SystemExit) as error:
        line = _line(error, path)
        text = " ".join(str(error).split())
        raise UserCodeError(f"{type(error).__name__}: {text}", "mend the function", f"{path}:{line}" if line else path) from error


def _line(error: BaseException, path: str) -> int | None:
    """The last line of `path` on the way to the error."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines[-1] if lines else None
