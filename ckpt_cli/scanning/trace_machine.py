"""The state of the machine that traces a pickle which may be hostile. `trace_opcodes` says what its opcodes do, `trace` runs it."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from ..formats.encodings.object_nodes import BytesInFile, Call, CallOpcode, Node
from ..formats.encodings.pickle_machine import Machine
from ..storage.file import File
from ..storage.storage import Extent
from .bytes_read import Reader

_LONG = 1 << 16  # bytes: a longer run is passed over
_MOST_LINE = 1 << 24
WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"


class Unread(Node):
    """A value that is not known: a number in an odd spelling, what a buffer outside of the pickle would be."""

    __slots__ = ()


UNREAD = Unread()


class Trace(Machine):
    """Runs the pickle that begins at byte `at` of `file`, until its STOP or what stops every unpickler.

    Attributes:
        names: The globals that it imports, in order.
        calls: The calls of globals.
        problems: What besides names speaks against loading it.
        wrong: What stopped it before its STOP; empty where nothing did.
        ran: The number of opcodes that were run.
    """

    __slots__ = ("calls", "file", "problems", "ran", "reader", "suspended", "wraps_arrays", "wrong")

    def __init__(self, file: File, at: int = 0, wraps_arrays: bool = True) -> None:
        """`wraps_arrays`: read joblib's arrays, whose elements stand between the opcodes."""
        super().__init__(b"", at)
        self.reader, self.file, self.wraps_arrays = Reader(file, at), file, wraps_arrays
        self.calls: list[Call] = []
        self.problems: list[str] = []
        self.suspended: list[tuple[list[Any], list[int], dict[int, Any]]] = []
        self.wrong, self.ran = "", 0

    @property
    def end(self) -> int:
        """The byte behind the last one that was read."""
        return self.reader.at

    def suspend(self) -> None:
        """Go on with a pickle that stands within this one, with a stack and a memo of its own."""
        self.suspended.append((self.stack, self.marks, self.memo))
        self.stack, self.marks, self.memo = [], [], {}

    def resume(self) -> None:
        """Go back to the pickle around the one that has ended. Raises IndexError where nothing is left on its stack."""
        self.stack[-1]
        self.stack, self.marks, self.memo = self.suspended.pop()

    # What the opcodes of `pickle_opcodes` call.

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises EOFError."""
        return self.reader.take(count)

    def line(self) -> bytes:
        """The bytes up to the next newline. Raises EOFError."""
        return self.reader.line(_MOST_LINE)

    def number(self, form: Struct) -> int:
        """The next number, which is encoded as `form`. Raises EOFError."""
        return form.unpack(self.reader.take(form.size))[0]  # type: ignore[no-any-return]

    def bulk(self, count: int, make: Callable[[bytes], Any]) -> Any:
        """Long runs stay where they are."""
        if count < _LONG:
            return make(self.reader.take(count))
        return BytesInFile(Extent(self.file, self.reader.skip(count), count))

    def pop(self) -> Any:
        """Take the top off the stack. Raises IndexError where nothing is above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise IndexError
        return self.stack.pop()

    def top(self) -> Any:
        """The top of the stack. Raises IndexError where nothing is above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise IndexError
        return self.stack[-1]

    def call(self, opcode: CallOpcode, function: Any, args: Any, kwargs: Any = None) -> None:
        """Push the result of a call."""
        made = Call(opcode, function, args, kwargs)
        if made.path:
            self.calls.append(made)
        self.stack.append(made)
