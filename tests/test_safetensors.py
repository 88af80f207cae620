"""safetensors: what the library writes is read, what ckpt writes the library loads, and a broken file is one line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from conftest import WHOLE, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import DTYPES, SAFE_DTYPES, all_bits, bits, example, loaded, read_bits, safetensors_file, safetensors_header
from torch import nn

from ckpt_cli.errors import Malformed
from ckpt_cli.formats.safetensors.format_safetensors import Safetensors
from ckpt_cli.formats.safetensors.header import Unusual
from ckpt_cli.storage.file import File

SHAPES: list[tuple[int, ...]] = [(), (0,), (3, 0, 2), (1,), (2, 3), (1, 2, 1, 3)]
REUSE = settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entry(dtype: str = "F32", shape: object = (1,), begin: object = 0, end: object = 4) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("dtype", SAFE_DTYPES)
def test_every_dtype_of_the_library_is_read_bit_for_bit(dtype: str, tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = {f"t{len(shape)}.{i}": example(dtype, *shape) for i, shape in enumerate(SHAPES)}
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path)
    rows = {row[0]: row for row in ckpt("ls", path).rows}
    for name, tensor in tensors.items():
        shape = "x".join(map(str, tensor.shape))
        assert rows[name] == [name, dtype, shape, str(tensor.numel()), str(tensor.numel() * tensor.element_size()), ""]
    assert read_bits(path) == all_bits(tensors)


@pytest.mark.parametrize("dtype", SAFE_DTYPES)
def test_every_dtype_is_written_as_the_library_reads_it(dtype: str, tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = {f"t{i}": example(dtype, *shape) for i, shape in enumerate(SHAPES)}
    torch.save(tensors, tmp_path / "a.pt")
    ckpt("convert", tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert all_bits(loaded(tmp_path / "a.safetensors")) == all_bits(tensors)


@REUSE
@given(
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=6, unique=True),
    seed=st.integers(0, 1000),
    dtypes=st.lists(st.sampled_from(SAFE_DTYPES), min_size=6, max_size=6),
)
def test_any_names_shapes_and_dtypes_survive_a_rebuild(names, seed, dtypes, tmp_path: Path, ckpt: Ckpt) -> None:
    choose = random.Random(seed)
    tensors = {f"{name}!": example(dtype, *choose.choice(SHAPES), seed=seed) for name, dtype in zip(names, dtypes, strict=False)}
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    safetensors.torch.save_file(tensors | {"extra": torch.ones(3)}, a, metadata={"z": "1", "a": "2"})
    ckpt("drop", a, "extra", "-o", b, "--force")
    assert all_bits(loaded(b)) == all_bits(tensors)
    assert read_bits(b) == all_bits(tensors)
    assert list(safetensors_header(b)["__metadata__"].items()) == [("a", "2"), ("z", "1")]


def test_any_order_of_offsets_and_names_is_read_and_kept_by_a_value_edit(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.safetensors"
    header = {"b": entry(begin=4, end=8), "a": entry(begin=8, end=12), "c": entry(begin=0, end=4)}
    path.write_bytes(safetensors_file(header, torch.tensor([3.0, 1.0, 2.0]).numpy().tobytes()))
    assert [row[0] for row in ckpt("ls", path).rows] == ["b", "a", "c"]
    ckpt("set", path, "a = 7", "-i")
    assert list(safetensors_header(path)) == ["b", "a", "c"]
    assert {name: t.item() for name, t in loaded(path).items()} == {"a": 7.0, "b": 1.0, "c": 3.0}


def test_a_header_padded_with_spaces_is_read(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors_file(json.dumps({"a": entry()}) + " " * 37, bytes(4)))
    assert ckpt("ls", path).rows == [["a", "float32", "1", "1", "4", ""]]


def test_no_tensors_at_all_is_an_empty_list(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors_file({}))
    assert ckpt("ls", path).out == ""


DEEP = "[" * 200_000
MALFORMED: list[tuple[str, bytes, str]] = [
    ("length alone", (2).to_bytes(8, "little") + b"{", "truncated: 1 bytes of the header are missing"),
    ("header cut", safetensors_file({"a": entry()}, length=200), "of the header are missing"),
    ("header of 100 MB and one", safetensors_file(b"{}", length=100_000_001), "the format allows 100,000,000"),
    ("header of an exabyte", safetensors_file(b"{}", length=2**60), "not a checkpoint of any known format"),
    ("data cut", safetensors_file({"a": entry()}, bytes(3)), "truncated: 1 of 4 bytes of data are missing"),
    ("trailing bytes", safetensors_file({"a": entry()}, bytes(5)), "1 bytes stand after the last tensor"),
    ("overlap", safetensors_file({"a": entry(), "b": entry(begin=2, end=6)}, bytes(6)), "an overlap at byte 2"),
    ("twins of one range", safetensors_file({"a": entry(), "b": entry()}, bytes(4)), "an overlap at byte 0"),
    ("hole", safetensors_file({"a": entry(begin=4, end=8)}, bytes(8)), "a hole at byte 0"),
    ("hole between", safetensors_file({"a": entry(), "b": entry(begin=8, end=12)}, bytes(12)), "a hole at byte 4"),
    ("no JSON", safetensors_file(b"{nonsense"), "the JSON header is broken"),
    ("NaN", safetensors_file('{"a": NaN}'), "holds NaN, which is no JSON"),
    ("minus infinity", safetensors_file('{"a": -Infinity}'), "holds -Infinity, which is no JSON"),
    ("not UTF-8", safetensors_file(b'{"\xff": 1}'), "is not UTF-8"),
    ("half a surrogate", safetensors_file('{"\\ud800": 1}'), "is not UTF-8"),
    ("deep nest", safetensors_file('{"a":' + DEEP), "the JSON header is broken"),
    ("endless integer", safetensors_file('{"a":' + "9" * 10_000 + "}"), "the JSON header is broken"),
    ("same name twice", safetensors_file('{"a": 1, "a": 2}'), "has the key 'a' twice"),
    ("same field twice", safetensors_file('{"a": {"dtype": "F32", "dtype": "F32"}}'), "has the key 'dtype' twice"),
    ("same metadata twice", safetensors_file('{"__metadata__": {"k": "1", "k": "2"}}'), "has the key 'k' twice"),
    ("metadata no object", safetensors_file({"__metadata__": ["a"]}), "__metadata__ is not a JSON object of strings"),
    ("metadata of numbers", safetensors_file({"__metadata__": {"a": 1}}), "__metadata__ is not a JSON object of strings"),
    ("entry no object", safetensors_file({"a": 3}), "tensor 'a': its entry is no JSON object"),
    ("unknown dtype", safetensors_file({"a": entry(dtype="F99")}, bytes(4)), "dtype 'F99' is not known"),
    ("dtype a list", safetensors_file({"a": entry() | {"dtype": []}}, bytes(4)), "dtype [] is not known"),
    ("no dtype", safetensors_file({"a": {"shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "dtype is missing"),
    ("no shape", safetensors_file({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4)), "shape is missing"),
    ("no offsets", safetensors_file({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)), "data_offsets is missing"),
    ("True as a size", safetensors_file({"a": entry(shape=(True,))}, bytes(4)), "the shape is no list of integers"),
    ("True as an offset", safetensors_file({"a": entry("U8", (1,), False, True)}, bytes(1)), "not two ordered integers"),
    ("a float as a size", safetensors_file({"a": entry(shape=(1.0,))}, bytes(4)), "the shape is no list of integers"),
    ("a negative size", safetensors_file({"a": entry(shape=(-1,))}, bytes(4)), "the shape is no list of integers"),
    ("a shape that is an object", safetensors_file({"a": entry(shape={})}, bytes(4)), "the shape is no list of integers"),
    ("a shape that is text", safetensors_file({"a": entry(shape="")}, bytes(4)), "the shape is no list of integers"),
    ("offsets backwards", safetensors_file({"a": entry(begin=4, end=0)}, bytes(4)), "not two ordered integers"),
    ("negative offset", safetensors_file({"a": entry(begin=-4, end=0)}, bytes(4)), "not two ordered integers"),
    ("three offsets", safetensors_file({"a": entry() | {"data_offsets": [0, 4, 8]}}, bytes(4)), "not lists of integers"),
    ("size of 4,000 digits", safetensors_file({"a": entry(shape=(10**4000,))}, bytes(4)), "the shape is no list of integers"),
    ("huge sizes", safetensors_file({"a": entry(shape=(2**62,) * 60)}, bytes(4)), "takes"),
    ("million axes", safetensors_file({"a": entry(shape=(2**62,) * 300_000)}, bytes(4)), "the shape is no list of integers"),
    ("shape too large", safetensors_file({"a": entry(shape=(2,))}, bytes(4)), "takes 8 bytes, the data has 4"),
    ("offset beyond all", safetensors_file({"a": entry(shape=(2**40,), end=2**42)}, bytes(4)), "truncated"),
]


@pytest.mark.parametrize(("raw", "says"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_a_broken_header_is_one_line_that_says_what_is_wrong(raw: bytes, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw)
    result = ckpt("ls", path, status=2)
    assert says in result.err and str(path) in result.err
    assert result.out == "" and [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


PLAIN = st.text("ab.,:{}[]é\u2028\x7f😀_", max_size=6)
NAMES = PLAIN | st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["__metadata__", '"', "\\"])
NUMBERS = st.sampled_from(["0", "4", "8", "00", "04", "-0", "-4", "4.0", "4e0", "true", "null", "9" * 18, "9" * 19, "1" + "0" * 30, "٤"])
SPACES = st.sampled_from(["", "", "", "", " ", "\n", "\t ", "\x0b", "\xa0"])


@st.composite
def written_entry(draw: st.DrawFn, begin: int, common: bool, space: str) -> tuple[str, int]:
    """An entry as nearly all writers (`common`) or some may write it, and where its data end; `space` behind commas and colons."""
    code, width = draw(st.sampled_from([("F32", 4), ("U8", 1), ("BF16", 2)] + [("f32", 4), ("Q", 1)] * (not common)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    end = begin + prod(shape) * width
    space, odd = (space, False) if common else (draw(SPACES), draw(st.integers(0, 9)) == 0)
    sizes = ("," + space).join(map(str, shape)) + draw(st.sampled_from([",", ",1", ""]) if odd else st.just(""))
    ends = (draw(NUMBERS) if odd else str(begin), draw(NUMBERS) if odd else str(end))
    parts = [f'"dtype":{space}"{code}"', f'"shape":{space}[{sizes}]', f'"data_offsets":{space}[{ends[0]},{space}{ends[1]}]']
    parts = draw(st.permutations(parts)) if odd else parts
    parts += draw(st.sampled_from([[], ['"more":1'], parts[:1]])) if odd else []
    return "{" + f",{space}".join(parts) + ("" if common else space) + "}", end


@st.composite
def written_headers(draw: st.DrawFn) -> tuple[bytes, int]:
    """A header as some writer may write it, and the size of the data that it speaks of."""
    members, at = [], 0
    common = draw(st.integers(0, 2)) > 0
    space = draw(st.sampled_from(["", " "])) if common else ""  # as json.dumps has it
    for name in draw(st.lists(PLAIN if common else NAMES, max_size=6, unique=common)):
        text, at = draw(written_entry(at, common, space))
        members.append(json.dumps(name, ensure_ascii=not common and draw(st.booleans())) + f":{space}{text}")
    kept = st.dictionaries(NAMES, NAMES | st.sampled_from("ab"), max_size=2).map(lambda d: json.dumps(d, ensure_ascii=False))
    wrong = st.sampled_from(['{"a":1}', '{"a":"b","a":"b"}', "[]", '{"a":"\\ud800"}', '{"a":NaN}'])
    kept |= st.just("null")
    for text in draw(st.lists(kept if common else kept | wrong, max_size=1 if common else 2)):
        members.insert(draw(st.integers(0, len(members))), f'"__metadata__":{space}{text}')
    if draw(st.booleans()):
        members = draw(st.permutations(members))
    raw = ("{" + f",{space}".join(members) + "}" + draw(SPACES)).encode()
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(raw)))
        raw = raw[:place] + draw(st.sampled_from([b"", b",", b"}", b"\xff", b"0", b'"'])) + raw[place + draw(st.integers(0, 1)) :]
    return raw, at


def outcome(path: Path) -> object:
    """All that is read of a file, or the error."""
    try:
        found = Safetensors().read(File(str(path)))
    except Malformed as error:
        return str(error)
    facts = {name: (t.dtype, t.shape, t.storage.place(), t.nbytes) for name, t in found.items()}
    return list(facts.items()), dict(found.metadata), found.ties()


@settings(REUSE, max_examples=600 if WHOLE else 150)
@given(header=written_headers(), window=st.sampled_from([1, 5, 30, 100, 1 << 17]))
def test_a_header_is_read_in_windows_as_the_strict_reader_reads_it(header: tuple[bytes, int], window: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors_file(header[0], bytes(header[1])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ckpt_cli.formats.safetensors.header._WINDOW", window)
        found = outcome(path)
        patch.setattr("ckpt_cli.formats.safetensors.format_safetensors.scan", unusual)
        assert outcome(path) == found


def unusual(*_: object) -> None:
    raise Unusual


@pytest.mark.parametrize("window", [1, 50, 1 << 17])
def test_what_the_library_writes_is_read_in_windows(window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckpt_cli.formats.safetensors.header._WINDOW", window)
    monkeypatch.setattr("ckpt_cli.formats.safetensors.format_safetensors._strictly", unusual)
    path = tmp_path / "a.safetensors"
    tensors = {f"{i}.é": example("float32" if i % 2 else "int8", i, 2) for i in range(9)}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt", "long": "x" * 200})
    assert read_bits(path) == all_bits(tensors)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_what_json_dumps_writes_is_read_in_windows(
    separators: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ckpt: Ckpt
) -> None:
    monkeypatch.setattr("ckpt_cli.formats.safetensors.format_safetensors._strictly", unusual)
    path = tmp_path / "a.safetensors"
    header = {"__metadata__": {"format": "pt"}} | {f"t{i}": entry(shape=(1, 1), begin=4 * i, end=4 * i + 4) for i in range(9000)}
    text = json.dumps(header, separators=separators)
    path.write_bytes(safetensors_file(text, b"".join(i.to_bytes(4, "little") for i in range(9000))))
    assert ckpt("ls", path).rows == [[f"t{i}", "float32", "1x1", "1", "4", ""] for i in range(9000)]
    assert loaded(path)["t8999"].view(torch.int32).item() == 8999


def mlx_file(path: Path) -> Path:
    """A file as MLX writes it: keys in order, and null where there are no metadata."""
    tensors = {"layers.0.bias": example("float32", 2), "layers.0.weight": example("float32", 2, 2)}
    entries = {
        "layers.0.bias": {"data_offsets": [0, 8], "dtype": "F32", "shape": [2]},
        "layers.0.weight": {"data_offsets": [8, 24], "dtype": "F32", "shape": [2, 2]},
    }
    text = json.dumps({"__metadata__": None} | entries, separators=(",", ":"))
    path.write_bytes(safetensors_file(text, b"".join(tensor.numpy().tobytes() for tensor in tensors.values())))
    return path


EDITS = [["set", "layers.0.bias = 3"], ["rename", "layers.*=h.*"], ["cast", "bfloat16"], ["drop", "layers.0.bias"]]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit[0])
@pytest.mark.parametrize("where", ["-i", "-o"])
def test_null_metadata_are_none_and_an_edit_leaves_a_file_that_opens(edit: list[str], where: str, tmp_path: Path, ckpt: Ckpt) -> None:
    path, out = mlx_file(tmp_path / "a.safetensors"), tmp_path / "b.safetensors"
    assert [row[0] for row in ckpt("ls", path).rows] == ["layers.0.bias", "layers.0.weight"] and "\nmetadata" not in ckpt(
        "summary", path
    ).out
    ckpt(edit[0], path, *edit[1:], *([where] if where == "-i" else [where, out]))
    found = out if where == "-o" else path
    assert sorted(loaded(found)) == sorted(row[0] for row in ckpt("ls", found).rows)
    with safetensors.safe_open(str(found), "pt") as opened:
        assert opened.metadata() in (None, {}, {"format": "pt"})


def test_the_null_metadata_of_a_report(case: Callable[[str], Path], ckpt: Ckpt) -> None:
    path = case("reports/mlx-null-metadata/weights.safetensors")
    assert ckpt("get", path, "layers.0.bias").out == "[0. 1.]\n" and ckpt("get", path, "layers.0.weight[1]").out == "[4. 5.]\n"


def test_a_file_by_save_model_lists_all_names_tied(tmp_path: Path, ckpt: Ckpt) -> None:
    layer = nn.Linear(4, 4)
    net = nn.Sequential(nn.Linear(4, 4), layer, nn.ReLU(), layer)
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_model(net, str(path))
    assert len(safetensors_header(path)) == 5
    tied = {row[0]: row[5] for row in ckpt("ls", path).rows}
    assert set(tied) == set(net.state_dict())
    assert {frozenset((name, kept)) for name, kept in tied.items() if kept} == {
        frozenset(("1.weight", "3.weight")),
        frozenset(("1.bias", "3.bias")),
    }
    assert read_bits(path) == all_bits(net.state_dict())


def test_load_model_loads_what_ckpt_wrote_of_a_tied_network(tmp_path: Path, ckpt: Ckpt) -> None:
    layer = nn.Linear(4, 4)
    net = nn.Sequential(nn.Linear(4, 4), layer, nn.ReLU(), layer)
    torch.save(net.state_dict(), tmp_path / "a.pt")
    ckpt("convert", tmp_path / "a.pt", tmp_path / "a.safetensors")
    header = safetensors_header(tmp_path / "a.safetensors")
    assert header["__metadata__"] == {"3.bias": "1.bias", "3.weight": "1.weight", "format": "pt"}
    other = nn.Linear(4, 4)
    fresh = nn.Sequential(nn.Linear(4, 4), other, nn.ReLU(), other)
    assert safetensors.torch.load_model(fresh, str(tmp_path / "a.safetensors")) == (set(), [])
    assert all_bits(fresh.state_dict()) == all_bits(net.state_dict())


def test_a_value_edit_of_a_tied_name_is_seen_under_both(tmp_path: Path, ckpt: Ckpt) -> None:
    shared = torch.zeros(2, 2)
    torch.save({"a": shared, "b": shared}, tmp_path / "a.pt")
    path = tmp_path / "a.safetensors"
    ckpt("convert", tmp_path / "a.pt", path)
    ckpt("set", path, "b[0, 0] = 5", "-i")
    assert loaded(path)["a"].tolist() == [[5, 0], [0, 0]]
    assert ckpt("get", path, "b", "--json").json["values"] == [[5, 0], [0, 0]]


def test_a_tied_name_that_is_a_key_of_the_metadata_is_refused(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"a": torch.ones(2), "b": torch.ones(2)}, path, metadata={"b": "a note"})
    before = path.read_bytes()
    assert "is a key of the metadata" in ckpt("tie", path, "a", "b", "-i", status=2).err
    assert path.read_bytes() == before


def test_the_data_of_every_tensor_are_aligned_to_its_elements(tmp_path: Path, ckpt: Ckpt) -> None:
    tensors = {f"{i}.{dtype}": example(dtype, 3) for i, dtype in enumerate(SAFE_DTYPES)}
    torch.save(tensors, tmp_path / "a.pt")
    path = tmp_path / "a.safetensors"
    ckpt("convert", tmp_path / "a.pt", path)
    header = safetensors_header(path)
    start = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert start % 8 == 0
    for name, tensor in tensors.items():
        assert (start + header[name]["data_offsets"][0]) % tensor.element_size() == 0, name
    assert [name for name in header if name != "__metadata__"] == list(tensors)


def test_the_same_conversion_gives_the_same_bytes(tmp_path: Path, ckpt: Ckpt) -> None:
    torch.save({name: example(name, 2, 3) for name in SAFE_DTYPES}, tmp_path / "a.pt")
    for name in "xy":
        ckpt("convert", tmp_path / "a.pt", tmp_path / f"{name}.safetensors")
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "y.safetensors").read_bytes()


def unheld() -> dict[str, torch.Tensor]:
    return {
        "complex32": example("complex32", 2),
        "complex128": example("complex128", 2),
        "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(3).to_sparse_csr(),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["complex32", "complex128", "quantised", "sparse", "csr"])
def test_what_safetensors_cannot_hold_is_refused_before_anything_is_written(kind: str, tmp_path: Path, ckpt: Ckpt) -> None:
    torch.save({"good": torch.ones(2), "the bad": unheld()[kind]}, tmp_path / "a.pt")
    target = tmp_path / "out" / "a.safetensors"
    target.parent.mkdir()
    result = ckpt("convert", tmp_path / "a.pt", target, status=2)
    assert "safetensors cannot hold the bad, which is" in result.err and "--drop 'the bad'" in result.err
    assert list(target.parent.iterdir()) == []
    ckpt("convert", tmp_path / "a.pt", target, "--drop", "the bad")
    assert bits(loaded(target)["good"]) == bits(torch.ones(2))


def test_float4_and_float6_are_listed_copied_and_not_computed_with(tmp_path: Path, ckpt: Ckpt) -> None:
    path, copy = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    header = {"f4": entry("F4", (2, 4), 0, 4), "f6": entry("F6_E2M3", (8,), 4, 10), "w": entry("U8", (2,), 10, 12)}
    path.write_bytes(safetensors_file(header, bytes(range(12))))
    assert [row[:3] for row in ckpt("ls", path).rows][:2] == [["f4", "float4_e2m1fn", "2x4"], ["f6", "float6_e2m3fn", "8"]]
    ckpt("drop", path, "w", "-o", copy)
    assert read_bits(copy) == {name: value for name, value in read_bits(path).items() if name != "w"}
    assert "cannot be edited or read element by element" in ckpt("set", path, "f6 = 0", "-n", status=2).err
    assert "cannot hold float6_e2m3fn" in ckpt("convert", path, tmp_path / "a.pt", status=2).err


def test_a_value_edit_changes_the_bytes_of_that_tensor_alone(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(8), "b": torch.ones(8)}, path, metadata={"k": "v"})
    before = path.read_bytes()
    ckpt("set", path, "b[1] = 2", "-i")
    after = path.read_bytes()
    changed = [i for i, (x, y) in enumerate(zip(before, after, strict=True)) if x != y]
    at = before.index(torch.ones(8).numpy().tobytes())
    assert changed and all(at + 4 <= i < at + 8 for i in changed)


def test_the_table_of_dtypes_is_the_library_s() -> None:
    assert {name.lower() for name in SAFE_DTYPES} == {str(t).removeprefix("torch.") for t in safetensors.torch._TYPES.values()} | {
        "float8_e8m0fnu"
    }
    assert set(SAFE_DTYPES) < set(DTYPES)
