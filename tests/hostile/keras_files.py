"""Keras' files, and HDF5 in general: what is odd and right, what is broken, what is meant to deceive."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from judge import Case

SAMPLES = Path(__file__).resolve().parents[2] / "sample_models"
Fill = Callable[[Any], object]


def made(fill: Fill, **how: Any) -> Callable[[Path], object]:
    """A file that `fill` fills, as the case's content."""

    def build(path: Path) -> None:
        with h5py.File(path, "w", **how) as file:
            fill(file)

    return build


def patched(fill: Fill, change: Callable[[bytearray, Any], object]) -> Callable[[Path], object]:
    """The same, and then some of its bytes are changed; `change` gets them and what `fill` returned."""

    def build(path: Path) -> None:
        with h5py.File(path, "w") as file:
            known = fill(file)
        raw = bytearray(path.read_bytes())
        change(raw, known)
        path.write_bytes(raw)

    return build


def x(file: Any) -> None:
    file["x"] = np.arange(3.0)


def links(file: Any) -> None:
    x(file)
    file["again"] = file["x"]
    file["soft"] = h5py.SoftLink("/x")
    file["nowhere"] = h5py.SoftLink("/no/such")
    file["round"] = h5py.SoftLink("/round")
    file["outside"] = h5py.ExternalLink("evil.h5", "/x")
    file["device"] = h5py.ExternalLink("/dev/zero", "/x")
    file["cycle"] = file["/"]


def bomb(file: Any) -> None:
    """Groups, each twice in the one above: a billion paths to the last."""
    group = file
    for _ in range(30):
        below = group.create_group("a")
        group["b"] = below
        group = below
    x(file)


def nested(file: Any, depth: int) -> None:
    x(file.create_group("/".join("g" * depth)))


def strange(file: Any) -> None:
    x(file)
    file["pairs"] = np.zeros(2, [("a", "i4"), ("b", "f4")])
    file["kinds"] = np.zeros(2, h5py.enum_dtype({"A": 0, "B": 1}))
    file["references"] = np.array([file["x"].ref], h5py.ref_dtype)
    file["ragged"] = np.array([np.arange(2), np.arange(3)], h5py.vlen_dtype("i4"))
    file["type"] = np.dtype("f8")
    file["nothing"] = h5py.Empty("f4")
    file["arrays"] = np.zeros(2, "(3,)f4")


def no_bfloat16(file: Any) -> None:
    file["o"] = np.zeros(2, "V3")
    file["o"].attrs["dtype"] = "bfloat16"


def accepted() -> Iterator[tuple[str, str, Callable[[Path], object]]]:
    yield "one dataset", "x\tfloat64\t3\t3\t24\t\n", made(x)
    yield "nothing", "", made(lambda file: None)
    yield "the latest layout", "x\tfloat64\t3", made(x, libver="latest")
    yield "the order of making", "b\tfloat64", made(lambda file: file.update({"b": 1.0, "a": 2.0}), track_order=True)
    yield "a scalar", "s\tfloat32\t\t1\t4", made(lambda file: file.create_dataset("s", (), "f4"))
    yield "an empty dataset", "e\tfloat32\t0x3\t0\t0", made(lambda file: file.create_dataset("e", (0, 3), "f4"))
    yield "32 axes", "d\tfloat32\t1x1x1", made(lambda file: file.create_dataset("d", (1,) * 32, "f4"))
    yield "links that lead out, away and round", "x\tfloat64\t3\t3\t24\tagain\n", made(links)
    yield "a billion paths", "x\tfloat64", made(bomb)
    yield "groups 99 deep", "g/g/x\tfloat64", made(lambda file: nested(file, 99))
    yield "types that are no tensors", "x\tfloat64\t3\t3\t24\t\n", made(strange)
    yield "never written", "n\tfloat32\t1000", made(lambda file: file.create_dataset("n", (1000,), "f4"))
    yield "a filter of its own", "l\tfloat64", made(lambda file: file.create_dataset("l", data=np.arange(9.0), compression="lzf"))
    for name in ("\x1b[2J", "a\nb", "\u202egnp", "a\tb", "\x9b31m"):
        yield f"the name {name!r}", "\\", made(lambda file, name=name: file.create_dataset(name, data=1.0))
    yield "a layer of a strange name", "x\tfloat64", made(lambda file: (x(file), file.attrs.update(layer_names=["\x1b[2J", "../x"])))
    yield "opaque bytes", "o\t|V5\t2", made(lambda file: file.create_dataset("o", data=np.zeros(2, "V5")))
    yield (
        "a bfloat16 that is none",
        "o\t|V3\t2",
        made(lambda file: file.create_dataset("o", data=np.zeros(2, "V3")).attrs.update(dtype="bfloat16")),
    )


def move(raw: bytearray, known: tuple[int, int]) -> None:
    """Where the file says that data lie at one place, another."""
    old, new = (number.to_bytes(8, "little") for number in known)
    at = raw.index(old, 96)
    raw[at : at + 8] = new


def two(file: Any) -> tuple[int, int]:
    """Two datasets; the place of the second, and one that is shared with the first."""
    for name in "ab":
        file.create_dataset(name, data=np.full(64, 7.25))
    return file["b"].id.get_offset(), file["a"].id.get_offset() + 8


def far(file: Any) -> tuple[int, int]:
    return two(file)[0], 1 << 40


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("evil.h5", "x", (3,))
    file.create_virtual_dataset("v", layout)


