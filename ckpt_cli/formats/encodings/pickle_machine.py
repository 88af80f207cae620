"""The state of the stack machine that runs a pickle, and how its opcodes take their arguments from the bytes.

As in CPython's Lib/pickletools.py. Every length is compared with the bytes that are left before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from ...errors import Malformed
from .object_nodes import Global, Persistent


class Truncated(Malformed):
    """The pickle goes on after the bytes that were given."""


class TooLarge(Malformed):
    """The pickle is larger than any that is read."""


class Machine:
    """A stack, marks on it, and a memo, over the bytes `data`, of which the next one to be read is at `at`.

    `persistents` and `globals` list what the pickle named so far, `protocol` is what its PROTO opcode says. With `in_order`, memo entries
    have to be made by PUT opcodes, in ascending order: the reader that skips repeated runs relies on it.
    """

    __slots__ = ("at", "data", "globals", "in_order", "marks", "memo", "persistents", "protocol", "stack")
    any_id = False  # whether persistent ids may be of any form, as in files of torch 0.1

    def __init__(self, data: bytes, at: int = 0, in_order: bool = False) -> None:
        self.data, self.at, self.in_order = data, at, in_order
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.persistents: list[Persistent] = []
        self.globals: list[Global] = []
        self.protocol = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises Truncated where there are fewer."""
        at = self.at
        if count < 0 or at + count > len(self.data):
            raise Truncated("truncated pickle")
        self.at = at + count
        return self.data[at : at + count]

    def bulk(self, count: int, make: Callable[[bytes], Any]) -> Any:
        """What `make` makes of the next `count` bytes, which may be many: the elements of an array."""
        return make(self.take(count))

    def line(self) -> bytes:
        """The bytes up to the next newline, which is passed over. Raises Truncated where there is none."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Truncated("truncated pickle")
        line, self.at = self.data[self.at : end], end + 1
        return line

    def number(self, form: Struct) -> int:
        """The next number, which is encoded as `form`."""
        at = self.at
        self.at = at + form.size
        return form.unpack_from(self.data, at)[0]  # type: ignore[no-any-return]

    def pop_to_mark(self) -> list[Any]:
        """Take the last mark off the stack with everything that was pushed since."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def pop(self) -> Any:
        """Take the top off the stack. Raises ValueError where it lies below the last mark."""
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise ValueError("an opcode reaches below its mark")
        return self.stack.pop()
