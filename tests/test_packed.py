"""Packed parameters: integers and their scales, known as the one parameter that they stand for."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import packed_models
import pytest
import torch
from conftest import CASES, Ckpt
from packed_models import Model
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.filterwarnings("ignore")
MODELS = dict(packed_models.models())
REPORTS = CASES / "reports"
reports = pytest.mark.skipif(not (REPORTS / "fp8-scale").is_dir(), reason=f"no real checkpoints at {CASES}: set CKPT_CASES")


def written(model: Model, folder: Path) -> Path:
    """The file of a model, and the config beside it."""
    folder.mkdir(exist_ok=True)
    save_file(model.packed, folder / "model.safetensors", {"format": "pt"})
    if model.config_name:
        (folder / model.config_name).write_text(json.dumps(model.config))
    return folder / "model.safetensors"


def same(found: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> None:
    """The same names, dtypes, shapes and bits, NaN as NaN."""
    assert found.keys() == want.keys()
    for name, tensor in want.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(found[name].float().nan_to_num(7e9), tensor.float().nan_to_num(7e9)), name


@pytest.mark.parametrize("name", MODELS)
def test_each_packing_is_decoded_as_its_library_does_it(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    model = MODELS[name]()
    path = written(model, tmp_path / "m")
    ckpt("convert", path, tmp_path / "plain.safetensors", "--dequantise")
    same(load_file(tmp_path / "plain.safetensors"), model.plain)
    summary = ckpt("summary", path, "--json").json
    (weight,) = (tensor for key, tensor in model.plain.items() if "bias" not in key)
    own = {key: model.packed[key] for key in model.packed.keys() - model.plain.keys() - {"scaled_fp8"}} | {
        key: model.packed[key] for key in model.packed.keys() & model.plain.keys() if "bias" not in key
    }
    nbytes = sum(tensor.numel() * tensor.element_size() for tensor in own.values())
    assert summary["packed"] == {model.title: {"parameters": 1, "elements": weight.numel(), "bytes": nbytes}}
    assert summary["params"] == sum(tensor.numel() for tensor in model.plain.values()) and summary["buffers"] == 0
    assert len(ckpt("ls", path).rows) == len(model.packed)
    for line in (["cast", path, "bfloat16", "-o"], ["convert", path, "--dtype", "bfloat16"]):
        refused = ckpt(*line, tmp_path / "no.safetensors", status=2)
        assert refused.err.count("\n") == 1 and model.title in refused.err and "--dequantise" in refused.err
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.parametrize("name", ["gptq-4", "mlx-4", "nf4", "fp8-blocks"])
def test_a_part_of_it_is_read_and_figures_and_differences_are_of_the_weights(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    model = MODELS[name]()
    path, weight = written(model, tmp_path / "m"), model.plain["l.weight"].float()
    got = ckpt("get", path, "l.weight[3:20:4, -7:]", "--dequantise", "--json").json["values"]
    assert torch.equal(torch.tensor(got), weight[3:20:4, -7:])
    (row,) = (row for row in ckpt("stats", path, "--dequantise", "--json").json["tensors"] if row["name"] == "l.weight")
    assert row["shape"] == list(weight.shape) and (row["min"], row["max"]) == (weight.min(), weight.max())
    assert math.isclose(row["l2"], weight.double().norm(), rel_tol=1e-9)
    save_file(model.plain, tmp_path / "plain.safetensors")
    assert ckpt("diff", path, tmp_path / "plain.safetensors", "--dequantise").out == ""
    weight[0, 0] += 1
    save_file(model.plain | {"l.weight": weight}, tmp_path / "other.safetensors")
    (row,) = ckpt("diff", path, tmp_path / "other.safetensors", "l.weight", "--dequantise", status=1).rows
    assert (row[1], row[4], row[8]) == ("l.weight", f"1/{weight.numel()}", "[0,0]")


def test_what_is_cast_is_rounded_once(tmp_path: Path, ckpt: Ckpt) -> None:
    model = MODELS["fp8-diffusers"]()
    path = written(model, tmp_path / "m")
    ckpt("cast", path, "bfloat16", "--dequantise", "-o", tmp_path / "half.safetensors")
    same(load_file(tmp_path / "half.safetensors"), {"l.weight": model.plain["l.weight"].bfloat16()})
    step = ckpt("cast", path, "bfloat16", "--dequantise", "--print-recipe").out
    (tmp_path / "recipe.toml").write_text(step)
    ckpt("apply", path, tmp_path / "recipe.toml", "-o", tmp_path / "applied.safetensors")
    assert (tmp_path / "applied.safetensors").read_bytes() == (tmp_path / "half.safetensors").read_bytes()
    ckpt("cast", path, "bfloat16", "--dequantise", "-i")
    assert path.read_bytes() == (tmp_path / "half.safetensors").read_bytes()


def test_patterns_that_pick_no_part_are_fine_and_order_and_metadata_stay(tmp_path: Path, ckpt: Ckpt) -> None:
    model = MODELS["gptq-4"]()
    extra = {"a.bias": torch.ones(3), "z.bias": torch.ones(3)}
    path = written(model._replace(packed=extra | model.packed), tmp_path / "m")
    ckpt("cast", path, "float16", "[az].bias", "-o", tmp_path / "cast.safetensors")
    assert load_file(tmp_path / "cast.safetensors")["a.bias"].dtype == torch.float16
    for patterns in (["l.scales"], ["*"], ["l.g_idx", "a.bias"]):
        assert (
            "l.weight (GPTQ 4 bit, group 16, 96x64) is a packed parameter" in ckpt("cast", path, "float32", *patterns, "-n", status=2).err
        )
    assert "packed" in ckpt("convert", path, tmp_path / "no.npz", "--drop", "*.qzeros", "--dtype", "float32", status=2).err
    ckpt("convert", path, tmp_path / "kept.safetensors")
    same(load_file(tmp_path / "kept.safetensors"), extra | model.packed)
    ckpt("convert", path, tmp_path / "picked.safetensors", "--dequantise", "--select", "*.weight", "--rename", "l.*=model.*")
    same(load_file(tmp_path / "picked.safetensors"), {"model.weight": model.plain["l.weight"]})
    assert ckpt("summary", tmp_path / "picked.safetensors", "--json").json["metadata"] == {"format": "pt"}


def test_an_edit_of_a_part_alone_says_so(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(MODELS["fp8-diffusers"](), tmp_path / "m")
    assert "l.weight_scale is a part of the packed parameter l.weight" in ckpt("set", path, "l.weight_scale = 2", "-i").err
    assert "is a part" not in ckpt("set", path, "l.weight_scale = 2", "-i").out
    plain = tmp_path / "plain.safetensors"
    save_file({"l.weight": torch.ones(2, 2)}, plain)
    assert "is a part" not in ckpt("set", plain, "l.weight = 2", "-i").err


def test_tied_parts_make_tied_weights(tmp_path: Path, ckpt: Ckpt) -> None:
    weight, scale = torch.randn(8, 8).to(torch.float8_e4m3fn), torch.tensor([2.0])
    torch.save({"a.weight": weight, "a.weight_scale": scale, "b.weight": weight, "b.weight_scale": scale}, tmp_path / "tied.pt")
    ckpt("convert", tmp_path / "tied.pt", tmp_path / "plain.pt", "--dequantise")
    loaded = torch.load(tmp_path / "plain.pt")
    assert list(loaded) == ["a.weight", "b.weight"] and loaded["a.weight"].data_ptr() == loaded["b.weight"].data_ptr()
    summary = ckpt("summary", tmp_path / "tied.pt", "--json").json
    assert (summary["params"], summary["tied"], summary["data_bytes"]) == (64, 1, 68)


QUANTISED: dict[str, Callable[[torch.Tensor, torch.dtype], torch.Tensor]] = {
    "per tensor": lambda values, dtype: torch.quantize_per_tensor(values, 0.0173, 3, dtype),
    "axis 0": lambda values, dtype: torch.quantize_per_channel(values, torch.rand(7).double() / 50 + 0.01, torch.arange(7), 0, dtype),
    "axis 1": lambda values, dtype: torch.quantize_per_channel(values, torch.rand(9).double() / 50 + 0.01, torch.arange(9), 1, dtype),
    "a view": lambda values, dtype: torch.quantize_per_tensor(values, 0.5, 0, dtype)[2:5, ::2],
}


@pytest.mark.parametrize("dtype", ["qint8", "quint8", "qint32"])
@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_tensors_of_torch(kind: str, dtype: str, tmp_path: Path, ckpt: Ckpt) -> None:
    torch.manual_seed(0)
    tensor = QUANTISED[kind](torch.randn(7, 9, 5), getattr(torch, dtype))
    torch.save({"w": tensor}, tmp_path / "q.pt")
    refused = ckpt("convert", tmp_path / "q.pt", tmp_path / "no.safetensors", "--dtype", "float32", status=2)
    assert refused.err.count("\n") == 1 and f"w ({dtype}, per" in refused.err
    ckpt("convert", tmp_path / "q.pt", tmp_path / "plain.safetensors", "--dtype", "float32", "--dequantise")
    same(load_file(tmp_path / "plain.safetensors"), {"w": tensor.dequantize()})
    assert ckpt("stats", tmp_path / "q.pt").rows[0][3:] == [""] * 8  # no figures of integers whose scale is left out
    assert ckpt("get", tmp_path / "q.pt", "w", status=2).err.count("--dequantise") == 1
    (title,) = ckpt("summary", tmp_path / "q.pt", "--json").json["packed"]
    assert title.startswith(dtype)


def keras_file(path: Path, layers: dict[str, list[Any]]) -> Path:
    """A file as model.save_weights() of Keras 3 writes it: the variables of each layer by number."""
    with h5py.File(path, "w") as file:
        for name, variables in layers.items():
            group = file.create_group(f"layers/{name}/vars")
            group.attrs["name"] = name.rpartition("/")[2]
            for number, values in enumerate(variables):
                group.create_dataset(str(number), data=values)
    return path


def nibbles_of(values: Any) -> Any:
    """Integers of 4 bits, two a byte along the last axis, the low one first."""
    even = np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
    return ((even[:, ::2] & 15) | (even[:, 1::2] << 4)).astype("i1")


def test_keras_int8_and_int4(tmp_path: Path, ckpt: Ckpt) -> None:
    random = np.random.default_rng(0)
    kernel, four = random.integers(-127, 128, (12, 7), "i1"), random.integers(-8, 8, (12, 7))
    scale, bias = random.random(7).astype("f4") + 1, random.random(7).astype("f4")
    groups, zero, order = random.random((3, 7)).astype("f4"), random.integers(-8, 8, (3, 7), "i1"), np.arange(12) // 4
    heads, head_scale = random.integers(-127, 128, (6, 2, 5), "i1"), random.random((1, 1, 2, 5)).astype("f4") + 1
    rows, row_scale = random.integers(-127, 128, (9, 4), "i1"), random.random(9).astype("f4") + 1
    layers = {
        "dense": [kernel, bias, scale],
        "dense_1": [kernel, scale],
        "dense_2": [nibbles_of(four), bias, groups, zero, order.astype("f4")],
        "multi_head_attention": [],
        "multi_head_attention/query_dense": [nibbles_of(four[:, :6]), np.zeros((2, 3), "f4"), scale[:6]],
        "einsum_dense": [heads, np.zeros((2, 5), "f4"), head_scale],
    }
    path = keras_file(tmp_path / "m.weights.h5", layers)
    ckpt("convert", path, tmp_path / "plain.npz", "--dequantise")
    found = dict(np.load(tmp_path / "plain.npz"))
    want = {
        "dense/vars/0": kernel / scale, "dense/vars/1": bias, "dense_1/vars/0": kernel / scale,
        "multi_head_attention/query_dense/vars/0": (four[:, :6] / scale[:6]).astype("f4").reshape(12, 2, 3),
        "multi_head_attention/query_dense/vars/1": np.zeros((2, 3), "f4"),
        "dense_2/vars/0": (four - zero[order]).astype("f4") * groups[order], "dense_2/vars/1": bias,
        "einsum_dense/vars/0": heads / head_scale[0], "einsum_dense/vars/1": np.zeros((2, 5), "f4"),
    }  # fmt: skip
    assert found.keys() == {f"layers/{name}" for name in want}
    assert all(np.array_equal(found[f"layers/{name}"], values) and values.dtype == "f4" for name, values in want.items())
    alone = keras_file(tmp_path / "e.weights.h5", {"embedding": [rows, row_scale]})
    four_alone = keras_file(tmp_path / "o.weights.h5", {"einsum_dense": [nibbles_of(four), scale]})
    assert "own axes are not to be told" in ckpt("convert", four_alone, tmp_path / "no.npz", "--dequantise", status=2).err
    assert "is not to be told" in ckpt("convert", alone, tmp_path / "no.npz", "--dequantise", status=2).err
    both = keras_file(tmp_path / "b.weights.h5", {"embedding": [rows, row_scale], "dense": [kernel, scale]})
    ckpt("convert", both, tmp_path / "both.npz", "--dequantise")
    assert np.array_equal(np.load(tmp_path / "both.npz")["layers/embedding/vars/0"], rows / row_scale[:, None])


def broken() -> dict[str, Callable[[], Model]]:
    """Models of which a part is missing, of another shape or dtype, or says what cannot be."""

    def changed(name: str, config: Any = None, **parts: torch.Tensor | None) -> Callable[[], Model]:
        def make() -> Model:
            model = MODELS[name]()
            packed = {key: value for key, value in (model.packed | {f"l.{k}": v for k, v in parts.items()}).items() if value is not None}
            return model._replace(packed=packed, config=model.config if config is None else config)

        return make

    def state(text: str) -> torch.Tensor:
        return torch.tensor(list(text.encode()), dtype=torch.uint8)

    nf4 = {"quant_type": "nf4", "blocksize": 64, "shape": [24, 64]}
    states = {
        "not JSON": "{",
        "a list": "[]",
        "a huge shape": json.dumps(nf4 | {"shape": [2**62, 2**62]}),
        "true": json.dumps(nf4 | {"blocksize": True}),
        "no block": json.dumps(nf4 | {"blocksize": 0}),
        "below zero": json.dumps(nf4 | {"shape": [-24, -64]}),
        "other": json.dumps(nf4 | {"shape": [24, 65]}),
        "deep": "[" * 100_000,
        "twice": '{"shape": [24, 64], "shape": [24, 64], "blocksize": 64}',
        "nested": json.dumps(nf4 | {"nested_blocksize": 256}),
    }
    cases = {f"nf4, {what}": changed("nf4", **{"weight.quant_state.bitsandbytes__nf4": state(text)}) for what, text in states.items()}
    return cases | {
        "no scales": changed("gptq-4", scales=None),
        "no zero points": changed("gptq-4", qzeros=None),
        "a group that there is none of": changed("gptq-4-act-order", g_idx=torch.full((64,), 9, dtype=torch.int32)),
        "a group below zero": changed("gptq-4-act-order", g_idx=torch.full((64,), -1, dtype=torch.int32)),
        "too few groups": changed("gptq-4", g_idx=torch.zeros(63, dtype=torch.int32)),
        "scales of integers": changed("gptq-4", scales=torch.zeros(4, 96, dtype=torch.int32)),
        "zero points of no bits": changed("gptq-4", qzeros=torch.zeros(4, 5, dtype=torch.int32)),
        "no scales of a row": changed("compressed-4", weight_scale=torch.ones(69, 1)),
        "another shape": changed("compressed-4", weight_shape=torch.tensor([70, 10**15])),
        "rows below zero": changed("compressed-4", weight_shape=torch.tensor([-70, 96])),
        "no shape": changed("compressed-4", weight_shape=None),
        "a long shape": changed("compressed-4", weight_shape=torch.zeros(1000, dtype=torch.int64)),
        "zero points of another size": changed("compressed-4-zeros", weight_zero_point=torch.zeros(2, 3, dtype=torch.int32)),
        "no table": changed("nf4", **{"weight.quant_map": None}),
        "a short table": changed("nf4", **{"weight.quant_map": torch.zeros(15)}),
        "few scales": changed("nf4", **{"weight.absmax": torch.zeros(3)}),
        "scales that fit nothing": changed("fp8-rows", weight_scale=torch.ones(63, 1)),
        "no biases": changed("mlx-4", biases=None),
        "bits that do not fit": changed("mlx-4", {"quantization": {"bits": 8, "group_size": 32}}),
        "bits of a float": changed("mlx-4", {"quantization": {"bits": 4.0, "group_size": 32}}),
        "an absurd group": changed("mlx-4", {"quantization": {"bits": 4, "group_size": 10**30}}),
        "no bits": changed("mlx-4", {}),
        "groups of AWQ": changed("awq-gemm", {"quantization_config": {"quant_method": "awq", "group_size": 7}}),
        "rows of NVFP4": changed("nvfp4-compressed", weight_scale=torch.ones(23, 5).to(torch.float8_e4m3fn)),
        "no global scale": changed("nvfp4-compressed", weight_global_scale=None),
        "blocks of 15": changed("mxfp4-gpt-oss", experts=None),
        "an old layout": changed("bitsandbytes-int8", weight_format=torch.ones((), dtype=torch.uint8)),
        "zero points that are floats": lambda: Model("", {"l.weight.tensor_impl.int_data": torch.zeros(2, 2, dtype=torch.int8), "l.weight.tensor_impl.scale": torch.ones(2), "l.weight.tensor_impl.zero_point": torch.ones(2)}, {}),  # noqa: E501
    }  # fmt: skip


BROKEN = broken() | {
    "blocks of 15": lambda: Model("", {"e_blocks": torch.zeros(2, 4, 3, 15, dtype=torch.uint8), "e_scales": torch.zeros(2, 4, 3, dtype=torch.uint8)}, {})  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_parts_that_do_not_fit_are_one_line(what: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(BROKEN[what](), tmp_path / "m")
    failed = ckpt("convert", path, tmp_path / "no.safetensors", "--dequantise", status=2)
    assert failed.out == "" and failed.err.count("\n") == 1 and re.match(r"ckpt: error: \S+model.safetensors: ", failed.err), failed.err
    assert not (tmp_path / "no.safetensors").exists()
    assert ckpt("ls", path).out and ckpt("summary", path).out and ckpt("hash", path).out


@pytest.mark.parametrize(
    "tensors",
    [
        {"l.weight": torch.ones(2, 2), "l.weight_scale": torch.ones(2)},
        {"l.scale": torch.ones(2), "l.bias": torch.ones(2)},
        {"l.scales": torch.ones(2), "l.weight": torch.ones(2, 2)},
        {"l.qdata": torch.ones(2, dtype=torch.int8)},
        {"a_blocks": torch.ones(2, dtype=torch.uint8)},
        {"l.SCB": torch.ones(2), "l.weight": torch.ones(2, 2)},
        {"conv.weight": torch.ones(2, 2, dtype=torch.int8)},
        {"l.weight": torch.ones(2, 2).to(torch.float8_e4m3fn)},
    ],
    ids=lambda tensors: " ".join(tensors),
)
def test_what_only_looks_alike_is_plain(tensors: dict[str, torch.Tensor], tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "m.safetensors"
    save_file(tensors, path)
    assert ckpt("summary", path, "--json").json["packed"] == {}
    ckpt("convert", path, tmp_path / "out.safetensors", "--dequantise")
    same(load_file(tmp_path / "out.safetensors"), tensors)
    ckpt("cast", path, "bfloat16", "-o", tmp_path / "cast.safetensors")


def test_a_plain_weight_beside_a_packed_one_is_an_error(tmp_path: Path, ckpt: Ckpt) -> None:
    model = MODELS["gptq-4"]()
    path = written(model._replace(packed=model.packed | {"l.weight": torch.ones(2)}), tmp_path / "m")
    assert "l.weight is there, and l.qweight" in ckpt("convert", path, tmp_path / "no.npz", "--dequantise", status=2).err


def test_a_config_that_is_no_file_or_no_config_is_left(tmp_path: Path, ckpt: Ckpt) -> None:
    model = MODELS["fp8-rows"]()
    for number, text in enumerate(["", "[]", '{"quantization_config": 3}', "[" * 99_999, '{"quantization_config": {"bits": "4"}}']):
        path = written(model, tmp_path / str(number))
        (path.parent / "config.json").write_text(text)
        ckpt("convert", path, tmp_path / f"{number}.safetensors", "--dequantise")
        same(load_file(tmp_path / f"{number}.safetensors"), model.plain)


RIGHT = {
    "fp8-scale/model.safetensors": ("right.safetensors", "bfloat16", "safetensors"),
    "bitsandbytes-nf4/model.safetensors": ("right.safetensors", "float32", "safetensors"),
    "torchao-int8/a.pt": ("right.pt", "float32", "pt"),
    "torch-qint8/a.pt": ("right.pt", "float32", "pt"),
}


@reports
@pytest.mark.parametrize("name", RIGHT)
def test_reports(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    """Files of public bug reports: refused without the word, with it what the writer's own library says, in its own format, too."""
    right, dtype, suffix = RIGHT[name]
    source, right_path = REPORTS / name, (REPORTS / name).parent / right
    for target in {"safetensors", suffix}:
        path = tmp_path / f"plain.{target}"
        refused = ckpt("convert", source, path, "--dtype", dtype, status=2)
        assert refused.err.count("\n") == 1 and "--dequantise" in refused.err and not path.exists()
        ckpt("convert", source, path, "--dtype", dtype, "--dequantise")
        assert ckpt("diff", path, right_path).out == ""
    shutil.copy(source, tmp_path / source.name)
    ckpt("cast", tmp_path / source.name, dtype, "--dequantise", "-i")
    assert ckpt("diff", tmp_path / source.name, right_path).out == ""
    plain = torch.load(right_path) if suffix == "pt" else load_file(right_path)
    assert ckpt("summary", source, "--json").json["params"] == sum(tensor.numel() for tensor in plain.values())


