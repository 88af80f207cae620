"""Recording: what a library does to the tensors of a model while it builds and initialises it, told as schemes.

    with recording() as record, torch.device("meta"):
        model = build()
    record.scheme_of(model.weight)        # normal(mean=0.0, std=0.02)

Every operation of torch is seen below `torch.nn.init` and whatever a library has in its place, and kept as a graph
(recorded_graph.py). A few functions of torch.nn.init do nothing on the meta device, or are known better by name (recorded_calls.py). When a
tensor is asked for, its graph is told as a distribution (recorded_laws.py), as one that differs by rows (recorded_rows.py), or as a formula
(recorded_formulas.py). A module whose code cannot run on the meta device is initialised alone on the CPU (recorded_alone.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from . import Initialisation
from .recorded_graph import Operation, Place, Read, State, place_of, with_reads

if TYPE_CHECKING:
    from torch import Tensor

_MOST_LITERAL = 1 << 22  # elements of a tensor with real values that are kept
_PLACE_ONLY = frozenset({"t", "transpose", "squeeze", "unsqueeze", "detach", "as_strided", "set", "resize", "requires_grad", "swapaxes"})
_EMPTY = frozenset({"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided"})
_RANDOM = frozenset(
    {"normal", "uniform", "rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "bernoulli", "exponential",
     "log_normal", "cauchy", "geometric", "random", "multinomial", "poisson"}
)  # fmt: skip
_LEFT_OUT = frozenset({"device", "generator", "layout", "pin_memory", "memory_format", "non_blocking"})


class Record:
    """What was seen while a model was built."""

    def __init__(self) -> None:
        self._states: dict[int, State] = {}
        self._alive: list[Any] = []  # storages, so that no address is given out twice
        self.asleep = 0  # how many blocks are in force in which nothing is recorded

    def initialisation(self, tensor: Tensor, reason: str = "") -> Initialisation:
        """Return how a tensor was initialised.

        Args:
            tensor: a tensor that was made or written while recording, or a view of one.
            reason: what to say with a scheme: the class of the layer.
        """
        from .recorded_schemes import Unexplained, scheme_text

        with self.computing():
            try:
                return Initialisation(scheme_text(self.read(tensor)), reason)
            except Unexplained as why:
                return Initialisation("", str(why))

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Record nothing in the block."""
        self.asleep += 1
        try:
            yield
        finally:
            self.asleep -= 1

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Record nothing in the block, and make tensors on the CPU, whatever device is in force."""
        import torch

        with self.pause(), torch.device("cpu"):
            yield

    def scheme_of(self, tensor: Tensor) -> str:
        """Return the scheme of a tensor; empty where it cannot be told."""
        return self.initialisation(tensor).scheme

    def values_of(self, tensor: Tensor) -> Tensor:
        """Return the values that a tensor has without chance, computed on the CPU.

        Raises:
            Unexplained: they are random, too many, or not known.
        """
        from .recorded_values import computed

        with self.computing():
            return computed(self.read(tensor)).clone()

    def read(self, tensor: Tensor) -> Read:
        """Return a tensor as it is now."""
        storage = tensor.untyped_storage()
        state = self._states.get(storage._cdata) or self._unseen(tensor)
        if tensor.is_conj() or tensor.is_neg():  # the storage holds other values
            state = State(Operation("unseen", None, (), {}, tuple(tensor.shape), tensor.dtype), place_of(tensor))
        return Read(state, place_of(tensor), tensor.dtype)

    def write(self, tensor: Tensor, operation: Operation, fresh: bool = False) -> None:
        """Note that an operation wrote a tensor, or made it: then nothing else in its storage counts."""
        storage, place = tensor.untyped_storage(), place_of(tensor)
        whole = fresh or (place.size * tensor.element_size() == storage.nbytes() and not place.repeats)
        before = None if whole else self._states.get(storage._cdata) or self._unseen(tensor)
        if storage._cdata not in self._states:
            self._alive.append(storage)
        self._states[storage._cdata] = State(operation, place, before)

    def _unseen(self, tensor: Tensor) -> State:
        """The state of a storage that no operation wrote: its values where it has any."""
        import torch

        size = tensor.untyped_storage().nbytes() // tensor.element_size()
        place = place_of(tensor)
        if not place.is_plain or place.size != size:
            place = Place((size,), (1,), 0)
        if tensor.is_meta or size > _MOST_LITERAL or tensor.layout != torch.strided:
            return State(Operation("unseen", None, (), {}, place.shape, tensor.dtype), place)
        values = tensor.detach().as_strided(*place).clone()
        return State(Operation("literal", values.clone, (), {}, place.shape, tensor.dtype), place)

    def note(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], reads: tuple[Any, Mapping[str, Any]], result: Any) -> None:
        """Note an operation of torch, its arguments and, as reads, what they were before it."""
        import torch

        name = func._schema.name.rpartition("::")[2].removesuffix("_")
        targets = _targets(func, args, kwargs)
        if targets and name in _PLACE_ONLY:
            return
        known = {x.untyped_storage()._cdata for x in _tensors((args, tuple(kwargs.values())))}
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        made = [(at, x) for at, x in enumerate(outputs) if isinstance(x, torch.Tensor) and x.untyped_storage()._cdata not in known]
        for where, tensor in targets:
            if name == "copy" and reads[0][0] == reads[0][1]:
                continue  # x[0] += 1 ends with a copy of x[0] to itself
            self.write(tensor, _operation(func, name, reads, tensor, written=where))
        for at, tensor in made:
            self.write(tensor, _operation(func, name, reads, tensor, output=at if len(outputs) > 1 else 0), fresh=True)


def _operation(
    func: Any, name: str, reads: tuple[Any, Mapping[str, Any]], tensor: Tensor, output: int = 0, written: int | str | None = None
) -> Operation:
    args, kwargs = reads
    name = "empty" if name in _EMPTY else name
    return Operation(name, func, args, kwargs, tuple(tensor.shape), tensor.dtype, name in _RANDOM, output, written)


def _targets(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[int | str, Tensor]]:
    """The arguments that an operation writes to, with their index or name."""
    if not func._schema.is_mutable:
        return []
    found: list[tuple[int | str, Tensor]] = []
    for at, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            if at < len(args):
                found.append((at, args[at]))
            elif argument.name in kwargs:
                found.append((argument.name, kwargs[argument.name]))
    return found


def _tensors(value: Any) -> Iterator[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)


@contextmanager
def recording() -> Iterator[Record]:
    """Record what torch does in the block, on whatever device."""
    from .recorded_calls import named_functions, watching_functions

    record = Record()
    with ExitStack() as stack:
        stack.enter_context(named_functions(record))
        stack.enter_context(watching_functions(record))
        stack.enter_context(_dispatching(record))
        yield record


def _dispatching(record: Record) -> Any:
    """A mode in which each operation of torch is noted."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Dispatching(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if record.asleep:
                return func(*args, **kwargs)
            reads = (
                with_reads(args, record.read, torch.Tensor),
                {key: with_reads(value, record.read, torch.Tensor) for key, value in kwargs.items() if key not in _LEFT_OUT},
            )
            result = func(*args, **kwargs)
            record.note(func, args, kwargs, reads, result)
            return result

    return Dispatching()  # type: ignore[no-untyped-call]
