"""What each opcode of a pickle does to the machine: it makes nodes, and never imports or calls anything.

`OPCODES` maps the byte of an opcode to its function. Names and meanings are those of CPython's Lib/pickletools.py. The reader's loop runs
the most frequent opcodes itself (BINGET, BINPUT, LONG_BINPUT, BINUNICODE, BININT1, MARK, STOP); they are not in the table. What
no writer makes is refused: see `pickle_strictness`.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from ...tensors.named_code import note_name
from .object_nodes import ByteArray, ByteString, Call, CallOpcode, Dict, Global, List, Persistent, Set, Tuple
from .pickle_machine import Machine
from .pickle_strictness import call_of, check_persistent_id, hashed

_MOST_DIGITS = 4000
_MOST_PROTOCOL = 5

Op = Callable[[Machine], None]
OPCODES: dict[int, Op] = {}
_U2, _I4, _U4, _U8, _F8 = Struct("<H"), Struct("<i"), Struct("<I"), Struct("<Q"), Struct(">d")


def _op(code: bytes) -> Callable[[Op], Op]:
    def register(function: Op) -> Op:
        OPCODES[code[0]] = function
        return function

    return register


def _constant(code: bytes, value: Any) -> None:
    OPCODES[code[0]] = lambda m: m.stack.append(value)


def _pushes(code: bytes, make: Callable[[Machine], Any]) -> None:
    def op(m: Machine) -> None:
        m.stack.append(make(m))

    OPCODES[code[0]] = op


# Decoding of the arguments.


def _decimal(line: bytes) -> int:
    if len(line) > _MOST_DIGITS:
        raise ValueError(f"an integer of over {_MOST_DIGITS:,} digits")
    digits = line.removeprefix(b"-")
    if not digits.isdigit() or (digits[:1] == b"0" and len(digits) > 1):  # some readers take 010 for eight, others for ten
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


def _paired(items: list[Any]) -> list[tuple[Any, Any]]:
    if len(items) % 2:
        raise ValueError("a key without a value")
    return list(zip(hashed(items[::2]), items[1::2], strict=True))


# Constants; empty containers, and containers of everything since the mark.
for _code, _value in ((b"N", None), (b"\x88", True), (b"\x89", False)):
    _constant(_code, _value)
_pushes(b")", lambda m: Tuple([]))
_pushes(b"]", lambda m: List([]))
_pushes(b"}", lambda m: Dict([]))
_pushes(b"\x8f", lambda m: Set([]))
_pushes(b"t", lambda m: Tuple(m.pop_to_mark()))
_pushes(b"l", lambda m: List(m.pop_to_mark()))
_pushes(b"d", lambda m: Dict(_paired(m.pop_to_mark())))
_pushes(b"\x91", lambda m: Set(hashed(m.pop_to_mark()), frozen=True))

# Numbers.
_pushes(b"M", lambda m: m.number(_U2))
_pushes(b"J", lambda m: m.number(_I4))
_pushes(b"\x8a", lambda m: _binary(m.take(m.take(1)[0])))
_pushes(b"\x8b", lambda m: _binary(m.take(m.number(_I4))))
_pushes(b"G", lambda m: _F8.unpack(m.take(8))[0])
_pushes(b"F", lambda m: _float(m.line()))
_pushes(b"L", lambda m: _decimal(m.line().removesuffix(b"L")))
_pushes(b"I", lambda m: _int_or_bool(m.line()))

# Strings and bytes. pickle itself decodes with `surrogatepass`, too; names are escaped where they are shown.
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

# Globals, persistent ids and the memo.
_pushes(b"c", lambda m: _global(m, str(m.line(), "utf-8"), str(m.line(), "utf-8")))
_pushes(b"P", lambda m: _persistent(m, str(m.line(), "utf-8")))
_pushes(b"Q", lambda m: _persistent(m, m.pop()))
_pushes(b"g", lambda m: m.memo[_decimal(m.line())])
_pushes(b"j", lambda m: m.memo[m.number(_U4)])


def _global(m: Machine, module: str, name: str) -> Global:
    note_name(module, name)
    m.globals.append(Global(module, name))
    return m.globals[-1]


def _persistent(m: Machine, pid: Any) -> Persistent:
    check_persistent_id(pid)
    m.persistents.append(Persistent(pid))
    return m.persistents[-1]


@_op(b"\x93")
def _stack_global(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("a global whose name is no string")
    m.stack.append(_global(m, module, name))


@_op(b"\x80")
def _proto(m: Machine) -> None:
    m.protocol = m.take(1)[0]
    if m.protocol > _MOST_PROTOCOL:
        raise ValueError(f"pickle protocol {m.protocol} is not known")


@_op(b"\x95")
def _frame(m: Machine) -> None:
    m.take(8)


@_op(b"0")
def _pop(m: Machine) -> None:
    if m.marks and len(m.stack) == m.marks[-1]:
        m.marks.pop()
    else:
        m.stack.pop()


@_op(b"1")
def _pop_mark(m: Machine) -> None:
    m.pop_to_mark()


@_op(b"2")
def _dup(m: Machine) -> None:
    m.stack.append(m.stack[-1])


@_op(b"p")
def _put(m: Machine) -> None:
    _put_at(m, _decimal(m.line()))


@_op(b"\x94")
def _memoize(m: Machine) -> None:
    _put_at(m, len(m.memo))


def _put_at(m: Machine, index: int) -> None:
    if m.in_order:
        raise ValueError("memo entries of another kind")
    if index < 0:
        raise ValueError("a memo entry below zero")
    m.memo[index] = m.stack[-1]


def _tuple_of(code: bytes, count: int) -> None:
    def op(m: Machine) -> None:
        if len(m.stack) < count or (m.marks and len(m.stack) - count < m.marks[-1]):
            raise ValueError("a tuple of more than there is")
        items = m.stack[-count:]
        m.stack[-count:] = [Tuple(items)]

    OPCODES[code[0]] = op


for _code, _count in ((b"\x85", 1), (b"\x86", 2), (b"\x87", 3)):
    _tuple_of(_code, _count)


# Objects, and what is put into them afterwards.


def _calls(code: bytes, opcode: CallOpcode) -> None:
    def op(m: Machine) -> None:
        args = m.pop()
        m.stack.append(call_of(opcode, m.pop(), args))

    OPCODES[code[0]] = op


_calls(b"R", CallOpcode.REDUCE)
_calls(b"\x81", CallOpcode.NEWOBJ)


@_op(b"\x92")
def _newobj_ex(m: Machine) -> None:
    kwargs, args = m.pop(), m.pop()
    m.stack.append(call_of(CallOpcode.NEWOBJ_EX, m.pop(), args, kwargs))


@_op(b"i")
def _inst(m: Machine) -> None:
    function = _global(m, str(m.line(), "utf-8"), str(m.line(), "utf-8"))
    m.stack.append(Call(CallOpcode.INST, function, Tuple(m.pop_to_mark())))


@_op(b"o")
def _obj(m: Machine) -> None:
    items = m.pop_to_mark()
    m.stack.append(call_of(CallOpcode.OBJ, items[0], Tuple(items[1:])))


_OF_JOBLIB = "joblib.numpy_pickle.NumpyArrayWrapper"  # the bytes of an array follow its BUILD


@_op(b"b")
def _build(m: Machine) -> None:
    state = m.pop()
    node = m.stack[-1]
    if type(node) is not Call:
        raise ValueError("a state for what is no object")
    node.states.append(state)
    if node.path == _OF_JOBLIB:
        from .joblib_arrays import read_behind

        read_behind(m, node)  # type: ignore[arg-type]


@_op(b"a")
def _append(m: Machine) -> None:
    item = m.pop()
    _appendable(m.stack[-1]).append(item)


@_op(b"e")
def _appends(m: Machine) -> None:
    items = m.pop_to_mark()
    _appendable(m.stack[-1]).extend(items)


@_op(b"\x90")
def _additems(m: Machine) -> None:
    items = m.pop_to_mark()
    if type(m.stack[-1]) is not Set or m.stack[-1].frozen:
        raise ValueError("items for what is no set")
    m.stack[-1].items.extend(hashed(items))


def _appendable(target: Any) -> list[Any]:
    if type(target) not in (List, Call):
        raise ValueError("items for what is no list")
    return target.items  # type: ignore[no-any-return]


@_op(b"s")
def _setitem(m: Machine) -> None:
    value, key = m.pop(), m.pop()
    hashed([key])
    m.stack[-1].pairs.append((key, value))


@_op(b"u")
def _setitems(m: Machine) -> None:
    pairs = _paired(m.pop_to_mark())
    m.stack[-1].pairs.extend(pairs)
