"""A symbolic reader of pickles, protocols 0 to 5: from opcodes to nodes. Nothing is imported or called, ever.

Opcodes as in CPython's Lib/pickletools.py. Every length is compared with the bytes that are left before it is believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import repeat
from struct import Struct
from struct import error as StructError
from typing import Any

from ...errors import Malformed
from .object_nodes import ByteArray, ByteString, Call, Dict, Global, List, Persistent, Set, Tuple

# Far above what programs write: with these, a pickle takes some 3 GB and 10 s at the very worst.
_MOST_OPCODES = 20_000_000
_MOST_MADE = 5_000_000  # by the opcodes in the table: objects, calls, larger numbers
_MOST_DIGITS = 4000
_SHORT = 4000  # bytes of a pickle that is read before the pattern of a repeated run is compiled


class Truncated(Malformed):
    """The pickle goes on after the bytes that were given."""


class TooLarge(Malformed):
    """The pickle is larger than any that is read."""


def load(data: bytes) -> Any:
    """The root of the tree. Calls that repeat one another are taken in one step; where that does not do, opcode by opcode."""
    if len(data) > _SHORT:
        try:
            return Unpickler(data, repeats=re.compile(_CALL, re.DOTALL).match).load()
        except TooLarge:
            raise
        except Malformed:
            pass
    return Unpickler(data).load()


def globals_of(data: bytes) -> list[Global]:
    """Every class and function that the pickle names, those among them that are in no part of its tree."""
    machine = Unpickler(data)
    machine.load()
    return machine.globals


class Unpickler:
    """A stack machine over `data`. `load` gives the tree and leaves `at` behind the STOP.

    With `repeats`, a run of opcodes that it matches and that was seen before makes a Call which refers to the earlier one. What such a run
    puts into the memo is left out: it is sound as long as memo entries are made in order, once each, and such a one is not asked for.
    """

    __slots__ = ("at", "data", "globals", "known", "marks", "memo", "persistents", "protocol", "repeats", "stack")

    def __init__(self, data: bytes, at: int = 0, repeats: Callable[[bytes, int], re.Match[bytes] | None] | None = None) -> None:
        self.data, self.at, self.repeats = data, at, repeats
        self.known: dict[tuple[Any, ...], Call] = {}
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.persistents: list[Persistent] = []
        self.globals: list[Global] = []
        self.protocol = 0

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
        """Opcode after opcode, to the STOP. The few that make up nine tenths of a state dict stand here, the others in the table."""
        data, stack, marks, memo, table, at = self.data, self.stack, self.marks, self.memo, _TABLE, self.at
        u4, repeats, top, made = _U4.unpack_from, self.repeats, -1, 0
        try:
            for _ in repeat(None, _MOST_OPCODES):
                op = data[at]
                at += 1
                if op == 0x68:  # BINGET
                    stack.append(memo[data[at]])
                    at += 1
                elif op == 0x72 or op == 0x71:  # LONG_BINPUT, BINPUT
                    index = u4(data, at)[0] if op == 0x72 else data[at]
                    if repeats:
                        top = _after(top, index)
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
                    if repeats and (found := repeats(data, at)):
                        top = self._repeat(found, top)
                        at = found.end()
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

    def _repeat(self, found: re.Match[bytes], top: int) -> int:
        """Make the call that the run `found` makes of the function on the stack; the last memo entry. ValueError where it is none."""
        storage, size, key, a, place, b, view, c, strides, d, hooks, e, dtype, f, g = found.groups()
        stack, last = self.stack, top + 7
        in_order = b"".join((a, b, c, d, e, f, g)) == _U4X7.pack(top + 1, top + 2, top + 3, top + 4, top + 5, top + 6, last)
        if not in_order or len(key) != size[0] or len(stack) <= (self.marks or _ZERO)[-1]:
            raise ValueError("a run of opcodes of another kind")
        which = stack[-1], storage, place, view, strides, hooks, dtype
        like = self.known.get(which)
        if like is None:
            once = Unpickler(b"(" + found[0] + b".")
            once.stack, once.memo, once.persistents = stack, self.memo, self.persistents
            once._run()
            self.known[which] = stack[-1]
        else:
            stack[-1] = self.memo[last] = like.repeated(str(key, "ascii"))
        return last

    def take(self, count: int) -> bytes:
        at = self.at
        if count < 0 or at + count > len(self.data):
            raise Truncated("truncated pickle")
        self.at = at + count
        return self.data[at : at + count]

    def bulk(self, count: int, make: Callable[[bytes], Any]) -> Any:
        """The next `count` bytes, which may be many: the elements of an array."""
        return make(self.take(count))

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Truncated("truncated pickle")
        line, self.at = self.data[self.at : end], end + 1
        return line

    def number(self, form: Struct) -> int:
        at = self.at
        self.at = at + form.size
        return form.unpack_from(self.data, at)[0]  # type: ignore[no-any-return]

    def popped(self) -> list[Any]:
        """What was pushed since the last mark, taken off with it."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def pop(self) -> Any:
        """The top of the stack, never below the last mark."""
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise ValueError("an opcode reaches below its mark")
        return self.stack.pop()