def refused() -> Iterator[tuple[str, str, Callable[[Path], object]]]:
    yield "data in another file", "kept outside", made(lambda file: file.create_dataset("e", (3,), "f8", external=[("/etc/passwd", 0, 24)]))
    yield "data beyond the end", "invalid dataset size", patched(far, move)
    yield "data in one place", "overlap", patched(two, move)
    yield "groups 150 deep", "more than 100 deep", made(lambda file: nested(file, 150))
    yield "an exabyte on paper", "cannot hold", made(lambda file: file.create_dataset("n", (1 << 57,), "f8", chunks=(1 << 10,)))
    yield "a config that is no JSON", "model_config", made(lambda file: file.attrs.update(model_config="{"))
    yield "a config that is a list", "no JSON object", made(lambda file: file.attrs.update(model_config="[1]"))
    yield "a config that nests too deep", "model_config", made(lambda file: file.attrs.update(model_config="[" * 20_000 + "]" * 20_000))
    yield "a superblock alone", "truncated", lambda path: path.write_bytes((SAMPLES / "mlp.weights.h5").read_bytes()[:96])
    yield "a superblock of the future", "", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n\x63" + bytes(500))
    yield "a root that is nowhere", "HDF5", patched(x, lambda raw, _: raw.__setitem__(slice(64, 72), b"\xf0" * 8))
    yield (
        "metadata of noise",
        "",
        patched(x, lambda raw, _: raw.__setitem__(slice(96, 2000), bytes(range(1, 200)) * 9 + bytes(113))),
    )


def archive(change: Callable[[dict[str, bytes]], object], method: int = zipfile.ZIP_STORED) -> Callable[[Path], object]:
    """The sample .keras with its members changed."""

    def build(path: Path) -> None:
        with zipfile.ZipFile(SAMPLES / "mlp.keras") as old:
            members = {name: old.read(name) for name in old.namelist()}
        change(members)
        with zipfile.ZipFile(path, "w", method) as new:
            for name, data in members.items():
                new.writestr(name, data)

    return build


def configured(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes]], None]:
    def edit(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()

    return edit


def cycle(config: dict[str, Any]) -> None:
    """Models in models, far deeper than the weights."""
    for _ in range(100):
        config["config"] = {"layers": [dict(config)], "name": "again"}


def dense(number: int) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": str(number)}}


ODD_CONFIGS: dict[str, Callable[[dict[str, Any]], object]] = {
    "nothing": dict.clear,
    "no layers": lambda config: config["config"].pop("layers"),
    "layers that are a text": lambda config: config["config"].update(layers="Dense"),
    "layers that are numbers": lambda config: config["config"].update(layers=[1, None, [], {}]),
    "a class that is a number": lambda config: config["config"]["layers"][1].update(class_name=7),
    "names that are lists": lambda config: config["config"]["layers"][1]["config"].update(name=[1, 2]),
    "names that are escapes": lambda config: config["config"]["layers"][1].update(class_name="\x1b[2J", config={"name": "a\nb\u202e"}),
    "names that are paths": lambda config: config["config"]["layers"][1]["config"].update(name="../../etc/passwd"),
    "one layer a thousand times": lambda config: config["config"].update(layers=config["config"]["layers"][1:2] * 1000),
    "a hundred thousand layers": lambda config: config["config"].update(
        layers=[{"class_name": "Dense", "config": {"name": str(i)}} for i in range(100_000)]
    ),
    "models in models": cycle,
    "code": lambda config: config["config"]["layers"].append({"class_name": "Lambda", "module": "os", "config": {"function": "system"}}),
}


def archives() -> Iterator[Case]:
    kept = "layers/dense/vars/0\tfloat32\t4x8\t32\t128"
    yield Case("a .keras that is deflated", "ok", kept, archive(lambda members: None, zipfile.ZIP_DEFLATED))
    for what, change in ODD_CONFIGS.items():
        yield Case(f"a config of {what}", "ok", kept, archive(configured(change)))
    yield Case("a .keras with an asset", "ok", kept, archive(lambda members: members.update({"assets/../../x": b"x"})))
    broken: dict[str, tuple[str, Callable[[dict[str, bytes]], object]]] = {
        "without weights": ("not in model.weights.h5", lambda members: members.pop("model.weights.h5")),
        "with weights that are none": ("HDF5", lambda members: members.update({"model.weights.h5": b"x" * 200})),
        "with weights that are cut": ("truncated", lambda members: members.update({"model.weights.h5": members["model.weights.h5"][:-9]})),
        "with a config that is no JSON": ("config.json", lambda members: members.update({"config.json": b"{"})),
        "with a config that is a text": ("config.json", lambda members: members.update({"config.json": b'"x"'})),
        "with twins in the config": ("twice", lambda members: members.update({"config.json": b'{"a": 1, "a": 2}'})),
    }
    for what, (says, change) in broken.items():
        yield Case(f"a .keras {what}", "error", says, archive(change))


def cases() -> Iterator[Case]:
    yield Case("data that are made of others", "warning", "v is made of other datasets (virtual), and is not read", made(virtual))
    for name, says, build in accepted():
        yield Case(name, "ok", says, build)
    for name, says, build in refused():
        yield Case(name, "error", says, build)
    yield from archives()
    for count in (0, 1, 40, 95):
        yield Case(f"HDF5's magic and {count} zeros", "error", "", b"\x89HDF\r\n\x1a\n" + bytes(count))
