"""`ckpt hash`: digests against hashlib, and the same weights hash the same whatever holds them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from conftest import CASES, SAMPLES, WHOLE, Ckpt, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import DTYPES, SAFE_DTYPES, bits, example, safetensors_file
from safetensors.torch import save_file

from ckpt_cli import reading
from ckpt_cli.analysis.digest import digests, whole

Case = Callable[[str], Path]


def expected(tensors: dict[str, torch.Tensor]) -> list[list[str]]:
    """The records that the contract promises, by hashlib alone."""
    facts = [(name, *bits(tensor)) for name, tensor in tensors.items()]
    rows = [[sha256(raw).hexdigest(), name, dtype, "x".join(map(str, shape))] for name, dtype, shape, raw in facts]
    lines = sorted(f"{name}\t{dtype}\t{shape}\t{digest}\n".encode() for digest, name, dtype, shape in rows)
    return [*rows, [sha256(b"".join(lines)).hexdigest(), "*", "", ""]]


WEIGHTS = {
    "b.weight": example("float32", 8, 4),
    "a.bias": example("bfloat16", 3, seed=1),
    "empty": example("int64", 0, 2),
    "s": example("bool"),
}


def test_pipe_and_json(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(WEIGHTS, path)
    rows = expected(WEIGHTS)
    assert ckpt("hash", path).rows == rows
    assert ckpt("hash", path, "--json").json == {
        "path": str(path),
        "format": "torch",
        "sha256": rows[-1][0],
        "tensors": [
            {"name": name, "dtype": dtype, "shape": [int(n) for n in shape.split("x") if n], "sha256": digest}
            for digest, name, dtype, shape in rows[:-1]
        ],
    }


def test_the_whole_is_of_what_was_picked(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pt")
    assert ckpt("hash", tmp_path / "w.pt", "*.weight", "s").rows == expected({"b.weight": WEIGHTS["b.weight"], "s": WEIGHTS["s"]})
    assert "did you mean" in ckpt("hash", tmp_path / "w.pt", "b.weigth", status=2).err


def test_independent_of_format_order_and_strides(ckpt: Ckpt, tmp_path: Path) -> None:
    turned = {name: tensor.t().contiguous().t() if tensor.dim() == 2 else tensor for name, tensor in reversed(WEIGHTS.items())}
    torch.save(WEIGHTS, tmp_path / "a.pt")
    torch.save(turned, tmp_path / "b.pt")
    torch.save(WEIGHTS, tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    save_file(WEIGHTS, tmp_path / "d.safetensors")
    answers = [ckpt("hash", tmp_path / name).rows for name in ("a.pt", "b.pt", "c.pt", "d.safetensors")]
    assert {rows[-1][0] for rows in answers} == {expected(WEIGHTS)[-1][0]}
    assert all(sorted(rows) == sorted(answers[0]) for rows in answers)


@pytest.mark.parametrize("change", ["value", "name", "dtype", "shape"])
def test_anything_else_changes_the_whole(ckpt: Ckpt, tmp_path: Path, change: str) -> None:
    before = torch.arange(6, dtype=torch.int32)
    after = {
        "value": ("w", before + 1),
        "name": ("v", before),
        "dtype": ("w", before.view(torch.uint32)),
        "shape": ("w", before.reshape(2, 3)),
    }
    torch.save({"w": before}, tmp_path / "a.pt")
    torch.save(dict([after[change]]), tmp_path / "b.pt")
    one, two = (ckpt("hash", tmp_path / name).rows for name in ("a.pt", "b.pt"))
    assert one[-1] != two[-1]
    assert (one[0][0] == two[0][0]) == (change != "value")


@settings(max_examples=examples(20), deadline=None)
@given(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=3), st.integers(0, 2**31))
def test_every_dtype(tmp_path_factory: pytest.TempPathFactory, dtype: str, shape: list[int], seed: int) -> None:
    tensors = {"w": example(dtype, *shape, seed=seed), "x.y": example("int8", 2)}
    path = tmp_path_factory.mktemp("hash") / "w"
    torch.save(tensors, path) if dtype not in SAFE_DTYPES or seed % 2 else save_file(tensors, path)
    found = list(digests(reading.open(str(path))))
    rows = {row[1]: row for row in expected(tensors)}
    assert {digest.name: list(digest) for digest in found} == {name: row for name, row in rows.items() if name != "*"}
    assert whole(found) == rows["*"][0]


def test_forked_is_the_same(tmp_path: Path) -> None:
    tensors = {f"w.{at}": example("float32", 1000 * at, seed=at) for at in range(12)}
    save_file(tensors, tmp_path / "w.safetensors")
    checkpoint = reading.open(str(tmp_path / "w.safetensors"))
    alone, side_by_side = list(digests(checkpoint, workers=1)), list(digests(checkpoint, workers=3))
    assert alone == side_by_side
    assert [list(digest) for digest in sorted(alone)] == sorted(expected(tensors)[:-1])


@pytest.mark.skipif(not WHOLE, reason="reads 2 GB; test_diff.py does so every day: make test-all")
def test_a_tensor_of_more_than_two_to_the_31_elements(ckpt: Ckpt, tmp_path: Path) -> None:
    """2^31 zeros and a 3, sparse on disk: `(head -c 2147483648 /dev/zero; printf '\\3') | sha256sum`."""
    count = 2**31 + 1
    with (tmp_path / "w").open("wb") as file:
        file.write(safetensors_file({"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}))
        file.seek(count - 1, 1)
        file.write(b"\x03")
    digest = "00041112d321eb864e582781b924b9f0a433bf55fd4f1436e93e30785fdc41e3"
    assert ckpt("hash", tmp_path / "w").rows[0] == [digest, "w", "uint8", str(count)]


def test_tied_names_have_a_line_each(ckpt: Ckpt) -> None:
    rows = ckpt("hash", SAMPLES / "shared-mlp.pt").rows
    assert len(rows) == len(torch.load(SAMPLES / "shared-mlp.pt")) + 1
    assert len({row[0] for row in rows}) < len(rows)


def of_bytes(*runs: bytes) -> str:
    return sha256(b"".join(runs)).hexdigest()


def test_a_sparse_tensor_is_hashed_by_its_indices_and_its_values(ckpt: Ckpt, tmp_path: Path) -> None:
    coo, csr = torch.eye(2).to_sparse().coalesce(), (2 * torch.eye(2)).to_sparse_csr()
    torch.save({"w": torch.ones(2), "coo": coo, "csr": csr}, tmp_path / "w.pt")
    found = {row[1]: row[0] for row in ckpt("hash", tmp_path / "w.pt").rows}
    assert found["coo"] == of_bytes(coo.indices().numpy().tobytes(), coo.values().numpy().tobytes())
    assert found["csr"] == of_bytes(*(part().numpy().tobytes() for part in (csr.crow_indices, csr.col_indices, csr.values)))


QUANTISED = {
    "tensor": torch.quantize_per_tensor(torch.arange(4.0), 0.5, 2, torch.quint8),
    "wide": torch.quantize_per_tensor(torch.arange(4.0), 0.1, -7, torch.qint32),
    "strided": torch.quantize_per_tensor(torch.arange(6.0).reshape(2, 3), 0.25, 0, torch.qint8).t(),
    "channels": torch.quantize_per_channel(torch.ones(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_a_quantised_tensor_is_hashed_with_its_quantiser(name: str, ckpt: Ckpt, tmp_path: Path) -> None:
    tensor = QUANTISED[name]
    torch.save({"w": tensor}, tmp_path / "w.pt")
    integers = tensor.int_repr().contiguous().numpy().tobytes()
    if name == "channels":
        scales, zeros = tensor.q_per_channel_scales().double(), tensor.q_per_channel_zero_points().long()
        quantiser = scales.numpy().tobytes() + zeros.numpy().tobytes() + struct.pack("<q", tensor.q_per_channel_axis())
    else:
        quantiser = struct.pack("<dq", tensor.q_scale(), tensor.q_zero_point())
    assert ckpt("hash", tmp_path / "w.pt").rows[0][0] == of_bytes(integers, quantiser)


def test_bytes_that_are_in_no_tensor_are_hashed_too(ckpt: Ckpt, tmp_path: Path) -> None:
    storage = torch.UntypedStorage(4).fill_(7)
    torch.save({"w": torch.ones(2), "raw": storage}, tmp_path / "w.pt")
    *tensors, raw, whole = ckpt("hash", tmp_path / "w.pt").rows
    assert raw == [of_bytes(bytes([7] * 4)), "raw", "bytes", "4"]
    assert whole[0] == of_bytes(*sorted(f"{name}\t{dtype}\t{shape}\t{digest}\n".encode() for digest, name, dtype, shape in [*tensors, raw]))
    assert len(ckpt("hash", tmp_path / "w.pt", "w").rows) == 2


def readable() -> list[str]:
    """The real checkpoints of the formats that are read."""
    if not CASES.is_dir():
        return []
    index = json.loads((CASES / "expect" / "INDEX.json").read_text())
    known = ("torch/", "safetensors/", "lightning/")
    return [record["file"] for record in index if record["kind"] == "file" and record["file"].startswith(known)]


def recorded(name: str) -> list[dict[str, object]]:
    return list(json.loads((CASES / "expect" / (name.replace("/", "__") + ".json")).read_text())["tensors"])


@pytest.mark.parametrize("name", readable() or ["none"])
def test_real_checkpoints(ckpt: Ckpt, case: Case, name: str) -> None:
    result = ckpt("hash", case(name), "--json", status=None)
    if result.status:
        pytest.skip(result.err)
    found = {one["name"]: one["sha256"] for one in result.json["tensors"] if one["sha256"]}
    plain = {one["name"] for one in result.json["tensors"] if not one["dtype"].startswith("q")}
    want = {one["name"]: one["sha256"] for one in recorded(name) if one.get("sha256") and one["name"] in plain}
    assert want or not plain
    assert {name: found[name] for name in want} == want
