"""`ckpt check --safe`: every container within every container, configs of Keras that name Python's builtins, folders of models."""

from __future__ import annotations

import builtins
import bz2
import gzip
import json
import lzma
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from conftest import Ckpt
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent / "hostile"))
import zips
from pickles import call, name, pickled, tensor
from unsafe_corpus import EVIL, GOOD, SYSTEM, WEIGHTS, made_tar, made_zip, npy

LOADED = name("torch.storage", "_load_from_bytes")
CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda data: made_zip({"m.bin": data}),
    "deflated zip": lambda data: made_zip({"m.bin": data}, 8),
    "bzip2 zip": lambda data: made_zip({"m.bin": data}, 12),
    "tar": lambda data: made_tar({"m.bin": data}),
    "tar.xz": lambda data: made_tar({"m.bin": data}, "w:xz"),
    "bytes in a pickle": lambda data: pickled([1, call(LOADED, data)]),
    "array of objects": lambda data: npy(pickled(call(LOADED, data))),
    "npz": lambda data: made_zip({"o.npy": npy(pickled(call(LOADED, data)))}, 8),
}
MODELS = {"torch's zip": zips.torch_zip, "deflated data.pkl": lambda data: made_zip({"a/data.pkl": data}, 8), "pickle": bytes}


@pytest.mark.parametrize("inner", CONTAINERS)
@pytest.mark.parametrize("outer", CONTAINERS)
def test_a_pickle_is_found_in_two_containers(outer: str, inner: str, ckpt: Ckpt, tmp_path: Path) -> None:
    for kind, model in MODELS.items():
        path = tmp_path / "a.pt"
        path.write_bytes(CONTAINERS[outer](CONTAINERS[inner](model(pickled({"w": 1, "x": SYSTEM})))))
        result = ckpt("check", "--safe", path, status=1)
        assert ["code", "os.system"] in [row[:2] for row in result.rows] and "fault" not in result.err, (kind, result)
        clean = {"torch's zip": WEIGHTS}.get(kind, GOOD)
        path.write_bytes(CONTAINERS[outer](CONTAINERS[inner](model(clean))))
        result = ckpt("check", "--safe", path, status=None)
        assert {row[0] for row in result.rows} <= {"unreadable"} and result.status == bool(result.rows), (kind, result)


@pytest.mark.parametrize("compress", [numpy.savez, numpy.savez_compressed])
def test_an_array_of_objects_as_numpy_saves_it(compress: Callable[..., None], ckpt: Ckpt, tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, ...]:
            import os

            return os.system, ("true",)

    compress(tmp_path / "evil.npz", w=numpy.ones(2), o=numpy.array([Runs()], dtype=object))
    compress(tmp_path / "fine.npz", w=numpy.ones(2), o=numpy.array([[1, "a"], None], dtype=object))
    assert [row[:2] for row in ckpt("check", "--safe", tmp_path / "evil.npz", status=1).rows] == [["code", "posix.system"]]
    assert ckpt("check", "--safe", tmp_path / "fine.npz", status=0).out == ""


def function(named: str, module: str | None = "builtins", registered: str | None = "function") -> dict[str, object]:
    return {"module": module, "class_name": "function", "config": named, "registered_name": registered}


def keras_file(path: Path, layer: object) -> Path:
    document = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}
    path.write_bytes(made_zip({"metadata.json": b"{}", "config.json": json.dumps(document).encode()}))
    return path


def dense(activation: object) -> dict[str, object]:
    return {"module": "keras.layers", "class_name": "Dense", "config": {"activation": activation}, "registered_name": None}


BUILTINS = [each for each in dir(builtins) if each not in ("object",)]


def test_every_name_of_pythons_builtins_is_code(ckpt: Ckpt, tmp_path: Path) -> None:
    """As keras/src/saving/serialization_lib.py looks names up: by `config` of a function, by `class_name`, by `registered_name`."""
    forms = {each: function(each) for each in BUILTINS}
    path = keras_file(tmp_path / "a.keras", [dense(each) for each in forms.values()])
    told = {row["name"] for row in ckpt("check", "--safe", "--json", path, status=1).json["violations"]}
    assert {f"builtins.{each}" for each in forms} <= told
    for form in (
        {"module": "builtins", "class_name": "eval", "config": {}},
        function("my_own", registered="eval"),
        function("eval", registered=None),
    ):
        told = {row["name"] for row in ckpt("check", "--safe", "--json", keras_file(path, form), status=1).json["violations"]}
        assert "builtins.eval" in told, form


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        ({"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/x"}}, "TFSMLayer"),
        ({"class_name": "TFSMLayer", "config": {"filepath": "/x"}}, "TFSMLayer"),
        ({"module": "keras.layers", "class_name": "Any", "registered_name": "TFSMLayer", "config": {}}, "TFSMLayer"),
        ({"module": "keras.layers", "class_name": "Any", "registered_name": "Lambda", "config": {}}, "Lambda"),
        (dense(function("load", "numpy")), "numpy.load"),
        (dense(function("my_loss")), "builtins.my_loss"),
    ],
)
def test_what_else_a_config_of_keras_has_imported(layer: object, named: str, ckpt: Ckpt, tmp_path: Path) -> None:
    rows = ckpt("check", "--safe", keras_file(tmp_path / "a.keras", layer), status=1).rows
    assert ["code", named] in [row[:2] for row in rows]