def _after(top: int, index: int) -> int:
    if index <= top:
        raise ValueError("memo entries out of order")
    return index


Op = Callable[[Unpickler], None]
_TABLE: dict[int, Op] = {}
_U2, _I4, _U4, _U8, _F8 = Struct("<H"), Struct("<i"), Struct("<I"), Struct("<Q"), Struct(">d")
_U4X7, _ZERO = Struct("<7I"), [0]

# A tensor as torch.save writes one after the other, from the second MARK on: (("storage", class, KEY, location, numel), offset, sizes,
# strides, requires_grad, OrderedDict() …). Every opcode is told by its first byte, so that there is one way to read the run.
_INT, _GET, _PUT = rb"(?:K.|M..|J.{4})", rb"(?:h.|j.{4})", rb"r(.{4})"
_SIZES = rb"(?:%b{1,3}+[\x85-\x87]|\(%b{4,8}+t)" % (_INT, _INT)
_CALL = (
    rb"\((%(get)b%(get)b)X(.)\0\0\0([0-9]{1,9}+)%(put)b(%(get)b%(int)b)t%(put)bQ(%(int)b%(sizes)b)%(put)b(%(sizes)b)%(put)b"
    rb"([\x88\x89]%(get)b)\)R%(put)b(%(get)b?)t%(put)bR%(put)b" % {b"get": _GET, b"int": _INT, b"put": _PUT, b"sizes": _SIZES}
)


def _op(code: bytes) -> Callable[[Op], Op]:
    def register(function: Op) -> Op:
        _TABLE[code[0]] = function
        return function

    return register


def _constant(code: bytes, value: Any) -> None:
    _TABLE[code[0]] = lambda m: m.stack.append(value)


def _pushes(code: bytes, make: Callable[[Unpickler], Any]) -> None:
    def op(m: Unpickler) -> None:
        m.stack.append(make(m))

    _TABLE[code[0]] = op


for _code, _value in ((b"N", None), (b"\x88", True), (b"\x89", False)):
    _constant(_code, _value)

# Empty containers, and what is made of everything since the mark.
_pushes(b")", lambda m: Tuple([]))
_pushes(b"]", lambda m: List([]))
_pushes(b"}", lambda m: Dict([]))
_pushes(b"\x8f", lambda m: Set([]))
_pushes(b"t", lambda m: Tuple(m.popped()))
_pushes(b"l", lambda m: List(m.popped()))
_pushes(b"d", lambda m: Dict(_paired(m.popped())))
_pushes(b"\x91", lambda m: Set(m.popped(), frozen=True))

# Numbers.
_pushes(b"M", lambda m: m.number(_U2))
_pushes(b"J", lambda m: m.number(_I4))
_pushes(b"\x8a", lambda m: _binary(m.take(m.take(1)[0])))
_pushes(b"\x8b", lambda m: _binary(m.take(m.number(_I4))))
_pushes(b"G", lambda m: _F8.unpack(m.take(8))[0])
_pushes(b"F", lambda m: _float(m.line()))
_pushes(b"L", lambda m: _decimal(m.line().removesuffix(b"L")))
_pushes(b"I", lambda m: _int_or_bool(m.line()))

# Strings and bytes. `surrogatepass` as pickle itself has it: names are escaped where they are shown.
_pushes(b"\x8c", lambda m: str(m.take(m.take(1)[0]), "utf-8", "surrogatepass"))
_pushes(b"\x8d", lambda m: str(m.take(m.number(_U8)), "utf-8", "surrogatepass"))
_pushes(b"V", lambda m: str(m.line(), "raw-unicode-escape"))
_pushes(b"B", lambda m: m.bulk(m.number(_U4), bytes))
_pushes(b"C", lambda m: m.take(m.take(1)[0]))
_pushes(b"\x8e", lambda m: m.bulk(m.number(_U8), bytes))
_pushes(b"\x96", lambda m: m.bulk(m.number(_U8), ByteArray))
_pushes(b"U", lambda m: ByteString(m.take(m.take(1)[0])))
_pushes(b"T", lambda m: m.bulk(m.number(_I4), ByteString))
_pushes(b"S", lambda m: ByteString(_unquoted(m.line())))

# Globals and what the pickle leaves to its surroundings.
_pushes(b"c", lambda m: _global(m, str(m.line(), "utf-8"), str(m.line(), "utf-8")))
_pushes(b"P", lambda m: _persistent(m, str(m.line(), "utf-8")))
_pushes(b"Q", lambda m: _persistent(m, m.pop()))

# The memo.
_pushes(b"g", lambda m: m.memo[_decimal(m.line())])
_pushes(b"j", lambda m: m.memo[m.number(_U4)])


def _text(data: bytes, start: int, stop: int) -> str:
    if stop > len(data):
        raise Truncated("truncated pickle")
    return str(data[start:stop], "utf-8", "surrogatepass")


def _global(m: Unpickler, module: str, name: str) -> Global:
    m.globals.append(Global(module, name))
    return m.globals[-1]


