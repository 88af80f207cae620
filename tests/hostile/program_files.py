"""TorchScript and torch.export archives: code and JSON that lie about what is in them, and modules without an end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from judge import Case
from pickles import Raw, built, call, enc, name, pickled, storage, tensor
from zips import Entry, archive, plain, torch_zip

CODE = b'class Net(Module):\n  __parameters__ = ["w", ]\n  __buffers__ = []\n  w : Tensor\nimport os\nos.system("touch canary")\n'
LISTED = "w\tfloat32\t2x2\t4\t16\t"


def script(root: Any = None, code: bytes | None = CODE, storages: dict[str, bytes] | None = None) -> bytes:
    """An archive of one module with one parameter."""
    module = built(name("__torch__", "Net"), {"training": True, "w": tensor()}) if root is None else root
    entries = [*plain(pickled(module), storages), Entry("a/constants.pkl", pickled(()))]
    return archive(entries + ([] if code is None else [Entry("a/code/__torch__.py", code)]))


def scripts() -> Iterator[Case]:
    yield Case("a module", "ok", LISTED, script())
    yield Case("a module without its code", "error", "no code of", script(code=None))
    yield Case("code that names no parameters", "ok", "", script(code=b"class Net(Module):\n  def forward(self): pass\n"))
    yield Case("code that is no text", "ok", "", script(code=bytes(range(256)) * 9))
    yield Case("a parameter that is not there", "ok", "", script(built(name("__torch__", "Net"), {"training": True})))
    yield Case(
        "a parameter that is a call",
        "ok",
        "",
        script(built(name("__torch__", "Net"), {"w": call(name("posix", "system"), "touch canary")})),
    )
    yield Case("a root that is a call", "error", "no module", script(call(name("posix", "system"), "touch canary")))
    yield Case("a root that is a tensor", "error", "no module", script(tensor()))
    yield Case(
        "a parameter beyond its storage",
        "error",
        "outside of its storage",
        script(built(name("__torch__", "Net"), {"w": tensor(strides=(9, 1))})),
    )
    yield Case("a class with dots that lead out", "error", "no code of", script(built(name("__torch__.....etc", "Net"), {"w": tensor()})))
    module = b"".join([name("__torch__", "Net"), b")\x81q\x00}(", enc("w"), tensor(), enc("a"), b"h\x00ub"])
    yield Case("a module that holds itself", "error", "too often", script(Raw(module)))
    twice = Raw(name("__torch__", "Net") + b")\x81q\x00}(" + enc("a") + b"h\x00" + enc("b") + b"h\x00ub")
    yield Case("a module that holds itself twice", "error", "too often", script(twice))


def meta(**lies: Any) -> dict[str, Any]:
    facts = {
        "dtype": 7,
        "sizes": [{"as_int": 2}, {"as_int": 2}],
        "strides": [{"as_int": 2}, {"as_int": 1}],
        "storage_offset": {"as_int": 0},
    }
    return facts | {"layout": 7, "requires_grad": True} | lies


def export(config: Any = None, **lies: Any) -> bytes:
    entry = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": meta(**lies)}
    document = config if isinstance(config, bytes) else json.dumps({"config": {"w": entry} if config is None else config}).encode()
    members = {"archive_format": b"pt2", "byteorder": b"little", "models/model.json": b"{}", "data/weights/weight_0": bytes(16)}
    return archive([Entry(f"a/{key}", raw) for key, raw in (members | {"data/weights/model_weights_config.json": document}).items()])


def exports() -> Iterator[Case]:
    def case(what: str, gives: str, says: str, raw: bytes) -> Case:
        return Case(what, gives, says, raw, "a.pt2")

    yield case("an export", "ok", LISTED, export())
    yield case("a weight that is not there", "error", "not in the archive", export({"w": {"path_name": "weight_1"}}))
    yield case("a weight's path that leads out", "error", "not in the archive", export({"w": {"path_name": "../../byteorder"}}))
    yield case("a weight without a description", "error", "unknown way", export({"w": {"path_name": "weight_0"}}))
    yield case("a weight that is a number", "error", "no object of objects", export({"w": 3}))
    for what, lies in {
        "a dtype that is not known": {"dtype": 99},
        "a dtype that is True": {"dtype": True},
        "a negative size": {"sizes": [{"as_int": -2}, {"as_int": 2}]},
        "a size that is True": {"sizes": [{"as_int": True}, 2]},
        "a size that is a name": {"sizes": [{"as_expr": "s0"}]},
        "sizes that are no list": {"sizes": 4},
        "strides of another length": {"strides": [1]},
        "an endless stride": {"strides": [2**62, 1]},
        "an offset beyond": {"storage_offset": {"as_int": 4}},
        "an endless size": {"sizes": [2**62, 2**62]},
        "a sparse layout": {"layout": 1},
    }.items():
        yield case(what, "error", "", export(**lies))
    yield case("a config that is no JSON", "error", "", export(b"{"))
    yield case("a config with a name twice", "error", "", export(b'{"config": {"w": {}, "w": {}}}'))
    yield case("a config that nests deep", "error", "", export(b"[" * 100_000))
    yield case("a pickled weight that is no zip", "error", "zip", export({"w": {"path_name": "weight_0", "use_pickle": True}}))
    inner = torch_zip(pickled({"w": tensor()}))
    older = [Entry("serialized_exported_program.json", b"{}"), Entry("serialized_state_dict.pt", inner)]
    yield case("one of an older torch", "ok", LISTED, archive(older))
    yield case(
        "an older one whose state is a call",
        "error",
        "no state dict",
        archive([older[0], older[1]._replace(data=torch_zip(pickled(call(name("posix", "system"), "touch canary"))))]),
    )
    yield case("an older one whose state is cut", "error", "end of the zip", archive([older[0], older[1]._replace(data=inner[:-9])]))
    lie = torch_zip(pickled({"w": tensor(storage(count=9))}))
    yield case("an older one whose storage lies", "error", "the pickle says", archive([older[0], older[1]._replace(data=lie)]))


def cases() -> Iterator[Case]:
    yield from scripts()
    yield from exports()
