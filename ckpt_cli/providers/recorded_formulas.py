"""Recorded operations written as a formula (`schemes/formula.py`), which computes the same.

The operations that are written otherwise than they are called are in recorded_formula_terms.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..schemes.formula_functions import FACTORIES, FUNCTIONS
from .recorded_formula_terms import ATOM, SPECIAL, dtype_text
from .recorded_graph import Operation, Place, Read, State, found_reads
from .recorded_places import in_order, viewed, written
from .recorded_values import OVERWRITING, Unexplained

if TYPE_CHECKING:
    pass

_MOST_CHARACTERS = 50_000
_DEEPEST = 400
_RENAMED = {"view": "reshape", "_reshape_copy": "reshape", "_unsafe_view": "reshape", "clip": "clamp", "true_divide": "div"}
_OPERATORS = {
    "add": ("+", 5),
    "sub": ("-", 5),
    "mul": ("*", 6),
    "div": ("/", 6),
    "floor_divide": ("//", 6),
    "remainder": ("%", 6),
    "pow": ("**", 8),
}
# draws: how many arguments follow the tensor that is filled
_DRAWN = {
    "uniform": 2,
    "normal": 2,
    "trunc_normal": 4,
    "orthogonal": 1,
    "sparse": 2,
    "dirac": 1,
    "bernoulli": 1,
    "exponential": 1,
    "log_normal": 2,
}
_SAME = frozenset({"clone", "lift_fresh_copy", "contiguous", "detach_copy", "alias_copy"})


def formula_text(read: Read) -> str:
    """Return a formula for what a read holds.

    Raises:
        Unexplained: an operation has no place in formulas, or the text would be too long.
    """
    return Writing(read).text


class Writing:
    """The writing of one formula.

    Attributes:
        statements: the statements so far.
        uses: how often each state and each operation is read.
        names: the name that a state's storage has, by the state.
        count: how many names there are.
    """

    def __init__(self, read: Read) -> None:
        self.shape = read.place.shape
        self.statements: list[str] = []
        self.names: dict[State, str] = {}
        self.count = 0
        self.uses = _uses(read.state)
        self.left = _MOST_CHARACTERS
        last, _ = self.read(read, 0)
        self.text = "; ".join([*self.statements, last])
        if len(self.text) > _MOST_CHARACTERS:
            raise Unexplained("its formula would be too long")

    def read(self, read: Read, depth: int) -> tuple[str, int]:
        """The text of a read, and its precedence."""
        if depth > _DEEPEST:
            raise Unexplained("its formula would be too long")
        if read.dtype != read.state.operation.dtype:
            raise Unexplained("its bits are read as another dtype")
        text, level, place = self.storage(read.state, depth)
        if place == read.place or (place.shape == read.place.shape and place.is_plain and read.place.is_plain):
            return text, level
        return viewed(text if level == ATOM else f"({text})", place, read.place), ATOM

    def storage(self, state: State, depth: int) -> tuple[str, int, Place]:
        """The text of the value of a whole storage, its precedence, and how that value lies in the storage."""
        first = state.first.place
        place = first if state.before is None else in_order("", first)[1]
        if state in self.names:
            return self.names[state], ATOM, place
        if state.operation.dtype != state.first.operation.dtype:
            raise Unexplained("its bits are written as another dtype")
        if state.before is None:
            text, level = self.operation(state.operation, depth)
            if state.operation.name in _SAME and first.is_plain and _is_turned(state.operation.args[0].place):
                text, level = f"contiguous({text})", ATOM  # the order in memory is that in which torch sums up
            return (text, level, place) if self.uses[state] < 2 else (self.named(state, text), ATOM, place)
        writes, before = [state], state.before
        while before.before and before not in self.names and not self.uses.get(before):
            writes.append(before)
            before = before.before
        kept = state.chain()
        self.begun(state, before, before in kept or len(kept) > len(writes), writes, depth)
        for write in reversed([each for each in writes if each in kept]):
            value, _ = self.operation(write.operation, depth)
            self.add(written(self.names[state], place, write.place, value))
        return self.names[state], ATOM, place

    def begun(self, state: State, before: State, seen: bool, writes: list[State], depth: int) -> None:
        """Give the storage a name, with the value from before some writes; zeros where they leave nothing of it."""
        if not seen:
            self.named(state, f"zeros({in_order('', state.first.place)[1].shape}, dtype={dtype_text(state.operation.dtype)})")
            return
        text, _, place = self.storage(before, depth + 1)
        uses = sum(read.state is before for write in writes for read in _needed(write.operation))
        if before in self.names and self.uses[before] == uses and place.is_plain:
            self.names[state] = self.names[before]  # nothing else reads the value from before
        else:
            if uses and before not in self.names:
                text = self.named(before, text)
            self.named(state, in_order(text, place)[0])

    def named(self, state: State, text: str) -> str:
        """Give a text a name, and return the name."""
        name = f"x{self.count}"
        self.count += 1
        self.names[state] = name
        self.add(f"{name} = {text}")
        return name

    def add(self, statement: str) -> None:
        """Add a statement."""
        self.left -= len(statement)
        if self.left < 0:
            raise Unexplained("its formula would be too long")
        self.statements.append(statement)

    def operation(self, operation: Operation, depth: int) -> tuple[str, int]:
        """The text of an operation, and its precedence."""
        name = _RENAMED.get(operation.name, operation.name)
        if operation.name in _SAME:
            return self.read(operation.args[0], depth + 1)
        special = SPECIAL.get(name)
        if special:
            return special(self, operation, depth + 1)
        if name in _DRAWN:
            return self.draw(name, operation.args[0 if operation.written == "tensor" else 1 :], operation), ATOM
        if name in _OPERATORS and len(operation.args) == 2 and not operation.kwargs:
            return self.binary(*_OPERATORS[name], operation, depth + 1)
        if name not in FUNCTIONS | FACTORIES:
            raise Unexplained(f"it is computed by {operation.name}, which formulas do not have")
        kwargs = {key: value for key, value in operation.kwargs.items() if key != operation.written and value is not None}
        return f"{name}({self.arguments(operation.args, kwargs, depth)})", ATOM

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], depth: int) -> str:
        """The text between the brackets of a call."""
        written = [self.argument(each, depth) for each in args]
        return ", ".join([*written, *(f"{key}={self.argument(value, depth)}" for key, value in kwargs.items())])

    def argument(self, value: Any, depth: int) -> str:
        """The text of one argument."""
        import torch

        if isinstance(value, Read):
            return self.read(value, depth)[0]
        if isinstance(value, (tuple, list)):
            inner = ", ".join(self.argument(each, depth) for each in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        if isinstance(value, torch.dtype):
            return dtype_text(value)
        if value is None or isinstance(value, (bool, int, float)):
            return repr(value)
        raise Unexplained(f"it is computed with {type(value).__name__}, which formulas do not have")

    def binary(self, sign: str, level: int, operation: Operation, depth: int) -> tuple[str, int]:
        """The text of an operator between its two sides, and its precedence."""
        (left, right), sides = operation.args, []
        for value, least in ((left, level + (sign == "**")), (right, level + (sign != "**"))):
            text, own = self.read(value, depth) if isinstance(value, Read) else _number(value)
            sides.append(text if own >= least else f"({text})")
        return f"{sides[0]} {sign} {sides[1]}", level

    def draw(self, name: str, args: tuple[Any, ...], operation: Operation) -> str:
        """The text of a draw."""
        import torch

        given = [repr(each) for each in args[: _DRAWN[name]] if isinstance(each, (int, float))]
        size = [] if operation.shape == self.shape else [f"size={operation.shape}"]
        kind = [] if operation.dtype == torch.float32 else [f"dtype={dtype_text(operation.dtype)}"]
        return f"{name}({', '.join([*given, *size, *kind])})"


def _is_turned(place: Place) -> bool:
    """Whether the axes lie in another order in memory."""
    return not place.is_row and not place.repeats


def _uses(state: State) -> dict[State, int]:
    """How often each state is read."""
    uses: dict[State, int] = {state: 1}
    waiting, done = list(state.chain()), set()
    while waiting:
        step = waiting.pop()
        uses.setdefault(step, 0)
        if step not in done:
            done.add(step)
            for read in _needed(step.operation):
                uses[read.state] = uses.get(read.state, 0) + 1
                waiting += read.state.chain()
    return uses


def _needed(operation: Operation) -> list[Read]:
    """The reads on which an operation's result depends."""
    args = operation.args[1:] if operation.name in OVERWRITING else operation.args
    kwargs = [value for key, value in operation.kwargs.items() if key != operation.written]
    return list(found_reads((args, tuple(kwargs))))


def _number(value: Any) -> tuple[str, int]:
    if not isinstance(value, (int, float)):
        raise Unexplained(f"it is computed with {type(value).__name__}, which formulas do not have")
    return repr(value), ATOM if value >= 0 else 7
