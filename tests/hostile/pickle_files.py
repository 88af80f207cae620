"""Hostile and odd pickles: what is carried by both of torch's formats. Each goes into a zip and into a legacy file."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from struct import pack
from typing import Any, NamedTuple

from pickles import HOOKS, Raw, built, call, enc, name, ordered, pickled, storage, tensor


class Trick(NamedTuple):
    """A pickle, and what comes of it: as in `Case`."""

    name: str
    gives: str
    says: str
    pickle: bytes


GOOD = tensor()
LISTED = "w\tfloat32\t2x2\t4\t16\t\n"
TOUCH = "touch canary; echo caught at a pickle >&2"


def ok(name: str, root: Any, says: str = LISTED) -> Trick:
    return Trick(name, "ok", says, pickled(root))


def error(name: str, root: Any, says: str) -> Trick:
    return Trick(name, "error", says, pickled(root))


def beside(thing: Any) -> dict[str, Any]:
    return {"w": GOOD, "evil": thing}


def calls() -> Iterator[Trick]:
    """Globals are pairs of strings: nothing is looked up, imported or called. What is foreign is carried along, and tensors are listed."""
    system = name("os", "system")
    dangers: dict[str, tuple[Raw, tuple[Any, ...]]] = {
        "os.system": (system, (TOUCH,)),
        "posix.system": (name("posix", "system"), (TOUCH,)),
        "subprocess": (name("subprocess", "Popen"), ((TOUCH,), True)),
        "eval": (name("builtins", "eval"), ("__import__('evil')",)),
        "exec of Python 2": (name("__builtin__", "exec"), ("open('canary', 'w')",)),
        "runpy": (name("runpy", "run_path"), ("evil.py",)),
        "a module of the folder": (name("evil", "anything"), ()),
        "json of the folder": (name("json", "loads"), ("{}",)),
        "torch.load": (name("torch", "load"), ("a.pt",)),
        "torch.hub": (name("torch.hub", "load"), ("a/b", "c")),
        "a dotted name": (name("torch", "serialization.os.system"), (TOUCH,)),
        "pip": (name("pip", "main"), (["install", "x"],)),
        "a socket": (name("socket", "create_connection"), (("127.0.0.1", 9),)),
        "getattr": (name("builtins", "getattr"), (system, "__call__")),
        "pickle.loads": (name("pickle", "loads"), (b"cos\nsystem\n(S'touch canary'\ntR.",)),
        "breakpoint": (name("builtins", "breakpoint"), ()),
        "os._exit": (name("os", "_exit"), (0,)),
        "a file opened to write": (name("builtins", "open"), ("canary", "w")),
        "ctypes": (name("ctypes", "CDLL"), ("./evil.so",)),
        "marshal": (name("marshal", "loads"), (b"c",)),
        "a name with an escape": (name("\x1b[2J", "\x9b31m"), ()),
        "an empty name": (name("", ""), ()),
    }
    for what, (function, args) in dangers.items():
        yield ok(f"REDUCE of {what}", beside(call(function, *args)))
        yield Trick(f"{what} as the root", "ok", "", pickled(call(function, *args)))
    yield ok("a call as a key", {"w": GOOD, call(system, TOUCH): 1})
    yield ok("INST", beside(Raw(b"(" + enc(TOUCH) + b"ios\nsystem\n")))
    yield ok("OBJ", beside(Raw(b"(" + system + enc(TOUCH) + b"o")))
    yield ok("NEWOBJ", beside(Raw(system + enc((TOUCH,)) + b"\x81")))
    yield ok("NEWOBJ_EX", beside(Raw(system + enc((TOUCH,)) + enc({"a": 1}) + b"\x92")))
    yield ok("BUILD", beside(built(system, {"__setstate__": TOUCH})))
    yield ok("BUILD with slots", beside(built(system, ({"a": 1}, {"b": 2}))))
    yield ok("BUILD upon BUILD", beside(Raw(built(system, {"a": 1}) + enc({"b": 2}) + b"b")))
    yield ok("BUILD of what is no dict", beside(built(system, TOUCH)))
    yield ok("a call of a call", beside(call(call(name("builtins", "getattr"), name("os", "system"), "x"), TOUCH)))
    for what, function in {
        "a number": 1,
        "None": None,
        "text": "os.system",
        "a list": [system],
        "a tuple": (system,),
        "a dict": {},
    }.items():
        yield error(f"a call of {what}", beside(Raw(enc(function) + enc((TOUCH,)) + b"R")), "no class or function")
        yield error(f"NEWOBJ of {what}", beside(Raw(enc(function) + enc((TOUCH,)) + b"\x81")), "no class or function")
        yield error(f"OBJ of {what}", beside(Raw(b"(" + enc(function) + enc(TOUCH) + b"o")), "no class or function")
        yield error(f"BUILD upon {what}", beside(Raw(enc(function) + enc({"a": 1}) + b"b")), "a state for what is no object")
    yield error("BUILD of a class itself", beside(Raw(system + enc({"a": 1}) + b"b")), "a state for what is no object")
    for what, args in {"None": None, "a list": [TOUCH], "text": TOUCH, "a dict": {TOUCH: 1}, "a number": 5}.items():
        yield error(f"arguments that are {what}", beside(Raw(system + enc(args) + b"R")), "arguments are no tuple")
        yield error(f"arguments of NEWOBJ that are {what}", beside(Raw(system + enc(args) + b"\x81")), "arguments are no tuple")
    yield error("keywords that are a tuple", beside(Raw(system + enc((TOUCH,)) + enc(()) + b"\x92")), "arguments are no tuple")
    yield ok("STACK_GLOBAL", beside(Raw(enc("os") + enc("system") + b"\x93" + enc((TOUCH,)) + b"R")))
    yield ok(
        "the chain of a gadget", beside(Raw(call(name("operator", "methodcaller"), "system", TOUCH) + enc((name("os", "path"),)) + b"R"))
    )
    yield ok("a call whose result is popped", {"w": Raw(call(system, TOUCH) + b"0" + GOOD)})
    yield ok(
        "a subclass of a tensor that nobody knows",
        beside(call(name("torch._tensor", "_rebuild_from_type_v2"), name("evil", "f"), name("evil", "T"), (1,), {})),
    )
    yield ok("an argparse.Namespace", beside(built(name("argparse", "Namespace"), {"lr": 0.1, "\x1b[2J": "\x1b[2J"})))
    yield ok(
        "a numpy scalar", beside(call(name("numpy.core.multiarray", "scalar"), call(name("numpy", "dtype"), "f8", False, True), bytes(8)))
    )
    yield ok(
        "a numpy scalar of a wrong size",
        beside(call(name("numpy.core.multiarray", "scalar"), call(name("numpy", "dtype"), "f8", False, True), b"\0")),
    )
    yield ok("a numpy scalar of no dtype", beside(call(name("numpy.core.multiarray", "scalar"), None, None)))


def keys() -> Iterator[Trick]:
    yield ok("1 beside '1'", {1: GOOD, "1": GOOD}, "[1]\tfloat32\t2x2\t4\t16\t\n1\tfloat32")
    yield ok("1 beside True beside '1'", {1: GOOD, Raw(b"\x88"): GOOD, "1": GOOD}, "\n1\tfloat32")
    yield ok("dots beside nests", {"a.b": GOOD, "a": {"b": GOOD}}, "a\\.b\tfloat32\t2x2\t4\t16\t\na.b\tfloat32")
    yield ok("case twins", {"A": GOOD, "a": GOOD}, "A\tfloat32\t2x2\t4\t16\t\na\tfloat32")
    yield ok("twins but for normalisation", {"\u00e9": GOOD, "e\u0301": GOOD}, "\u00e9\tfloat32\t2x2\t4\t16\t\ne\u0301\tfloat32")
    for text in ("", " ", "a b", "[0]", "*", "--help", "..", "/etc/passwd", "\u540d", "x" * 70_000, "[red]x[/red]", "%s"):
        yield ok(f"the name {text[:20]!r}", {text: GOOD}, f"{text}\tfloat32")
    for text in ("\x1b[2J", "a\nb", "a\rb", "\0", "\x9b31m", "\u202eabc", "\u2028", "\ud800", "\udcff", "\u2066"):
        yield ok(f"the name {text[:20]!r}", {text: GOOD}, "\\")
        yield ok(f"the class {text[:20]!r}", beside(Raw(enc(text) + enc(text) + b"\x93)R")))
        yield error(f"a missing storage called {text[:20]!r}", {"w": tensor(storage(key=text))}, "storage '")
    yield ok("a key of bytes", {b"\xff\x1b": GOOD}, "\tfloat32\t2x2")
    yield ok("a tuple as a key", {(0, "a"): GOOD}, "(0, a)\tfloat32")
    yield ok("None, NaN and a float as keys", {None: GOOD, float("nan"): GOOD, 1.5: GOOD}, "nan\tfloat32")
    yield ok("a long as a key", {-(10**900): GOOD}, "-1000")
    yield ok("a tensor as a key", {"w": GOOD, GOOD: 1})
    without = {"a list": enc([1]), "a dict": enc({}), "a set": b"\x8f", "a bytearray": b"\x96" + bytes(8), "a list in a tuple": enc(([1],))}
    for what, key in without.items():
        yield error(f"{what} as a key", {"w": GOOD, Raw(key): 1}, "a key that is or holds")
        yield error(f"{what} as the key of SETITEM", beside(Raw(b"}" + key + b"Ns")), "a key that is or holds")
        yield error(f"{what} as the key of DICT", beside(Raw(b"(" + key + b"Nd")), "a key that is or holds")
        yield error(f"{what} as the key of an object", beside(Raw(HOOKS + key + b"Ns")), "a key that is or holds")
        yield error(f"a set with {what}", beside(Raw(b"\x8f(" + key + b"\x90")), "a key that is or holds")
        yield error(f"a frozenset with {what}", beside(Raw(b"(" + key + b"\x91")), "a key that is or holds")
    yield ok("a frozenset as a key", {"w": GOOD, Raw(b"(K\x01\x91"): 1})
    yield error("a key twice", {"w": GOOD, Raw(enc("w")): tensor()}, "two tensors go by the same path")
    yield error("a key twice, deep", {"a": {"w": GOOD, Raw(enc("w")): tensor()}}, "two tensors go by the same path")
    yield error("a key twice in an OrderedDict", ordered({"w": GOOD, Raw(enc("w")): tensor()}), "two tensors go by the same path")


def shapes() -> Iterator[Trick]:
    """Containers of every kind, empty, shared and in knots."""
    yield ok("no tensors", {}, "")
    yield ok("None", None, "")
    yield ok("a number", 5, "")
    yield ok("a tensor as the root", GOOD, "\tfloat32\t2x2")
    yield ok("a list as the root", [GOOD, (GOOD, 1)], "1.0\tfloat32")
    yield ok("an OrderedDict", ordered({"w": GOOD}))
    yield ok("a parameter", {"w": call(name("torch._utils", "_rebuild_parameter"), GOOD, True, HOOKS)})
    yield ok("a tensor in an object's state", {"w": GOOD, "o": built(name("my", "C"), {"t": GOOD})}, "o.t\tfloat32")
    yield ok("a dict that holds itself", Raw(b"}q\x00(" + enc("w") + GOOD + enc("me") + b"h\x00u"))
    yield ok("a list that holds itself twice", Raw(b"}(" + enc("w") + GOOD + enc("l") + b"]q\x00(h\x00h\x00eu"))
    yield ok("a tuple in a list in a tuple", Raw(b"}(" + enc("w") + GOOD + enc("t") + b"]q\x00h\x00\x85au"))
    yield ok("an object whose state is itself", Raw(b"}(" + enc("w") + GOOD + enc("o") + name("a", "b") + b")\x81q\x01h\x01bu"))
    yield ok("a tied tensor", Raw(b"}(" + enc("w") + GOOD + b"q\x05" + enc("v") + b"h\x05u"), "v\tfloat32\t2x2\t4\t16\tw")
    yield ok(
        "two views of one storage",
        {"w": tensor(shape=(2,), strides=(1,)), "v": tensor(offset=2, shape=(2,), strides=(1,))},
        "v\tfloat32\t2\t2\t8\t\n",
    )
    yield ok(
        "overlapping views",
        {"w": tensor(shape=(3,), strides=(1,)), "v": tensor(offset=1, shape=(3,), strides=(1,))},
        "v\tfloat32\t3\t3\t12\t\n",
    )
    deep = GOOD
    for _ in range(300):
        deep = Raw(enc({"a": deep}))
    yield ok("a nest of 300 with a tensor", deep, "a.a.a")
    for protocol in range(6):
        made = pickle.dumps({"text": "x", "n": [1, 2.5, None, True, b"a", {1: 2}, (), 10**30, {3}]}, protocol)
        yield Trick(f"protocol {protocol}", "ok", "", made)


def laughs() -> Iterator[Trick]:
    """Small on disk, endless to walk: an answer or an error, soon."""
    twice = b"".join(b"q\x00h\x00\x86" for _ in range(60))
    sixty = b"\x80\x02K\x01" + twice + b"."
    yield Trick("a tuple in a tuple, 60 deep, each twice", "error", "too often to be walked", sixty)
    yield Trick(
        "a list in a list, 60 deep, each twice",
        "error",
        "too often",
        b"\x80\x02]" + b"".join(b"q\x000](h\x00h\x00e" for _ in range(60)) + b".",
    )
    yield Trick(
        "billion laughs in dicts",
        "error",
        "too often",
        b"\x80\x02K\x01" + b"".join(b"q\x000}(K\x01h\x00K\x02h\x00u" for _ in range(60)) + b".",
    )
    yield Trick("laughs as a key", "error", "nested too deep", b"\x80\x02}K\x01" + twice + b"K\x01s.")
    yield Trick("laughs as the arguments of a call", "ok", "", b"\x80\x02" + name("a", "b") + b"K\x01" + twice + b"R.")
    yield Trick("laughs as a state", "error", "too often", b"\x80\x02" + name("a", "b") + b")\x81K\x01" + twice + b"q\x000}(K\x01h\x00ub.")
    yield Trick("laughs in a storage's location", "ok", LISTED, pickled({"w": tensor(storage(location=Raw(b"K\x01" + twice)))}))
    yield Trick("laughs in a persistent id", "error", "persistent id", b"\x80\x02K\x01" + twice + b"Q.")
    yield Trick("laughs in a persistent id of torch's", "ok", "", b"\x80\x02" + enc(("module", Raw(b"K\x01" + twice))) + b"Q.")
    yield Trick(
        "laughs in a sparse tensor's layout",
        "error",
        "",
        pickled(call(name("torch._utils", "_rebuild_sparse_tensor"), Raw(b"K\x01" + twice), 1)),
    )
    yield Trick("laughs in hooks", "ok", LISTED, pickled({"w": tensor(more=(Raw(b"K\x01" + twice),))}))
    for depth in (900, 5_000, 100_000):
        yield Trick(
            f"a nest of {depth:,} lists",
            "ok" if depth < 1000 else "error",
            "" if depth < 1000 else "within one another",
            b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".",
        )
        yield Trick(
            f"a nest of {depth:,} tuples",
            "ok" if depth < 1000 else "error",
            "" if depth < 1000 else "within one another",
            b"\x80\x02N" + b"\x85" * depth + b".",
        )
        yield Trick(f"a key of {depth:,} tuples", "error", "nested too deep", b"\x80\x02}N" + b"\x85" * depth + b"Ns.")
        calls = ("ok", "") if depth < 1000 else ("error", "within one another")
        yield Trick(f"{depth:,} calls in one another", *calls, b"\x80\x02" + name("a", "b") * depth + b"N" + b"\x85R" * depth + b".")
        yield Trick(
            f"{depth:,} parameters in one another",
            "error",
            "",
            b"\x80\x02" + name("torch._utils", "_rebuild_parameter") * depth + b"N" + b"\x85R" * depth + b".",
        )
        yield Trick(f"{depth:,} states in one another", "ok", "", b"\x80\x02" + b"ca\nb\n)R" * depth + b"b" * (depth - 1) + b".")
    yield Trick("names that are long together", "error", "", b"\x80\x02}(" + enc("n" * 1_000_000) + b"](" + b"N" * 1000 + b"eu.")
    yield Trick("half a million items", "ok", "", b"\x80\x02](" + b"K\x07" * 500_000 + b"e.")
    yield Trick("half a million marks", "error", "does not end in one object", b"\x80\x02" + b"(" * 500_000 + b"N.")


def memos() -> Iterator[Trick]:
    yield Trick("the memo at its highest number", "ok", "", b"\x80\x02Nr\xff\xff\xff\xff.")
    yield Trick("the memo at a number of 3,000 digits", "ok", "", b"\x80\x02Np" + b"9" * 3000 + b"\n.")
    yield Trick("the memo at a number of 5,000 digits", "error", "digits", b"\x80\x02Np" + b"9" * 5000 + b"\n.")
    yield Trick(
        "100,000 memo entries", "ok", "", b"\x80\x02" + b"".join(b"]r" + pack("<I", i * 40_000) + b"0" for i in range(100_000)) + b"N."
    )
    yield Trick(
        "a memo that is overwritten", "ok", LISTED, pickled(Raw(b"}(" + enc("w") + b"Nq\x000" + GOOD + b"q\x00" + enc("n") + b"Nq\x00u"))
    )
    for index in (-1, -(2**31), -(10**900)):
        yield Trick(f"the memo at {str(index)[:20]}", "error", "below zero", b"\x80\x02Np" + str(index).encode() + b"\n.")
    for what, op in {"BINGET": b"h\x05", "LONG_BINGET": b"j\x05\0\0\0", "GET": b"g5\n"}.items():
        yield Trick(f"{what} of nothing", "error", "memo", b"\x80\x02" + op + b".")
    yield Trick("PUT of an empty stack", "error", "broken pickle", b"\x80\x02q\x00.")
    yield Trick("MEMOIZE of an empty stack", "error", "broken pickle", b"\x80\x04\x94.")


def opcodes() -> Iterator[Trick]:
    """What the machine cannot do, it says."""
    for what, raw in {
        "nothing": b"",
        "STOP alone": b".",
        "no STOP": b"N",
        "two objects": b"NN.",
        "an open mark": b"(N.",
        "a mark alone": b"(.",
        "POP of nothing": b"0.",
        "POP_MARK without one": b"1.",
        "DUP of nothing": b"2.",
        "TUPLE without a mark": b"t.",
        "TUPLE2 of one": b"N\x86.",
        "TUPLE1 below a mark": b"N(\x85.",
        "REDUCE of one": b"NR.",
        "REDUCE of nothing": b"R.",
        "BUILD of one": b"Nb.",
        "BUILD of a number": b"NNb.",
        "BUILD of a list": b"]Nb.",
        "OBJ of nothing": b"(o.",
        "OBJ without a mark": b"No.",
        "INST without a mark": b"ia\nb\n.",
        "NEWOBJ of one": b"N\x81.",
        "NEWOBJ_EX of two": b"NN\x92.",
        "APPEND to nothing": b"Na.",
        "APPEND to a dict": b"}Na.",
        "APPENDS to a number": b"K\x01(Ne.",
        "SETITEM of a list": b"]NNs.",
        "SETITEM of two": b"NNs.",
        "SETITEMS of an odd number": b"}(Nu.",
        "SETITEMS to nothing": b"(NNu.",
        "DICT of an odd number": b"(Nd.",
        "ADDITEMS to None": b"N(N\x90.",
        "STACK_GLOBAL of numbers": b"K\x01K\x02\x93.",
        "STACK_GLOBAL of one": b"X\1\0\0\0a\x93.",
        "BINPERSID of nothing": b"Q.",
        "EXT1": b"\x82\x01.",
        "EXT2": b"\x83\x01\x00.",
        "EXT4": b"\x84\x01\0\0\0.",
        "NEXT_BUFFER": b"\x97.",
        "READONLY_BUFFER": b"N\x98.",
        "0xff": b"\xff.",
        "protocol 6": b"\x80\x06N.",
        "protocol 255": b"\x80\xffN.",
        "a length beyond the end": b"X\xff\xff\xff\xffab.",
        "a negative length": b"T\xff\xff\xff\xffab.",
        "an eight-byte length": b"\x8e" + b"\xff" * 8 + b".",
        "an eight-byte length of text": b"\x8d" + b"\xff" * 8 + b".",
        "a bytearray beyond the end": b"\x96" + b"\xff" * 7 + b"\x7f.",
        "a short text beyond the end": b"\x8c\xffab.",
        "a frame cut": b"\x95\xff\xff.",
        "a decimal without end": b"I" + b"9" * 5000 + b"\n.",
        "a binary integer without end": b"\x8b" + pack("<i", 5000) + b"\x01" * 5000 + b".",
        "a binary integer of negative length": b"\x8b\xff\xff\xff\xff.",
        "a decimal that is none": b"Ix\n.",
        "a long that is none": b"LxL\n.",
        "a float that is none": b"Fx\n.",
        "an integer without a line's end": b"I1.",
        "a string without quotes": b"Sx\n.",
        "a string with one quote": b"S'x\n.",
        "a string of a bad escape": b"S'\\x'\n.",
        "text that is no UTF-8": b"X\x01\0\0\0\xff.",
        "text of a bad escape": b"V\\u12\n.",
        "a text memo": b"gx\n.",
        "a global without an end": b"cos\nsystem",
        "a global that is no UTF-8": b"c\xff\n\xff\n.",
        "a PERSID that is no UTF-8": b"P\xff\n.",
        "a decimal with underscores": b"I1_0\n.",
        "a hexadecimal": b"I0x1F\n.",
    }.items():
        yield Trick(what, "error", "", b"\x80\x02" + raw)
    yield Trick("a frame of a false length", "ok", "", b"\x80\x04\x95" + b"\xff" * 8 + b"N.")
    for what, pid in {
        "text": "storage",
        "a number": 5,
        "a call": call(name("os", "system"), TOUCH),
        "a list": ["storage"],
        "an empty tuple": (),
        "another word": ("weights", name("torch", "FloatStorage"), "0", "cpu", 4),
        "a class": (name("torch", "FloatStorage"), "0", "cpu", 4),
    }.items():
        yield Trick(f"BINPERSID of {what}", "error", "persistent id", b"\x80\x02" + enc(pid) + b"Q.")
    yield Trick("PERSID", "error", "persistent id", b"\x80\x02Pos.system\n.")
    yield Trick("PROTO twice", "ok", "", b"\x80\x02\x80\x04N.")


def storages() -> Iterator[Trick]:
    """A persistent id is ('storage', class, key, location, numel), and what it says is what is there."""
    unknown = "is described in an unknown way"
    for what, pid in {
        "a tuple of nothing": (),
        "a storage alone": ("storage",),
        "four parts": ("storage", name("torch", "FloatStorage"), "0", "cpu"),
        "text as a class": ("storage", "FloatStorage", "0", "cpu", 4),
        "a call as a class": ("storage", call(name("os", "system"), TOUCH), "0", "cpu", 4),
        "another tag": ("module", name("torch", "FloatStorage"), "0", "cpu", 4),
        "a tag of a number": (1, name("torch", "FloatStorage"), "0", "cpu", 4),
    }.items():
        yield error(f"a persistent id of {what}", {"w": tensor(Raw(enc(pid) + b"Q"))}, unknown)
    for what, pid in {"None": None, "text": "storage", "a number": 7, "a list": ["storage"]}.items():
        yield error(f"a persistent id that is {what}", {"w": tensor(Raw(enc(pid) + b"Q"))}, unknown)
    for what, count in {"True": True, "None": None, "text": "4", "a float": 4.0, "minus four": -4, "a tuple": (4,)}.items():
        yield error(f"a count that is {what}", {"w": tensor(storage(count=count))}, unknown)
    for count in (0, 3, 5, 2**31, 2**62, 2**64, 10**900):
        yield error(f"a count of {str(count)[:24]}", {"w": tensor(storage(count=count))}, "has 16 bytes, the pickle says")
    yield error("two counts of one storage", {"w": tensor(), "v": tensor(storage(count=2), shape=(2,), strides=(1,))}, "the pickle says")
    yield error("two sizes of one storage", {"w": tensor(), "v": tensor(storage("DoubleStorage", count=4))}, "")
    yield ok("two dtypes of one storage", {"w": tensor(), "v": tensor(storage("IntStorage", count=4))}, "v\tint32\t2x2")
    for kind in ("FoooStorage", "Float Storage", "", "Tensor", "os.system", "floatstorage"):
        yield error(f"the class {kind!r}", {"w": tensor(storage(kind))}, "are not known")
    for key in (
        "1",
        "",
        ".",
        "..",
        "../0",
        "/0",
        "00",
        "0 ",
        1,
        None,
        (0,),
        10**900,
        "0/../0",
        "0\0",
        "data.pkl",
        "../data.pkl",
        "../version",
    ):
        yield error(f"the key {key!r:.20}", {"w": tensor(storage(key=key))}, "storage '")
    yield ok("a key of a number", {"w": tensor(storage(key=0))})
    for location in ("cuda:0", "meta", "", None, 5, ("x",), "\x1b[2J", call(name("os", "system"), TOUCH)):
        yield ok(f"the location {str(location)[:20]!r}", {"w": tensor(storage(location=location))})
    yield error("a view of a storage that lies outside", {"w": tensor(storage(more=(("v", 9, 4),)))}, "lies outside of its storage")
    yield error("a view of a storage at a negative place", {"w": tensor(storage(more=(("v", -1, 4),)))}, "lies outside of its storage")
    for what, view in {"text": "v", "two parts": ("v", 1), "True": ("v", True, 2), "a float": ("v", 0.0, 2), "a list": ["v", 0, 4]}.items():
        yield error(f"a view of a storage that is {what}", {"w": tensor(storage(more=(view,)))}, unknown)
    yield ok("a view of a storage", {"w": tensor(storage(more=(("v", 2, 2),)), shape=(2,), strides=(1,))}, "w\tfloat32\t2\t2\t8")
    yield ok("a storage alone", {"w": GOOD, "s": storage()})
    yield error("a storage of seven parts", {"w": tensor(storage(more=(None, None)))}, unknown)


def geometries() -> Iterator[Trick]:
    """offset + Σ (n−1)·stride lies within the storage; nothing is computed that could wrap."""
    outside = "lies outside of its storage"
    disagree = "do not agree"
    for what, offset, shape, strides, says in [
        ("one too many", 0, (5,), (1,), outside),
        ("an offset too large", 1, (4,), (1,), outside),
        ("an offset far away", 2**62, (1,), (1,), outside),
        ("an offset of thirty digits", 10**30, (1,), (1,), outside),
        ("a negative offset", -1, (2,), (1,), outside),
        ("a negative offset that wraps", -(2**63), (4,), (1,), outside),
        ("a stride too large", 0, (2,), (4,), outside),
        ("a stride that wraps to zero", 0, (2,), (2**62,), outside),
        ("sizes that wrap", 0, (2**32, 2**32), (1, 1), outside),
        ("a huge size", 0, (2**62,), (1,), outside),
        ("sizes and strides that wrap", 0, (2**31 + 1, 2), (2**31, 1), outside),
        ("a stride of -1 off the front", 0, (2,), (-1,), "a negative stride"),
        ("a stride of -1 off the back", 4, (2,), (-1,), "a negative stride"),
        ("a stride of -1 within", 3, (4,), (-1,), "a negative stride"),
        ("a stride of -1 of an axis of one", 0, (1,), (-1,), "a negative stride"),
        ("a negative size", 0, (-1,), (1,), disagree),
        ("two negative sizes", 0, (-2, -2), (2, 1), disagree),
        ("too few strides", 0, (2, 2), (1,), disagree),
        ("too many strides", 0, (2,), (2, 1), disagree),
        ("no strides", 0, (4,), (), disagree),
        ("strides of a scalar", 0, (), (1,), disagree),
        ("65 axes", 0, (1,) * 65, (1,) * 65, "64 dimensions"),
        ("a million axes", 0, Raw(b"(" + b"K\x01" * 1_000_000 + b"t"), (1,), "64 dimensions"),
    ]:
        yield error(what, {"w": tensor(offset=offset, shape=shape, strides=strides)}, says)
    for what, value in {
        "True": True,
        "a float": 2.0,
        "None": None,
        "text": "2",
        "a tuple": (2,),
        "two to the 64": 2**64,
        "900 digits": 10**900,
        "a call": call(name("os", "system"), TOUCH),
        "a tensor": GOOD,
    }.items():
        yield error(f"{what} as a size", {"w": tensor(shape=(value,), strides=(1,))}, "no tuple of integers")
        yield error(f"{what} as a stride", {"w": tensor(shape=(2,), strides=(value,))}, "no tuple of integers")
    for what, value in {"True": True, "a float": 0.0, "None": None, "text": "0", "a tuple": (0,)}.items():
        yield error(f"{what} as an offset", {"w": tensor(offset=value)}, "is described in an unknown way")
    for what, value in {"a number": 4, "None": None, "text": "22", "a dict": {}, "a set": Raw(b"\x8f")}.items():
        yield error(f"{what} as a shape", {"w": tensor(shape=value)}, "no tuple of integers")
    for number in range(4):
        args = (storage(), 0, (2, 2), (2, 1))[:number]
        yield error(
            f"a tensor of {number} arguments",
            {"w": call(name("torch._utils", "_rebuild_tensor_v2"), *args)},
            "is described in an unknown way",
        )
    yield error(
        "a tensor whose arguments are a list",
        {"w": Raw(name("torch._utils", "_rebuild_tensor_v2") + enc([storage(), 0, (2, 2), (2, 1)]) + b"R")},
        "arguments are no tuple",
    )
    yield error("a tensor without a storage", {"w": tensor(Raw(b"N"))}, "in an unknown way")
    yield ok("a stride of zero", {"w": tensor(shape=(3,), strides=(0,))}, "w\tfloat32\t3\t3\t12")
    yield ok("an exabyte at a stride of zero", {"w": tensor(shape=(2**60,), strides=(0,))}, f"w\tfloat32\t{2**60}\t{2**60}\t{2**62}")
    yield ok(
        "64 axes of two to the 62 at stride zero", {"w": tensor(shape=(2**62,) * 64, strides=(0,) * 64)}, f"w\tfloat32\t{2**62}x{2**62}"
    )
    yield ok("an empty tensor far away", {"w": tensor(offset=2**40, shape=(0,), strides=(1,))}, "w\tfloat32\t0\t0\t0")
    yield ok("an empty tensor of huge axes", {"w": tensor(shape=(2**62, 0), strides=(1, 1))}, f"w\tfloat32\t{2**62}x0\t0\t0")
    yield ok("torch.Size", {"w": tensor(shape=call(name("torch", "Size"), (2, 2)))})
    yield ok("lists as sizes", {"w": tensor(shape=[2, 2], strides=[2, 1])})
    yield ok("overlapping windows", {"w": tensor(shape=(3, 2), strides=(1, 1))}, "w\tfloat32\t3x2\t6\t24")


def packed_floats(untyped: Raw) -> Iterator[Trick]:
    """float4, which torch counts in bytes of two values."""

    def float4(over: Raw = untyped, **view: Any) -> dict[str, Raw]:
        return {"w": tensor(over, function="_rebuild_tensor_v3", more=(name("torch", "float4_e2m1fn_x2"),), **view)}

    yield ok("float4", float4(shape=(4, 4), strides=(4, 1)), "w\tfloat4_e2m1fn\t4x8\t32\t16")
    yield ok("float4 of one byte", float4(shape=(), strides=()), "w\tfloat4_e2m1fn\t2\t2\t1")
    yield ok("float4 without values", float4(shape=(0, 3), strides=(3, 1)), "w\tfloat4_e2m1fn\t0x6")
    yield error("float4 that is too long", float4(shape=(4, 5), strides=(5, 1)), "lies outside")
    yield error("float4 that begins too late", float4(shape=(16,), strides=(1,), offset=1), "lies outside")
    yield error("float4 of 2^62 bytes", float4(shape=(2**62,), strides=(1,)), "lies outside")
    yield error("float4 of -1 bytes", float4(shape=(-1,), strides=(1,)), "do not agree")
    yield error("float4 whose bytes are apart", float4(shape=(2, 2), strides=(1, 2)), "do not follow each other")
    yield error("float4 of too few strides", float4(shape=(2, 2), strides=(1,)), "do not follow each other")


def unusual() -> Iterator[Trick]:
    def rebuilt(function: str, *args: Any) -> dict[str, Raw]:
        return {"w": call(name("torch._utils", function), *args)}

    untyped = storage("UntypedStorage", count=16)
    half = tensor(untyped, shape=(8,), strides=(1,), function="_rebuild_tensor_v3", more=(name("torch", "uint16"),))
    yield ok("an untyped storage", {"w": half}, "w\tuint16\t8\t8\t16")
    for what, dtype in {
        "an unknown name": name("torch", "floaty"),
        "text": "float32",
        "None": None,
        "a call": call(name("os", "system"), TOUCH),
        "a class": name("os", "system"),
    }.items():
        yield error(f"a dtype that is {what}", {"w": tensor(untyped, function="_rebuild_tensor_v3", more=(dtype,))}, "is not known")
    for function, surplus in {
        "_rebuild_tensor": (False, HOOKS),
        "_rebuild_tensor_v2": ({}, 1),
        "_rebuild_tensor_v3": (name("torch", "uint16"), {}, 1),
    }.items():
        yield error(f"{function} with a surplus argument", {"w": tensor(function=function, more=surplus)}, "arguments")
    yield error("a parameter with a surplus argument", rebuilt("_rebuild_parameter", GOOD, True, HOOKS, 1), "has 4 arguments")
    yield error(
        "a subclass with a surplus argument",
        {"w": call(name("torch._tensor", "_rebuild_from_type_v2"), name("torch._utils", "_rebuild_parameter"), 1, (GOOD,), {}, 1)},
        "has 5 arguments",
    )
    yield error("an untyped storage without a dtype", {"w": tensor(untyped)}, "without a dtype")
    yield error(
        "an untyped storage that is too small",
        {"w": tensor(untyped, shape=(9,), strides=(1,), function="_rebuild_tensor_v3", more=(name("torch", "uint16"),))},
        "lies outside",
    )
    yield from packed_floats(untyped)
    for number, args in enumerate([(), (None,), (1, True), ("x", True, HOOKS), (storage(), True, HOOKS), ([],)]):
        yield error(f"a parameter of nothing, {number}", rebuilt("_rebuild_parameter", *args), "in an unknown way")
    coo = call(name("torch.serialization", "_get_layout"), "torch.sparse_coo")
    csr = call(name("torch.serialization", "_get_layout"), "torch.sparse_csr")
    yield ok("a sparse tensor", rebuilt("_rebuild_sparse_tensor", coo, (tensor(), tensor(), (9, 9), True)), "w\tfloat32 (sparse_coo)\t9x9")
    for what, args in {
        "nothing": (),
        "a layout alone": (coo,),
        "too little": (coo, (GOOD, GOOD)),
        "too little, compressed": (csr, (GOOD, GOOD, GOOD)),
        "no tensors": (coo, (1, 2, (3,), True)),
        "a list": (coo, [GOOD, GOOD, (2,), True]),
        "a layout that is text": ("torch.sparse_coo", (GOOD, GOOD, (2,), True)),
        "a size that is none": (coo, (GOOD, GOOD, 5, True)),
    }.items():
        yield error(f"a sparse tensor of {what}", rebuilt("_rebuild_sparse_tensor", *args), "")
    for kind in ("", "torch.", "torch.strided", "strided", "quantised", "object", "\x1b[2J\n", 5, None):
        yield error(
            f"a sparse tensor whose layout is {kind!r}",
            rebuilt("_rebuild_sparse_tensor", call(name("x", "y"), kind), (GOOD, GOOD, GOOD, (2**40,))),
            "in an unknown way",
        )
    yield error("a negative size of a sparse tensor", rebuilt("_rebuild_sparse_tensor", coo, (GOOD, GOOD, (-3, 2), True)), "")
    yield ok(
        "a quantised tensor",
        rebuilt(
            "_rebuild_qtensor",
            storage("QInt8Storage", count=16),
            0,
            (4, 4),
            (4, 1),
            (name("torch", "per_tensor_affine"), 0.1, 0),
            False,
            HOOKS,
        ),
        "w\tqint8\t4x4",
    )
    yield ok(
        "a quantised tensor of an odd scheme",
        rebuilt("_rebuild_qtensor", storage("QInt8Storage", count=16), 0, (4, 4), (4, 1), None, False, HOOKS),
        "w\tqint8\t4x4",
    )
    numpy_dtype = call(name("numpy", "dtype"), "f4", False, True)

    def array(shape: Any, dtype: Any, data: Any, fortran: Any = False) -> Raw:
        head = call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), (0,), b"b")
        return Raw(head + enc((1, shape, dtype, fortran, data)) + b"b")

    little = Raw(numpy_dtype + enc((3, "<", None, None, None, -1, -1, 0)) + b"b")
    yield ok("a numpy array", {"w": array((2, 2), little, bytes(16))})
    for what, shape, dtype, data in [
        ("too little data", (2, 2), little, bytes(15)),
        ("too much data", (2, 2), little, bytes(17)),
        ("a negative size", (-2, -2), little, bytes(16)),
        ("a huge size", (2**62,) * 4, little, bytes(16)),
        ("True as a size", (True,), little, bytes(4)),
        ("a shape that is none", 4, little, bytes(16)),
        ("65 axes", (1,) * 65, little, bytes(4)),
        ("text as data", (4,), little, "x" * 16),
    ]:
        yield error(f"a numpy array of {what}", {"w": array(shape, dtype, data)}, "")
    for code in ("f\u00b2", "f" + "9" * 5000, "U" + "9" * 5000, "f-4", "", "V99999999999999999999", "\x1b[2J", "M8[D]"):
        yield error(
            f"a numpy array of the dtype {code[:20]!r}",
            {"w": array((2, 2), call(name("numpy", "dtype"), code, False, True), bytes(15))},
            "bytes",
        )
        yield ok(
            f"a numpy scalar of the dtype {code[:20]!r}",
            beside(call(name("numpy.core.multiarray", "scalar"), call(name("numpy", "dtype"), code, False, True), bytes(8))),
        )
    objects = call(name("numpy", "dtype"), "O8", False, True)
    yield ok("a numpy array of objects", {"w": GOOD, "o": array((2,), objects, [1, None])}, "o\tobject\t2")
    yield ok(
        "a numpy array of arrays",
        {"w": GOOD, "o": array((2, 1), objects, [array((2,), call(name("numpy", "dtype"), "f4", False, True), bytes(8)), None])},
        "o.0.0\tfloat32",
    )
    yield error("a numpy array of fewer objects than its shape", {"o": array((2**60,), objects, [])}, "has 0 elements")


def cases() -> Iterator[Trick]:
    for part in (calls, keys, shapes, laughs, memos, opcodes, storages, geometries, unusual):
        yield from part()