@reports
def test_keras_int8_of_the_reports(tmp_path: Path, ckpt: Ckpt) -> None:
    source, right = REPORTS / "keras-int8/model.keras", np.load(REPORTS / "keras-int8/right.npz")
    ckpt("convert", source, tmp_path / "plain.npz", "--dequantise")
    found = np.load(tmp_path / "plain.npz")
    assert np.array_equal(found["layers/dense/vars/0"], right["a"]) and np.array_equal(found["layers/dense_1/vars/0"], right["b"])
    assert len(found.files) == 4
    ckpt("cast", source, "float32", "--dequantise", "-o", tmp_path / "plain.keras")
    archive = tmp_path / "plain.keras"
    assert b"Quantized" not in archive.read_bytes() and b'"int8"' not in archive.read_bytes()
    assert ckpt("diff", source, archive, "--dequantise").out == ""
    assert ckpt("diff", REPORTS / "torchao-int8/a.pt", REPORTS / "torchao-int8/b.pt", "--dequantise", status=1).rows[0][1] == "0.weight"


@reports
@pytest.mark.parametrize(
    ("name", "title", "count"),
    [
        ("bnb_nf4", "bitsandbytes nf4, block 64", 7),
        ("ct_int8", "compressed-tensors 8 bit, scale per row", 7),
        ("ct_nvfp4", "NVFP4, group 16", 7),
    ],
)
def test_models_of_llama_are_known(name: str, title: str, count: int, ckpt: Ckpt) -> None:
    """One model of transformers, packed in three ways, is close to itself."""
    summary = ckpt("summary", CASES / "quant" / name, "--json").json
    assert summary["packed"][title]["parameters"] == count and summary["packed"][title]["elements"] == 36864
    rows = ckpt("diff", CASES / "quant" / name, CASES / "quant/ct_int8", "*proj.weight", "--dequantise", status=None).rows
    assert all(float(row[7]) > 0.99 for row in rows if row[0] == "changed")


def test_the_advice_on_an_edit_of_a_quantised_tensor_works(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.pt"
    torch.save({"w": torch.quantize_per_tensor(torch.ones(2, 3), 0.5, 0, torch.qint8)}, path)
    said = ckpt("set", path, "w[0,0] = 7", "-i", status=2).err
    assert "`ckpt cast … float32 'w' --dequantise`" in said
    ckpt("cast", path, "float32", "w", "--dequantise", "-i")
    ckpt("set", path, "w[0,0] = 7", "-i")
    assert torch.load(path)["w"].tolist() == [[7, 1, 1], [1, 1, 1]]
