"""The evaluation of a parsed formula with torch: first on the meta device, which tells all shapes without memory, then on the CPU."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from ..errors import EditError
from .formula_functions import CONSTANTS, DRAWS, DTYPES, FACTORIES, number_function, tensor_function

if TYPE_CHECKING:
    from torch import Generator, Tensor

_LEAST = 1 << 22  # elements that an intermediate value may have, however small the target
_STEPS = 32  # how many values of the largest size may be computed in all

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Pow: operator.pow, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


class Refused(Exception):
    """A formula cannot be evaluated; the text says why."""


def evaluated(statements: list[ast.stmt], shape: tuple[int, ...], device: str, generator: Generator | None = None) -> Any:
    """Return the value of a formula, a tensor or a number.

    Args:
        statements: the formula.
        shape: the target's shape.
        device: `meta` computes shapes alone, `cpu` values.
        generator: the source of random numbers.

    Raises:
        EditError: torch cannot compute it, or it is too large.
    """
    try:
        with without_warnings():
            return _Evaluation(shape, device, generator).run(statements)
    except Refused as refused:
        why = str(refused)
    except (RuntimeError, TypeError, ValueError, IndexError, ArithmeticError, AttributeError, NotImplementedError, MemoryError) as error:
        lines = str(error).strip().splitlines()
        why = lines[0][:200] if lines else type(error).__name__
    raise EditError(f"the formula cannot be computed: {why}", "see `ckpt schemes formula`")


class _Evaluation:
    """The values of one evaluation.

    Attributes:
        names: the values that were given a name.
        left: how many elements may be computed still.
    """

    def __init__(self, shape: tuple[int, ...], device: str, generator: Generator | None) -> None:
        import torch

        self.shape, self.device, self.generator = shape, device, generator
        self.most = max(_LEAST, 4 * prod(shape))
        self.left = self.most * _STEPS
        self.names: dict[str, Any] = {**CONSTANTS, **{name: getattr(torch, name) for name in DTYPES}, "shape": shape}

    def run(self, statements: list[ast.stmt]) -> Any:
        result = None
        for statement in statements:
            if isinstance(statement, ast.Assign):
                self.assign(statement.targets[0], self.value(statement.value))
            elif isinstance(statement, ast.Expr):
                result = self.value(statement.value)
        return result

    def assign(self, target: ast.expr, value: Any) -> None:
        import torch

        if isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            changed = self.counted(self.tensor(self.names[target.value.id]).clone())
            changed[self.subscript(target.slice)] = torch.as_tensor(value, dtype=changed.dtype, device=self.device)
            self.names[target.value.id] = changed

    def value(self, node: ast.AST) -> Any:
        """Return what an expression stands for: a number, a tensor, a tuple of these, a dtype or None."""
        return self.counted(_VALUES[type(node)](self, node))

    def counted(self, value: Any) -> Any:
        """Return the value, unless it is too large."""
        import torch

        if isinstance(value, torch.Tensor):
            self.left -= value.numel()
            if value.numel() > self.most or self.left < 0:
                raise Refused(f"a value of {value.numel()} elements is too large for a tensor of {prod(self.shape)}")
        elif isinstance(value, int) and abs(value) >= 1 << 63:
            raise Refused("an integer needs more than 64 bits")
        return value

    def tensor(self, value: Any) -> Tensor:
        import torch

        if not isinstance(value, torch.Tensor):
            raise Refused("a number has no parts")
        return value

    def subscript(self, node: ast.AST) -> Any:
        """A subscript: numbers, slices, None, and tuples of them; no tensors, whose result could have any size."""
        if isinstance(node, ast.Tuple):
            return tuple(map(self.subscript, node.elts))
        if isinstance(node, ast.Slice):
            return slice(*(None if part is None else self.subscript(part) for part in (node.lower, node.upper, node.step)))
        value = self.value(node)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise Refused("a subscript is a whole number, a slice or None")
        return value

    def taken(self, node: ast.Subscript) -> Any:
        return self.value(node.value)[self.subscript(node.slice)]

    def binary(self, left: Any, kind: type, right: Any) -> Any:
        import torch

        for side in left, right:
            if not isinstance(side, int | float | torch.Tensor):
                raise Refused("operators are for numbers and tensors")
        numbers = isinstance(left, int) and isinstance(right, int)
        if kind is ast.Pow and numbers and abs(right) > 63 and abs(left) > 1:
            raise Refused("an integer needs more than 64 bits")
        return _BINARY[kind](left, right)

    def call(self, node: ast.Call) -> Any:
        """Call a function of torch, or of Python numbers where it is given nothing else."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        args = [self.value(each) for each in node.args]
        kwargs = {each.arg: self.value(each.value) for each in node.keywords if each.arg}
        if len(kwargs) < len(node.keywords):
            raise Refused("** is not for formulas")
        self.left -= _work(name, args)
        try:
            return self.called(name, args, kwargs)
        except (TypeError, RuntimeError) as error:
            text = str(error)
            if (
                (isinstance(error, TypeError) and not text.startswith(f"{name}(): "))
                or text.startswith("aten::")
                or "match any schema" in text
            ):
                raise Refused(f"{name}() does not take these arguments{_taken_by(name)}") from None
            raise

    def called(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Return what a function gives."""
        if "device" in kwargs:
            raise Refused("a formula names no device")
        if name in DRAWS:
            return self.drawn(name, args, kwargs)
        if name in FACTORIES:
            return tensor_function(name)(*args, **kwargs, device=self.device)
        if name in _LITERALS:
            return _LITERALS[name](self, *args, **kwargs)
        plain = number_function(name) if len(args) == 1 and not kwargs and isinstance(args[0], int | float) else None
        return plain(args[0]) if plain else tensor_function(name)(*args, **kwargs)

    def drawn(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Tensor:
        import torch

        if any(isinstance(each, float) and not isfinite(each) for each in (*args, *kwargs.values())):
            raise Refused(f"{name}() draws with finite numbers only")
        size, dtype = kwargs.pop("size", self.shape), kwargs.pop("dtype", torch.int64 if name.startswith("rand") else torch.float32)
        tensor: Tensor = self.counted(torch.empty(size, dtype=dtype, device="meta"))
        if self.device != "meta":
            tensor = torch.empty(size, dtype=dtype)
        DRAWS[name](tensor, self.generator, *args, **kwargs)
        return tensor

    def literal(self, numbers: Any, dtype: Any = None) -> Tensor:
        import torch

        made: Tensor = torch.tensor(numbers, dtype=dtype, device=self.device)
        return made

    def stored(self, text: str, dtype: Any, size: tuple[int, ...]) -> Tensor:
        import torch

        from .packed_values import unpacked

        if not isinstance(text, str):
            raise Refused("values takes text")
        empty: Tensor = self.counted(torch.empty(size, dtype=dtype, device="meta"))
        if self.device == "meta" or not empty.numel():
            return empty if self.device == "meta" else torch.empty(size, dtype=dtype)
        data = bytearray(unpacked(text, empty.numel() * empty.element_size()))
        listed: Tensor = torch.frombuffer(data, dtype=torch.uint8).view(dtype).reshape(size)
        return listed


def _taken_by(name: str) -> str:
    """What a function that is no function of torch takes, for a message."""
    import inspect

    function = DRAWS.get(name) or _LITERALS.get(name)
    if function is None:
        return ""
    taken = [key for key in inspect.signature(function).parameters if key not in ("self", "tensor", "generator")]
    return f": it takes {', '.join(taken + ['size', 'dtype'] * (name in DRAWS))}"


@contextmanager
def without_warnings() -> Iterator[None]:
    """Show nothing of what torch warns of: the user wrote no torch."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _work(name: str, args: list[Any]) -> int:
    """What a product of matrices costs beyond its result, in elements."""
    import torch

    if name not in ("mm", "bmm") or len(args) != 2 or not all(isinstance(each, torch.Tensor) for each in args):
        return 0
    return int(args[0].numel() * args[1].shape[-1]) >> 6


_LITERALS: dict[str, Callable[..., Any]] = {"tensor": _Evaluation.literal, "values": _Evaluation.stored}
_VALUES: dict[type, Callable[[_Evaluation, Any], Any]] = {
    ast.Constant: lambda self, node: node.value,
    ast.Name: lambda self, node: self.names[node.id],
    ast.Tuple: lambda self, node: tuple(map(self.value, node.elts)),
    ast.List: lambda self, node: list(map(self.value, node.elts)),
    ast.BinOp: lambda self, node: self.binary(self.value(node.left), type(node.op), self.value(node.right)),
    ast.UnaryOp: lambda self, node: _UNARY[type(node.op)](self.value(node.operand)),
    ast.Compare: lambda self, node: self.binary(self.value(node.left), type(node.ops[0]), self.value(node.comparators[0])),
    ast.Call: _Evaluation.call,
    ast.Subscript: _Evaluation.taken,
}
