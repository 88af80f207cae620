"""The user's own schemes: FILE.py:FUNCTION. Code of others runs here only because the user names it.

The function has the convention of torch.nn.init: it fills the tensor that it is given in place, or returns one of the same shape. It is
passed `generator`, `name`, `fan_in` and `fan_out` where its signature names them. A function without `generator` draws from torch's global
generator, which is put in the state of the tensor's generator for the call and restored after it. The generators of Python and numpy are
not seeded.
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
from .distribution import Distribution, InPlace
from .fans import fans
from .scheme import Scheme
from .target import Target

if TYPE_CHECKING:
    from torch import Generator, Tensor

_PROVIDED = {"generator", "name", "fan_in", "fan_out"}
_GLOBAL_GENERATOR = threading.Lock()  # all threads share torch's global generator


def load(spec: str) -> Scheme[Any]:
    """Return the scheme that `FILE.py:FUNCTION` names. FILE is executed, once.

    Raises:
        UsageError: there is no such file or function, or the function takes no tensor; or a recipe names it and may not run code.
        UserCodeError: executing FILE raises an exception.
    """
    from ..configs.code_allowed import require_code_allowed

    require_code_allowed(spec)
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
    provided = _PROVIDED & {parameter.name for parameter in rest}
    named = [p for p in rest if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in _PROVIDED]
    # the user's annotations are no schema: without them, any value is passed on
    return Scheme(spec, "user", _scheme(spec, function, provided), [p.replace(annotation=p.empty) for p in named])


@cache
def _module(path: str) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    if not Path(path).is_file():
        raise UsageError("there is no such file", "check the path", path)
    spec = spec_from_file_location(path, path)
    if spec is None or spec.loader is None:
        raise UsageError("this is no Python file", "give a .py file", path)
    module = module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    sys.path.insert(0, str(Path(path).parent))
    try:
        with user_code(path):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(Path(path).parent))
    return module


def _scheme(spec: str, function: Callable[..., Any], provided: set[str]) -> Callable[..., Distribution]:
    """The user's function as a scheme's function; `provided` are the parameters of it that are filled in here."""
    path = str(Path(spec.rpartition(":")[0]).expanduser().resolve())

    def scheme(target: Target, **arguments: Any) -> Distribution:
        if provided & {"fan_in", "fan_out"}:
            into, out = fans(target)
            arguments |= {key: value for key, value in (("fan_in", into), ("fan_out", out)) if key in provided}
        if "name" in provided:
            arguments["name"] = target.name

        def fill(tensor: Tensor, generator: Generator) -> None:
            passed = {"generator": generator} if "generator" in provided else {}
            with _global_from(None if passed else generator), user_code(path):
                result = function(tensor, **arguments, **passed)
            _copy_result(tensor, result, spec)

        return InPlace(spec, fill, random=False)

    scheme.__doc__ = inspect.getdoc(function)
    return scheme


def _copy_result(tensor: Tensor, result: Any, spec: str) -> None:
    """Copy what the function returned into `tensor`, unless it filled the tensor in place."""
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
    """Put torch's global generator in the state of `generator`, and `generator` in the state after the block; nothing for None."""
    if generator is None:
        yield
        return
    import torch

    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())


@contextmanager
def user_code(path: str) -> Iterator[None]:
    """Run the user's code: its output goes to standard error, and an exception becomes one line with the place where it arose.

    Raises:
        UserCodeError: the code raises any exception.
    """
    try:
        with redirect_stdout(sys.stderr):  # standard output is for the answer
            yield
    except (Exception, SystemExit) as error:
        line = _line(error, path)
        text = " ".join(str(error).split())
        raise UserCodeError(f"{type(error).__name__}: {text}", "mend the function", f"{path}:{line}" if line else path) from error


def _line(error: BaseException, path: str) -> int | None:
    """The line of `path` nearest to where the error was raised; None where the traceback does not pass through it."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines[-1] if lines else None
