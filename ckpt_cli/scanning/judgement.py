"""What speaks against loading a pickle, by its trace and the rules of its container."""

from __future__ import annotations

from collections.abc import Iterator

from ..formats.encodings.object_nodes import BytesInFile, Call
from ..formats.encodings.pickled_arrays import as_bytes
from . import Search
from .safe_names import CALLING, CALLS, LOAD_FROM_BYTES, PLAIN, Rules, python3_name
from .trace_machine import Trace


def judge(search: Search, trace: Trace, rules: Rules, place: str) -> None:
    """Add what is wrong with a pickle: names outside the list, persistent ids that are not known, what else the trace met."""
    search.pickles += 1
    names = list(dict.fromkeys(map(python3_name, trace.globals)))
    in_one_form = _safe_calls(trace, names) if rules.names >= PLAIN.names else set()
    for name in names:
        if not rules.allow(name) and name not in in_one_form:
            search.add(name, rules.refused, place)
    for problem in dict.fromkeys(trace.problems):
        search.add("", problem, place)
    if not all(rules.persistent(each.pid) for each in trace.persistents):
        search.unread("it refers to objects outside of the pickle, and what they are is not known", place)


def _safe_calls(trace: Trace, names: list[str]) -> set[str]:
    """The functions that are safe in one form of call, are called so, and in no other way. What is called may not call them in turn."""
    if CALLING & set(names):
        return set()
    called = [(python3_name(call.function), call) for call in trace.calls]
    right = {path for path, call in called if path in CALLS and CALLS[path](call)}
    return right - {path for path, call in called if path in CALLS and not CALLS[path](call)}


def streams_in(trace: Trace) -> Iterator[bytes | None]:
    """The files of torch's that lie in the pickle as bytes, to be loaded with it; None for one that is computed."""
    for call in trace.calls:
        if type(call) is Call and python3_name(call.function) == LOAD_FROM_BYTES:
            data = call.arguments()[0] if call.arguments() else None
            raw = data.storage.read() if isinstance(data, BytesInFile) else as_bytes(data)
            yield raw if raw is not None and _is_latin1(data) else None


def _is_latin1(data: object) -> bool:
    """Whether bytes that are encoded while the pickle is loaded are those that `as_bytes` has: another encoding makes others."""
    if type(data) is not Call or data.path != "_codecs.encode":
        return True
    return [getattr(arg, "text", arg) for arg in data.arguments()[1:]] in (["latin1"], ["latin-1"])
