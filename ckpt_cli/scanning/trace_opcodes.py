"""What each opcode of a pickle does to a trace. Spellings that the strict reader refuses, and CPython may not, push an unknown value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..formats.encodings.object_nodes import Call, CallOpcode, Dict, Global, List, Node, Persistent, Set, Tuple
from ..formats.encodings.pickle_opcodes import OPCODES
from .trace_machine import UNREAD, WRAPPER, Trace

Op = Callable[[Trace], None]
TABLE: dict[int, Op] = dict(OPCODES)


def _op(codes: bytes) -> Callable[[Op], Op]:
    def register(function: Op) -> Op:
        for code in codes:
            TABLE[code] = function
        return function

    return register


def _lenient(code: int) -> None:
    """Push a value that is not known, where the strict reader refuses the spelling and CPython may not."""
    strict = OPCODES[code]

    def op(m: Trace) -> None:
        try:
            strict(m)
        except (ValueError, TypeError):
            m.stack.append(UNREAD)

    TABLE[code] = op


for _code in b"FILSVU\x8a\x8b":
    _lenient(_code)


@_op(b"K")
def _binint1(m: Trace) -> None:
    m.stack.append(m.take(1)[0])


@_op(b"X")
def _binunicode(m: Trace) -> None:
    _text(m, int.from_bytes(m.take(4), "little"))


@_op(b"\x8d")
def _binunicode8(m: Trace) -> None:
    _text(m, int.from_bytes(m.take(8), "little"))


def _text(m: Trace, count: int) -> None:
    m.stack.append(m.bulk(count, lambda data: str(data, "utf-8", "surrogatepass")))


@_op(b"(")
def _mark(m: Trace) -> None:
    m.marks.append(len(m.stack))


@_op(b"r")
def _long_binput(m: Trace) -> None:
    m.memo[int.from_bytes(m.take(4), "little")] = m.top()


@_op(b"q")
def _binput(m: Trace) -> None:
    m.memo[m.take(1)[0]] = m.top()


@_op(b"h")
def _binget(m: Trace) -> None:
    m.stack.append(m.memo[m.take(1)[0]])


@_op(b"p")
def _put(m: Trace) -> None:
    m.memo[int(m.line())] = m.top()


@_op(b"g")
def _get(m: Trace) -> None:
    m.stack.append(m.memo[int(m.line())])


@_op(b"\x94")
def _memoize(m: Trace) -> None:
    m.memo[len(m.memo)] = m.top()


@_op(b"2")
def _dup(m: Trace) -> None:
    m.stack.append(m.top())


@_op(b"\x93")
def _stack_global(m: Trace) -> None:
    """A name that is put together while the pickle is loaded can be any name."""
    name, module = m.pop(), m.pop()
    known = [text if type(text) is str else "?" for text in (module, name)]
    if "?" in known:
        m.problems.append(f"the name {'.'.join(known)} is computed while the file is loaded")
    made = Global(*known)
    if "?" not in known:
        m.globals.append(made)
    m.stack.append(made)


@_op(b"\x82\x83\x84")
def _extension(m: Trace) -> None:
    op = m.file.read(m.end - 1, 1)[0]
    code = int.from_bytes(m.take({0x82: 1, 0x83: 2, 0x84: 4}[op]), "little")
    m.problems.append(f"extension {code} stands for a name that the program that loads the file has registered")
    m.stack.append(Global("copyreg", f"extension {code}"))


@_op(b"\x97")
def _next_buffer(m: Trace) -> None:
    m.problems.append("a buffer is asked for that is not in the file")
    m.stack.append(UNREAD)


@_op(b"\x98")
def _readonly_buffer(m: Trace) -> None:
    m.top()


@_op(b"Q")
def _binpersid(m: Trace) -> None:
    _persistent(m, m.pop())


@_op(b"P")
def _persid(m: Trace) -> None:
    _persistent(m, str(m.line(), "utf-8", "replace"))


def _persistent(m: Trace, pid: Any) -> None:
    m.persistents.append(Persistent(pid))
    m.stack.append(m.persistents[-1])


@_op(b"R")
def _reduce(m: Trace) -> None:
    args = m.pop()
    m.call(CallOpcode.REDUCE, m.pop(), args)


@_op(b"\x81")
def _newobj(m: Trace) -> None:
    args = m.pop()
    m.call(CallOpcode.NEWOBJ, m.pop(), args)


@_op(b"\x92")
def _newobj_ex(m: Trace) -> None:
    kwargs, args = m.pop(), m.pop()
    m.call(CallOpcode.NEWOBJ_EX, m.pop(), args, kwargs)


@_op(b"o")
def _obj(m: Trace) -> None:
    items = m.pop_to_mark()
    m.call(CallOpcode.OBJ, items[0], Tuple(items[1:]))


@_op(b"i")
def _inst(m: Trace) -> None:
    m.globals.append(Global(str(m.line(), "utf-8"), str(m.line(), "utf-8")))
    m.call(CallOpcode.INST, m.globals[-1], Tuple(m.pop_to_mark()))


@_op(b"b")
def _build(m: Trace) -> None:
    state, target = m.pop(), m.top()
    if type(target) is Global:
        m.problems.append(f"it sets attributes of {target.path} itself")
    elif type(target) is Call:
        target.states.append(state)
        if target.path == WRAPPER and m.wraps_arrays:
            _pass_array(m, target)


def _pass_array(m: Trace, wrapper: Call) -> None:
    """Pass over the elements of joblib's array, as `NumpyArrayWrapper.read_array` does; a pickle stands in the place of objects."""
    from ..formats.encodings.pickled_arrays import dtype_of

    state = wrapper.state()
    shape = getattr(state and state.get("shape"), "items", [None])
    dtype, _ = dtype_of(state and state.get("dtype"))
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("an array of joblib's without a shape")
    if dtype.kind == "O" or dtype.name == "object":
        m.suspend()
        return
    if state and state.get("numpy_array_alignment_bytes") is not None:
        m.reader.skip(m.take(1)[0])
    count = 1
    for n in shape:
        count *= n
    m.reader.skip(count * dtype.nbytes)


# Containers: what they are is needed for calls alone.


@_op(b"a")
def _append(m: Trace) -> None:
    item = m.pop()
    _extend(m.top(), [item])


@_op(b"e\x90")
def _appends(m: Trace) -> None:
    items = m.pop_to_mark()
    _extend(m.top(), items)


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) in (List, Set, Call):
        target.items.extend(items)
    elif not isinstance(target, Node) or type(target) in (Dict, Tuple):
        raise ValueError(f"a {type(target).__name__.lower()} takes no items")


@_op(b"s")
def _setitem(m: Trace) -> None:
    value, key = m.pop(), m.pop()
    _update(m.top(), [key, value])


@_op(b"u")
def _setitems(m: Trace) -> None:
    items = m.pop_to_mark()
    _update(m.top(), items)


def _update(target: Any, items: list[Any]) -> None:
    if type(target) in (Dict, Call):
        target.pairs.extend(zip(items[::2], items[1::2], strict=False))
    elif not isinstance(target, Node) or type(target) in (Set, Tuple):
        raise ValueError(f"a {type(target).__name__.lower()} takes no pairs")


@_op(b"d")
def _dict(m: Trace) -> None:
    items = m.pop_to_mark()
    m.stack.append(Dict(list(zip(items[::2], items[1::2], strict=False))))