def _persistent(m: Unpickler, pid: Any) -> Persistent:
    m.persistents.append(Persistent(pid))
    return m.persistents[-1]


def _paired(items: list[Any]) -> list[tuple[Any, Any]]:
    if len(items) % 2:
        raise ValueError("a key without a value")
    return list(zip(items[::2], items[1::2], strict=True))


def _decimal(line: bytes) -> int:
    if len(line) > _MOST_DIGITS:
        raise ValueError(f"an integer of over {_MOST_DIGITS:,} digits")
    digits = line.removeprefix(b"-")
    if not digits.isdigit() or (digits[:1] == b"0" and len(digits) > 1):  # 010 is eight to some, ten to others
        raise ValueError("an integer that is not plainly decimal")
    return int(line)


def _float(line: bytes) -> float:
    if b"_" in line or line != line.strip():
        raise ValueError("a float that is not plainly decimal")
    return float(line)


def _binary(data: bytes) -> int:
    if len(data) * 2.4 > _MOST_DIGITS:
        raise ValueError(f"an integer of over {_MOST_DIGITS:,} digits")
    return int.from_bytes(data, "little", signed=True)


def _int_or_bool(line: bytes) -> int | bool:
    return {b"00": False, b"01": True}.get(line) if line in (b"00", b"01") else _decimal(line)  # type: ignore[return-value]


def _unquoted(line: bytes) -> bytes:
    line = line.strip()
    if len(line) < 2 or line[:1] not in b"'\"" or line[:1] != line[-1:]:
        raise ValueError("a string without quotes")
    import codecs

    return codecs.escape_decode(line[1:-1])[0]


@_op(b"\x80")
def _proto(m: Unpickler) -> None:
    m.protocol = m.take(1)[0]
    if m.protocol > 5:
        raise ValueError(f"pickle protocol {m.protocol} is not known")


@_op(b"\x95")
def _frame(m: Unpickler) -> None:
    m.take(8)


@_op(b"0")
def _pop(m: Unpickler) -> None:
    if m.marks and len(m.stack) == m.marks[-1]:
        m.marks.pop()
    else:
        m.stack.pop()


@_op(b"1")
def _pop_mark(m: Unpickler) -> None:
    m.popped()


@_op(b"2")
def _dup(m: Unpickler) -> None:
    m.stack.append(m.stack[-1])


@_op(b"p")
def _put(m: Unpickler) -> None:
    _put_at(m, _decimal(m.line()))


@_op(b"\x94")
def _memoize(m: Unpickler) -> None:
    _put_at(m, len(m.memo))


def _put_at(m: Unpickler, index: int) -> None:
    if m.repeats:
        raise ValueError("memo entries of another kind")
    m.memo[index] = m.stack[-1]


def _tuple(code: bytes, count: int) -> None:
    def op(m: Unpickler) -> None:
        if len(m.stack) < count or (m.marks and len(m.stack) - count < m.marks[-1]):
            raise ValueError("a tuple of more than there is")
        items = m.stack[-count:]
        m.stack[-count:] = [Tuple(items)]

    _TABLE[code[0]] = op


for _code, _count in ((b"\x85", 1), (b"\x86", 2), (b"\x87", 3)):
    _tuple(_code, _count)


@_op(b"\x93")
def _stack_global(m: Unpickler) -> None:
    name, module = m.pop(), m.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("a global whose name is no string")
    m.stack.append(_global(m, module, name))


def _makes(code: bytes, made: str) -> None:
    def op(m: Unpickler) -> None:
        args = m.pop()
        m.stack.append(Call(made, m.pop(), args))

    _TABLE[code[0]] = op


_makes(b"R", "REDUCE")
_makes(b"\x81", "NEWOBJ")


@_op(b"\x92")
def _newobj_ex(m: Unpickler) -> None:
    kwargs, args = m.pop(), m.pop()
    m.stack.append(Call("NEWOBJ_EX", m.pop(), args, kwargs))


@_op(b"i")
def _inst(m: Unpickler) -> None:
    function = _global(m, str(m.line(), "utf-8"), str(m.line(), "utf-8"))
    m.stack.append(Call("INST", function, Tuple(m.popped())))


@_op(b"o")
def _obj(m: Unpickler) -> None:
    items = m.popped()
    m.stack.append(Call("OBJ", items[0], Tuple(items[1:])))


@_op(b"b")
def _build(m: Unpickler) -> None:
    state = m.pop()
    m.stack[-1].states.append(state)


@_op(b"a")
def _append(m: Unpickler) -> None:
    item = m.pop()
    m.stack[-1].items.append(item)


@_op(b"e")
def _appends(m: Unpickler) -> None:
    items = m.popped()
    m.stack[-1].items.extend(items)


@_op(b"s")
def _setitem(m: Unpickler) -> None:
    value, key = m.pop(), m.pop()
    m.stack[-1].pairs.append((key, value))


@_op(b"u")
def _setitems(m: Unpickler) -> None:
    pairs = _paired(m.popped())
    m.stack[-1].pairs.extend(pairs)


@_op(b"\x90")
def _additems(m: Unpickler) -> None:
    items = m.popped()
    m.stack[-1].items.extend(items)
