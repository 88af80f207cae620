"""A symbolic reader of pickles, protocols 0 to 5: from opcodes to nodes. It never imports or calls anything.

The format is that of CPython's Lib/pickletools.py (protocol 2: PEP 307, 4: PEP 3154, 5: PEP 574). `pickle_opcodes` says what each opcode
does; the loop here runs them, and takes the runs of opcodes that torch repeats for every tensor in one step.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import repeat
from struct import Struct
from struct import error as StructError
from typing import Any

from ...errors import Malformed
from .object_nodes import Call
from .pickle_machine import Machine, TooLarge, Truncated
from .pickle_opcodes import OPCODES

# Far above what programs write: with these, a pickle takes some 3 GB and 10 s at the very worst.
_MOST_OPCODES = 20_000_000
_MOST_MADE = 5_000_000  # by the opcodes in the table: objects, calls, larger numbers
_SHORT = 4000  # bytes of a pickle that is read before the pattern of a repeated run is compiled

# A tensor as torch.save writes one after the other, from the second MARK on: (("storage", class, KEY, location, numel), offset, sizes,
# strides, requires_grad, OrderedDict() …). The first byte of every opcode decides which one it is, so the run is read in one way only.
_INT, _GET, _PUT = rb"(?:K.|M..|J.{4})", rb"(?:h.|j.{4})", rb"r(.{4})"
_SIZES = rb"(?:%b{1,3}+[\x85-\x87]|\(%b{4,8}+t)" % (_INT, _INT)
_TENSOR_CALL = (
    rb"\((%(get)b%(get)b)X(.)\0\0\0([0-9]{1,9}+)%(put)b(%(get)b%(int)b)t%(put)bQ(%(int)b%(sizes)b)%(put)b(%(sizes)b)%(put)b"
    rb"([\x88\x89]%(get)b)\)R%(put)b(%(get)b?)t%(put)bR%(put)b" % {b"get": _GET, b"int": _INT, b"put": _PUT, b"sizes": _SIZES}
)
_U4, _U4X7, _ZERO = Struct("<I"), Struct("<7I"), [0]


def load(data: bytes) -> Any:
    """Read a pickle: the root of its tree. Raises Malformed."""
    return loaded(data).stack[0]


def loaded(data: bytes) -> Unpickler:
    """Read a pickle: the machine that ran it, with the root of its tree on the stack and all that it names. Raises Malformed.

    Tensors that repeat an earlier one are read in one step each. A pickle in which that is not safe is read opcode by opcode.
    """
    if len(data) > _SHORT:
        machine = Unpickler(data, repeats=re.compile(_TENSOR_CALL, re.DOTALL).match)
        try:
            machine.load()
        except TooLarge:
            raise
        except Malformed:
            pass
        else:
            return machine
    machine = Unpickler(data)
    machine.load()
    return machine


class Unpickler(Machine):
    """Runs the pickle that begins at byte `at` of `data`. `load` gives its tree and leaves `at` behind the STOP.

    With `repeats`, a run of opcodes that it matches and that was seen before makes a Call which refers to the earlier one. What such a run
    puts into the memo is left out, but for the last entry. This is sound as long as memo entries are made in order, once each, and none of
    those that were left out is asked for; a pickle that does otherwise raises Malformed.
    """

    __slots__ = ("known", "repeats")

    def __init__(self, data: bytes, at: int = 0, repeats: Callable[[bytes, int], re.Match[bytes] | None] | None = None) -> None:
        super().__init__(data, at, in_order=repeats is not None)
        self.repeats = repeats
        self.known: dict[tuple[Any, ...], Call] = {}

    def load(self) -> Any:
        """The root of the tree. Raises Malformed where the bytes are no pickle, Truncated where they end before it does."""
        try:
            self._run()
        except StructError:
            raise Truncated("truncated pickle") from None
        except IndexError:
            if self.at >= len(self.data):
                raise Truncated("truncated pickle") from None
            raise Malformed(f"broken pickle: nothing on the stack at byte {self.at}") from None
        except KeyError as key:
            raise Malformed(f"broken pickle: {key} at byte {self.at} is no opcode or no memo entry") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise Malformed(f"broken pickle at byte {self.at}: {str(error)[:80]}") from None
        if len(self.stack) != 1 or self.marks:
            raise Malformed("broken pickle: it does not end in one object")
        return self.stack[0]

    def _run(self) -> None:
        """Run opcodes up to the STOP. The few that make up nine tenths of a state dict stand here, the others in the table."""
        data, stack, marks, memo, table, at = self.data, self.stack, self.marks, self.memo, OPCODES, self.at
        u4, repeats, last, made = _U4.unpack_from, self.repeats, -1, 0
        try:
            for _ in repeat(None, _MOST_OPCODES):
                op = data[at]
                at += 1
                if op == 0x68:  # BINGET
                    stack.append(memo[data[at]])
                    at += 1
                elif op == 0x72 or op == 0x71:  # LONG_BINPUT, BINPUT
                    index = u4(data, at)[0] if op == 0x72 else data[at]
                    last = _next_entry(last, index) if repeats else last
                    memo[index] = stack[-1]
                    at += 4 if op == 0x72 else 1
                elif op == 0x58:  # BINUNICODE
                    stop = at + 4 + u4(data, at)[0]
                    stack.append(_text(data, at + 4, stop))
                    at = stop
                elif op == 0x4B:  # BININT1
                    stack.append(data[at])
                    at += 1
                elif op == 0x28:  # MARK
                    if repeats and (run := repeats(data, at)):
                        last, at = self._repeat(run, last), run.end()
                    else:
                        marks.append(len(stack))
                elif op == 0x2E:  # STOP
                    return
                else:
                    self.at = at
                    table[op](self)
                    at = self.at
                    made += 1
                    if made > _MOST_MADE:
                        raise TooLarge(f"a pickle of over {_MOST_MADE:,} objects")
        finally:
            self.at = max(at, self.at)
        raise TooLarge(f"a pickle of over {_MOST_OPCODES:,} opcodes")

    def _repeat(self, run: re.Match[bytes], last: int) -> int:
        """Call the function on the stack as `run` says.

        Args:
            run: A match of the pattern of a tensor.
            last: The index of the last memo entry before it.

        Returns:
            The index of the last memo entry that the run makes.

        Raises:
            ValueError: The run does not make its memo entries in order, or the pattern matched by chance.
        """
        storage, size, key, a, location, b, view, c, strides, d, hooks, e, dtype, f, g = run.groups()
        stack, end = self.stack, last + 7
        in_order = b"".join((a, b, c, d, e, f, g)) == _U4X7.pack(last + 1, last + 2, last + 3, last + 4, last + 5, last + 6, end)
        if not in_order or len(key) != size[0] or len(stack) <= (self.marks or _ZERO)[-1]:
            raise ValueError("a run of opcodes of another kind")
        all_but_the_key = stack[-1], storage, location, view, strides, hooks, dtype
        earlier = self.known.get(all_but_the_key)
        if earlier is None:
            once = Unpickler(b"(" + run[0] + b".")
            once.stack, once.memo, once.persistents, once.globals = stack, self.memo, self.persistents, self.globals
            once._run()
            self.known[all_but_the_key] = stack[-1]
        else:
            stack[-1] = self.memo[end] = earlier.repeated(str(key, "ascii"))
        return end


def _next_entry(last: int, index: int) -> int:
    """`index`, which has to come after the `last` index of a memo entry."""
    if index <= last:
        raise ValueError("memo entries out of order")
    return index


def _text(data: bytes, start: int, stop: int) -> str:
    if stop > len(data):
        raise Truncated("truncated pickle")
    return str(data[start:stop], "utf-8", "surrogatepass")
