"""GGUF: what llama.cpp's own package writes is read, what ckpt writes it reads, and blocks are decoded as it decodes them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cases
import gguf
import numpy as np
import pytest
from conftest import Ckpt, examples
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, quants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_cli import reading
from ckpt_cli.formats import formats
from ckpt_cli.numbers.dtypes import DTYPES
from ckpt_cli.numbers.quantised import decodable
from ckpt_cli.storage.file import File

REUSE = settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
}
BLOCKS = [one.name for one in Type if one.name not in PLAIN]
DECODED = [name for name in BLOCKS if decodable(DTYPES[name])]
NO_FORMULA = ("Q8_1", "Q8_K")  # the package knows none for these, which are found in memory alone

Tensors = dict[str, tuple[np.ndarray[Any, Any], Type | None]]


def written(path: Path, tensors: Tensors, alignment: int = 32, **values: Any) -> Path:
    """A file by the package's own writer; the bytes of blocks are given as rows of uint8."""
    writer = GGUFWriter(path, "llama")
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    for key, value in values.items():
        {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32, bool: writer.add_bool, list: writer.add_array}[
            type(value)
        ](key, value)
    for name, (data, kind) in tensors.items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def theirs(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """What the package reads: type, shape and bytes of each tensor, in order."""
    return {t.name: (t.tensor_type.name, t.shape.tolist()[::-1], t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


def fields(path: Path) -> dict[str, tuple[list[str], Any]]:
    """What the package reads besides: types and values by key, without what it counts itself."""
    found = gguf.GGUFReader(path).fields
    return {key: ([kind.name for kind in f.types], f.contents()) for key, f in found.items() if not key.startswith("GGUF.")}


def blocks(name: str, rows: int = 3, each: int = 2, seed: int = 0) -> np.ndarray[Any, Any]:
    """Random rows of `each` blocks; any bytes are a block."""
    return np.random.default_rng(seed).integers(0, 256, (rows, each * DTYPES[name].nbytes), dtype=np.uint8)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Floats between blocks, and a vocabulary."""
    random = np.random.default_rng(1)
    weight = random.standard_normal((4, 256)).astype("f4")
    tensors: Tensors = {
        "token_embd.weight": (quants.quantize(weight, Type.Q8_0), Type.Q8_0),
        "blk.0.attn_norm.weight": (random.standard_normal(7).astype("f4"), None),
        "blk.0.attn_q.weight": (quants.quantize(weight, Type.Q4_0), Type.Q4_0),
        "blk.0.attn_k.weight": (weight.astype("f2"), None),
    }
    return written(tmp_path / "m.gguf", tensors, n=3, f=0.1, yes=True, say="line\nbreak", words=[f"w{i}" for i in range(1000)], few=[1, 2])


# Reading


@cases.every_case("gguf")
def test_every_real_file_is_as_told(record: dict[str, Any], ckpt: Ckpt) -> None:
    blocks = {tensor["name"] for tensor in cases.expected(record)["tensors"] if "dtype" not in tensor}
    if not blocks:
        cases.is_as_told(record, ckpt)
    told = cases.expected(record)["metadata"]
    found = cases.opened(record)
    for key, value in told.items():
        if not key.startswith("GGUF."):
            shown = found.objects[key] if isinstance(value, list) else found.metadata[key]
            assert shown == (value if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value))
    assert list(found.metadata) + list(found.objects) != [] and len(found) == told["GGUF.tensor_count"]


@pytest.mark.parametrize("name", [*PLAIN, *(name for name in BLOCKS if name != "Q8_1")])
def test_every_type_of_the_package_is_listed_with_its_true_shape_and_size(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    dtype = DTYPES[PLAIN.get(name, name)]
    assert (dtype.elements, dtype.nbytes) == gguf.GGML_QUANT_SIZES[Type[name]]
    path = written(tmp_path / "a.gguf", {"x": (blocks(dtype.name), Type[name]), "y": (np.ones(3, "f4"), None)})
    (row, other) = ckpt("ls", path).rows
    assert row == ["x", dtype.name, f"3x{2 * dtype.elements}", str(6 * dtype.elements), str(6 * dtype.nbytes), ""]
    assert other[0] == "y" and reading.open(str(path))["x"].tobytes() == blocks(dtype.name).tobytes()


def test_every_block_type_of_the_package_is_in_the_table_of_dtypes() -> None:
    assert set(BLOCKS) <= set(DTYPES) and len(DECODED) >= 16


def test_123_tensors_which_begin_as_the_json_of_safetensors_does_are_gguf(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(tmp_path / "a.bin", {f"w.{i}": (np.zeros(1, "f4"), None) for i in range(ord("{"))})
    assert [form.name for form in formats.values() if form.sniff(File(str(path)))] == ["gguf"]
    assert len(ckpt("ls", path).rows) == 123


def test_a_vocabulary_is_metadata_by_its_length_alone(mixed: Path, ckpt: Ckpt) -> None:
    said = ckpt("summary", mixed, "--json").json
    assert said["metadata"]["general.architecture"] == "llama" and said["metadata"]["yes"] == "true" and said["metadata"]["f"] == "0.1"
    assert ckpt("get", mixed, "words").out == "1,000 of string: w0, w1, w2, …\n"
    assert ckpt("get", mixed, "few").out == "[1, 2]\n"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_versions_and_both_byte_orders_are_read(version: int, order: str, tmp_path: Path, ckpt: Ckpt) -> None:
    def text(value: str) -> bytes:
        return struct.pack(order + "Q", len(value)) + value.encode()

    head = b"GGUF" + struct.pack(order + "IQQ", version, 1, 2)
    head += text("general.architecture") + struct.pack(order + "I", 8) + text("llama") + text("n") + struct.pack(order + "Id", 12, 0.5)
    head += text("x") + struct.pack(order + "IQQIQ", 2, 3, 2, 0, 0)
    path = tmp_path / "a.gguf"
    path.write_bytes(head + bytes(-len(head) % 32) + np.arange(6, dtype=order + "f4").tobytes())
    assert ckpt("get", path, "x", "--json").json["values"] == [[0, 1, 2], [3, 4, 5]]
    assert reading.open(str(path)).metadata["n"] == "0.5"
    ckpt("set", path, "x[1,2] = 9", "-o", tmp_path / "b.gguf")
    assert ckpt("get", tmp_path / "b.gguf", "x[1]", "--json").json["values"] == [3, 4, 9]
    if order == "<":
        return
    big = gguf.GGUFReader(tmp_path / "b.gguf")
    assert big.endianess == gguf.GGUFEndian.BIG and big.tensors[0].data.tolist() == [[0, 1, 2], [3, 4, 9]]


# Blocks as numbers


@pytest.mark.parametrize("name", [name for name in DECODED if name not in NO_FORMULA])
def test_blocks_are_decoded_bit_for_bit_as_the_package_decodes_them(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    rows = blocks(name, rows=20, each=7)
    path = written(tmp_path / "a.gguf", {"x": (rows, Type[name])})
    with np.errstate(all="ignore"):
        want = quants.dequantize(rows, Type[name])
    out = tmp_path / "x.npy"
    ckpt("get", path, "x", "-o", out)
    np.testing.assert_array_equal(np.load(out), want)
    part = tmp_path / "part.npy"
    ckpt("get", path, "x[3, 5:90:7]", "-o", part)
    np.testing.assert_array_equal(np.load(part), want[3, 5:90:7])


@pytest.mark.parametrize(("name", "scale"), [("Q8_1", "<f2"), ("Q8_K", "<f4")])
def test_eight_bits_and_a_scale_are_their_product(name: str, scale: str) -> None:
    from ckpt_cli.storage.storage import Memory
    from ckpt_cli.tensors.tensor import Tensor

    dtype = DTYPES[name]
    fields: list[Any] = [("d", scale), ("rest", "u1", dtype.nbytes - np.dtype(scale).itemsize - (0 if name == "Q8_1" else 32))]
    block = np.zeros(2, np.dtype([*fields, *([("sums", "<i2", 16)] if name == "Q8_K" else [])]))
    block["d"] = [0.5, -2]
    numbers = np.random.default_rng(0).integers(-128, 128, (2, dtype.elements), dtype="i1")
    block["rest"][:, -dtype.elements :] = numbers.view("u1")
    found = Tensor.whole(dtype, (2, dtype.elements), Memory(block.tobytes())).decoded().array()
    assert found.tolist() == (numbers * np.array([[0.5], [-2]])).tolist()


def test_stats_diff_and_finite_look_at_the_numbers(mixed: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    values = quants.dequantize(np.frombuffer(theirs(mixed)["blk.0.attn_q.weight"][2], "u1").reshape(4, -1), Type.Q4_0).astype("f8")
    (row,) = ckpt("stats", mixed, "blk.0.attn_q.weight", "--json").json["tensors"]
    assert row["dtype"] == "Q4_0" and (row["min"], row["max"]) == (values.min(), values.max())
    assert row["mean"] == pytest.approx(values.mean()) and row["std"] == pytest.approx(values.std())
    assert sum(ckpt("stats", mixed, "blk.0.attn_q.weight", "--hist", "--json").json["tensors"][0]["histogram"]["counts"]) == 1024
    wide = tmp_path / "wide.gguf"
    ckpt("cast", mixed, "float32", "blk.0.attn_q.weight", "-o", wide)
    assert [row[:2] for row in ckpt("diff", mixed, wide, status=1).rows] == [["dtype", "blk.0.attn_q.weight"]]
    ckpt("set", wide, "blk.0.attn_q.weight[0,0] += 1", "-i")
    (changed,) = ckpt("diff", mixed, wide, "--json", status=1).json["differences"]
    assert changed["changed"] == 1 and changed["max_abs"] == pytest.approx(1)
    assert ckpt("check", mixed, "--finite").status == 0


def test_a_scale_that_is_nan_is_no_finite_block(tmp_path: Path, ckpt: Ckpt) -> None:
    rows = np.zeros((1, 34), np.uint8)
    rows[0, 1] = 0x7E
    path = written(tmp_path / "a.gguf", {"x": (rows, Type.Q8_0)})
    assert "NaN at [0,0]; 32 NaN" in ckpt("check", path, "--finite", status=1).out


def test_two_files_of_blocks_differ_by_their_numbers(mixed: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    other = tmp_path / "other.gguf"
    raw = bytearray(mixed.read_bytes())
    tensor = next(t for t in gguf.GGUFReader(mixed).tensors if t.name == "token_embd.weight")
    raw[tensor.data_offset + 2] ^= 1
    other.write_bytes(raw)
    (row,) = ckpt("diff", mixed, other, "--json", status=1).json["differences"]
    assert (row["status"], row["name"], row["changed"], row["first"]) == ("changed", "token_embd.weight", 1, [0, 0])


def test_hash_is_of_the_bytes_as_they_are_kept(mixed: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    from hashlib import sha256

    found = {row[1]: row[0] for row in ckpt("hash", mixed).rows}
    assert all(found[name] == sha256(raw).hexdigest() for name, (_, _, raw) in theirs(mixed).items())


@pytest.mark.parametrize("edit", [["set", "token_embd.weight = 0"], ["set", "token_embd.weight[0] += 1"], ["reinit", "token_*=zeros"]])
def test_blocks_are_not_edited_and_the_error_says_the_mend(edit: list[str], mixed: Path, ckpt: Ckpt) -> None:
    error = ckpt(edit[0], mixed, edit[1], "-n", status=2).err
    assert "token_embd.weight is Q8_0: values in blocks cannot be edited" in error and "ckpt cast … float32" in error
    assert "is not" not in error and "Q4_0" in ckpt("cast", mixed, "q4_0", "-n", status=2).err


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_blocks_go_elsewhere_as_floats_alone(suffix: str, mixed: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    target = tmp_path / f"a{suffix}"
    error = ckpt("convert", mixed, target, status=2).err
    assert "Q8_0" in error and "--dtype float32" in error and not target.exists()
    for dtype in ("float32", "bfloat16", "float16"):
        ckpt("convert", mixed, target, "--dtype", dtype, "--force")
        assert {row[1] for row in ckpt("ls", target).rows} == {dtype}
    ckpt("convert", mixed, target, "--dtype", "float32", "--force")
    assert {row[0] for row in ckpt("diff", mixed, target, status=1).rows} == {"dtype"}
    assert all(row.get("changed", 0) == 0 for row in ckpt("diff", mixed, target, "--json", status=1).json["differences"])


# Writing


def test_a_value_is_set_in_place_and_no_other_byte_changes(mixed: Path, ckpt: Ckpt) -> None:
    before = mixed.read_bytes()
    ckpt("set", mixed, "blk.0.attn_norm.weight[2] = 42", "blk.0.attn_k.weight[0,1] = -1", "-i")
    after = mixed.read_bytes()
    at = {t.name: t.data_offset for t in gguf.GGUFReader(mixed).tensors}
    places = {
        *range(at["blk.0.attn_norm.weight"] + 8, at["blk.0.attn_norm.weight"] + 12),
        *range(at["blk.0.attn_k.weight"] + 2, at["blk.0.attn_k.weight"] + 4),
    }
    assert len(before) == len(after) and {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b} <= places
    assert {t.name: t.data for t in gguf.GGUFReader(mixed).tensors}["blk.0.attn_norm.weight"][2] == 42


def test_reinit_fills_what_has_plain_elements(mixed: Path, ckpt: Ckpt) -> None:
    ckpt("reinit", mixed, "*norm*=constant(2)", "*attn_k*=normal(0, 1)", "--seed", "0", "-i")
    assert np.frombuffer(theirs(mixed)["blk.0.attn_norm.weight"][2], "f4").tolist() == [2] * 7


def test_what_is_rebuilt_keeps_metadata_with_types_order_alignment_and_blocks(tmp_path: Path, ckpt: Ckpt) -> None:
    tensors: Tensors = {name: (blocks(DTYPES[PLAIN.get(name, name)].name), Type[name]) for name in ("F16", "Q4_K", "I8", "IQ2_XS", "Q6_K")}
    path = written(tmp_path / "a.gguf", tensors, alignment=64, say="x", n=3, words=["a", "b"], nums=[1.5, 2.5], yes=False)
    out = tmp_path / "b.gguf"
    ckpt("drop", path, "I8", "-o", out)
    want = theirs(path)
    del want["I8"]
    assert theirs(out) == want and list(theirs(out)) == list(want) and fields(out) == fields(path)
    assert gguf.GGUFReader(out).alignment == 64
    ckpt("rename", path, "*=blk.*", "-o", out, "--force")
    assert list(theirs(out).values()) == list(theirs(path).values()) and list(theirs(out)) == [f"blk.{name}" for name in tensors]
    ckpt("rename", out, "blk.*=*", "-i")
    assert out.read_bytes() == path.read_bytes()


def test_what_stands_behind_the_last_tensor_stays_there(mixed: Path, ckpt: Ckpt) -> None:
    mixed.write_bytes(mixed.read_bytes() + b"a signature")
    ckpt("rename", mixed, "*=x.*", "-i")
    assert mixed.read_bytes().endswith(b"a signature") and len(theirs(mixed)) == 4


def test_metadata_are_set_in_the_type_that_they_have(mixed: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    before, size = fields(mixed), mixed.stat().st_size
    inode = mixed.stat().st_ino
    ckpt("set", mixed, "n = 7", "f = 2.5", "yes = false", "blk.0.attn_norm.weight = 1", "-i")
    assert (mixed.stat().st_size, mixed.stat().st_ino) == (size, inode)  # in place
    want = before | {"n": (["UINT32"], 7), "f": (["FLOAT32"], 2.5), "yes": (["BOOL"], False)}
    assert fields(mixed) == want and np.frombuffer(theirs(mixed)["blk.0.attn_norm.weight"][2], "f4").tolist() == [1] * 7
    tensors = theirs(mixed)
    ckpt("set", mixed, 'say = "a = longer\\n text"', "general.architecture = gpt2", "-o", tmp_path / "b.gguf")
    want |= {"say": (["STRING"], "a = longer\n text"), "general.architecture": (["STRING"], "gpt2")}
    assert fields(tmp_path / "b.gguf") == want and theirs(tmp_path / "b.gguf") == tensors


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("n = -1", "n is uint32 and cannot hold '-1'"),
        ("n = 4294967296", "n is uint32 and cannot hold '4294967296'"),
        ("n = x", "cannot hold 'x'"),
        ("yes = 2", "yes is bool and cannot hold '2'"),
        ('say = "a"b"', "is no JSON text"),
        ("words = 3", "words is no tensor"),
    ],
)
@pytest.mark.parametrize("place", ["-i", "-n"])
def test_metadata_that_do_not_fit_are_refused(assignment: str, says: str, place: str, mixed: Path, ckpt: Ckpt) -> None:
    before = mixed.read_bytes()
    assert says in ckpt("set", mixed, assignment, place, status=2).err and mixed.read_bytes() == before


def test_metadata_are_set_where_there_are_no_tensors(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(tmp_path / "vocabulary.gguf", {}, say="x")
    ckpt("set", path, "say = y", "-i")
    assert fields(path)["say"][1] == "y"


def test_a_dry_run_tells_of_metadata(mixed: Path, sample: Any, ckpt: Ckpt) -> None:
    assert ckpt("set", mixed, "n = 7", "-n").err == "ckpt: metadata n: '3' becomes '7'\n"
    path = sample("shared-mlp.safetensors")
    ckpt("set", path, "format = np", "-i")
    assert ckpt("summary", path, "--json").json["metadata"] == {"format": "np"} and len(ckpt("tied", path).rows) == 2


def test_a_tensor_comes_before_a_key_of_the_metadata(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(tmp_path / "a.gguf", {"x": (np.ones(2, "f4"), None)}, x=3)
    ckpt("set", path, "x = 5", "-i")
    assert fields(path)["x"][1] == 3 and ckpt("get", path, "x", "--json").json["values"] == [5, 5]


def test_an_array_can_be_dropped(mixed: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("drop", mixed, "words", "-i")
    assert "words" not in fields(mixed) and fields(mixed)["few"] == (["ARRAY", "INT32"], [1, 2])


@REUSE
@given(data=st.data())
def test_any_floats_and_integers_go_there_and_back(data: st.DataObject, tmp_path: Path, ckpt: Ckpt) -> None:
    names = data.draw(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=15), min_size=1, max_size=5, unique=True))
    tensors: Tensors = {}
    for name in names:
        shape = data.draw(st.lists(st.integers(1, 5), max_size=4))
        tensors[name] = (np.ones(shape, data.draw(st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i4", "i8"]))), None)
    path = written(tmp_path / "a.gguf", tensors)
    there, back = tmp_path / "a.safetensors", tmp_path / "b.gguf"
    ckpt("convert", path, there, "--force")
    ckpt("convert", there, back, "--force")
    assert theirs(back) == theirs(path)
    assert ckpt("diff", path, there).out == "" and ckpt("hash", path).rows[-1] == ckpt("hash", there).rows[-1]


def test_what_comes_from_torch_is_read_by_the_package(sample: Any, tmp_path: Path, ckpt: Ckpt) -> None:
    out = tmp_path / "a.gguf"
    said = ckpt("convert", sample("shared-mlp.pt"), out).err
    assert "GGUF has no place for ties, and each name has its own copy (4.weight = 2.weight" in said
    assert fields(out)["general.architecture"] == (["STRING"], "unknown")
    assert list(theirs(out)) == [row[0] for row in ckpt("ls", sample("shared-mlp.pt")).rows]
    assert ckpt("diff", sample("mlp.pt"), out, status=1) and ckpt("diff", sample("shared-mlp.pt"), out, "--json", status=1).json
    ckpt("convert", sample("mlp.safetensors"), out, "--force")
    assert ckpt("diff", sample("mlp.safetensors"), out).out == ""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("{'x' * 65: torch.ones(2)}", "longer than 64 bytes (rename it"),
        ("{'x': torch.ones(1, 1, 1, 1, 1)}", "which has 5 dimensions: 4 at most"),
        ("{'x': torch.ones(2, dtype=torch.bool)}", "cannot hold x, which is bool (cast it: ckpt cast … int8 'x', or leave"),
        ("{'x': torch.ones(2, dtype=torch.float8_e5m2)}", "which is float8_e5m2 (cast it: --dtype float32, or leave it out: --drop 'x')"),
        ("{'x': torch.ones(2, dtype=torch.complex64)}", "cannot hold x, which is complex64 (leave it out"),
        ("{'x': torch.eye(2).to_sparse()}", "cannot hold x, which is sparse_coo (leave it out: --drop 'x')"),
    ],
)
def test_what_has_no_place_is_refused_before_a_byte_is_written(code: str, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    import torch

    torch.save(eval(code, {"torch": torch}), tmp_path / "a.pt")
    assert says in ckpt("convert", tmp_path / "a.pt", tmp_path / "a.gguf", status=2).err
    assert not (tmp_path / "a.gguf").exists()


def test_a_scalar_and_an_empty_tensor_are_kept(tmp_path: Path, ckpt: Ckpt) -> None:
    import torch

    torch.save({"one": torch.tensor(3.0), "none": torch.zeros(0, 4), "last": torch.ones(2)}, tmp_path / "a.pt")
    ckpt("convert", tmp_path / "a.pt", tmp_path / "a.gguf")
    assert ckpt("diff", tmp_path / "a.pt", tmp_path / "a.gguf").out == ""