@pytest.mark.parametrize("named", ["relu", "softmax", "mean_squared_error", "mse", "l2", "binary_crossentropy", "zeros", "pkg>scaled"])
def test_functions_of_keras_are_none_of_pythons(named: str, ckpt: Ckpt, tmp_path: Path) -> None:
    path = keras_file(tmp_path / "a.keras", dense(function(named)))
    rows = ckpt("check", "--safe", path, status=None).rows
    assert "code" not in {row[0] for row in rows}


# Folders


def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"w": numpy.ones(2, "f4")}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "tokenizer.json").write_text('{"a": 1}')
    (folder / "notes.txt").write_text("cos\nsystem\n")
    (folder / "optimizer.pt").write_bytes(zips.torch_zip(WEIGHTS))
    (folder / "rng_state.pth").write_bytes(zips.torch_zip(GOOD, {}))
    return folder


BESIDE = {
    "training_args.bin": zips.torch_zip(EVIL, {}),
    "scheduler.pt": EVIL,
    "rng_state_0.pth": zips.torch_zip(EVIL, {}),
    "vocab.pkl": EVIL,
    "state": EVIL,
    "data.npy": npy(EVIL),
    "old.tar.gz": gzip.compress(made_tar({"a": EVIL})),
}


@pytest.mark.parametrize("beside", BESIDE)
def test_a_pickle_beside_the_model_of_a_folder_is_searched(beside: str, ckpt: Ckpt, tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    assert ckpt("check", "--safe", folder, status=0).out == ""
    (folder / beside).write_bytes(BESIDE[beside])
    (found,) = ckpt("check", "--safe", "--json", folder, status=1).json["violations"]
    assert (found["kind"], found["name"], found["file"]) == ("code", "os.system", str(folder / beside))
    assert beside in ckpt("check", "--safe", folder, status=1).rows[0][2]
    ckpt("check", "--safe", folder / "model.safetensors", status=0)
    ckpt("check", folder, status=0)


AUTO_MAP = {
    "config.json": ({"auto_map": {"AutoModel": "modeling_x.X"}}, ["modeling_x.X"]),
    "tokenizer_config.json": ({"auto_map": {"AutoTokenizer": ["tok.Slow", None]}}, ["tok.Slow"]),
    "processor_config.json": ({"image": {"auto_map": {"AutoImageProcessor": "some/repo--im.P"}}}, ["some/repo--im.P"]),
    "generation_config.json": ({"custom_pipelines": {"t": {"impl": "pipe.P"}}}, ["pipe.P"]),
}


@pytest.mark.parametrize("file", AUTO_MAP)
def test_modules_that_a_config_imports_are_code(file: str, ckpt: Ckpt, tmp_path: Path) -> None:
    folder, (document, names) = model_folder(tmp_path), AUTO_MAP[file]
    (folder / file).write_text(json.dumps(document))
    rows = ckpt("check", "--safe", folder, status=1).rows
    assert [row[:2] for row in rows] == [["code", each] for each in names] and file in rows[0][2]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"auto_map": 3}', '{"auto_map": {"a": {}}}', '{"custom_pipelines": [1]}'])
def test_a_config_that_is_broken_or_odd_is_no_fault(text: str, ckpt: Ckpt, tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "config.json").write_text(text)
    result = ckpt("check", "--safe", folder, status=None)
    assert {row[0] for row in result.rows} <= {"unread"} and "fault" not in result.err and result.status == bool(result.rows)


def test_a_storage_in_another_form_is_said_to_be_not_read(ckpt: Ckpt, tmp_path: Path) -> None:
    for inner in (zips.torch_zip(pickled({"w": tensor()})), gzip.compress(GOOD), GOOD, GOOD * 5):
        (tmp_path / "a.pkl").write_bytes(pickled({"w": call(LOADED, inner)}))
        err = ckpt("ls", tmp_path / "a.pkl", status=2).err
        assert "kept in a way that is not read" in err and "broken" not in err and err.count("\n") == 1, err
