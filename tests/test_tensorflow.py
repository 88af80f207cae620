"""TensorFlow's checkpoints: read and written without TensorFlow, checksums and all. The framework itself judges in tests/oracle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from cases import every_case, is_as_told
from conftest import CASES, SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ckpt_cli
from ckpt_cli.errors import Malformed
from ckpt_cli.formats.encodings import protobuf
from ckpt_cli.formats.tensorflow import sstable_writing
from ckpt_cli.formats.tensorflow.snappy import unpack
from ckpt_cli.formats.tensorflow.sstable import Table
from ckpt_cli.formats.tensorflow.string_tensors import text_of
from ckpt_cli.storage.crc32c import CRC32C
from ckpt_cli.storage.file import File

SAMPLE = SAMPLES / "tensorflow"
KERNEL, SLOT = "net/layer_with_weights-0/kernel", "net/layer_with_weights-0/kernel/.OPTIMIZER_SLOT/optimizer/m"


def short(tensor: dict[str, Any]) -> str:
    return str(tensor.get("short", tensor["name"]))


def written_again(path: str) -> bytes:
    """A table, made of the keys and values that are read in it."""
    items = [(entry.key, data[entry.start : entry.stop]) for _, data, found in Table(File(path)).read_blocks() for entry in found]
    return b"".join(sstable_writing.table(iter(items)))


MADE = Path(__file__).parent / "from_tensorflow"
READ = json.loads((MADE / "expect.json").read_text())["checkpoints"]


@pytest.mark.parametrize("prefix", READ)
def test_what_tensorflow_made_is_what_tensorflow_reads_in_it(prefix: str, ckpt: Ckpt) -> None:
    """On files of its own, apart from CKPT_CASES and from our encoder."""
    hashes = {row[1]: row for row in ckpt("hash", MADE / prefix).rows if row[1] != "*"}
    keys = {name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): facts for name, facts in READ[prefix].items()}
    assert {name: {"dtype": dtype, "shape": shape, "sha256": digest} for digest, name, dtype, shape in hashes.values()} == {
        name: facts | {"shape": "x".join(map(str, facts["shape"]))} for name, facts in keys.items()
    }
    assert ckpt("check", MADE / prefix, "--json").json["holds"]


@pytest.mark.parametrize("prefix", [prefix for prefix in READ if (MADE / f"{prefix}.index").exists()])
def test_an_index_of_tensorflow_is_written_again_byte_for_byte(prefix: str) -> None:
    assert written_again(f"{MADE / prefix}.index") == Path(f"{MADE / prefix}.index").read_bytes()


@pytest.mark.parametrize("prefix", [prefix for prefix in READ if (MADE / f"{prefix}.index").exists()])
def test_what_tensorflow_made_is_edited_in_place(prefix: str, tmp_path: Path, ckpt: Ckpt) -> None:
    for path in (MADE / prefix).parent.glob(f"{Path(prefix).name}.*"):
        shutil.copy(path, tmp_path)
    model, first = tmp_path / Path(prefix).name, next(name for name, facts in READ[prefix].items() if facts["dtype"] == "float32")
    first = first.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
    ckpt("set", model, f"{first} = 2", "-i")
    assert [row[1] for row in ckpt("diff", MADE / prefix, model, status=1).rows] == [first]
    assert ckpt("check", model, "--json").json["holds"]


@every_case("tf-v2", "tf-savedmodel", "tf-v1")
def test_each_real_checkpoint_is_what_tensorflow_says(record: Any, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    import cases

    told = cases.expected(record)
    strings = [tensor for tensor in told["tensors"] if tensor["dtype"] == "string"]
    plain = told | {"tensors": [tensor for tensor in told["tensors"] if tensor["dtype"] != "string"]}
    monkeypatch.setattr(cases, "expected", lambda record: plain)
    is_as_told(record, ckpt, short)
    objects = cases.opened(record).objects
    assert set(objects) == {short(tensor) for tensor in strings}
    assert [objects[short(tensor)] for tensor in strings if "values" in tensor] == [["a", "bc", "é"] for t in strings if "values" in t]


@every_case("tf-v2", "tf-savedmodel")
def test_every_checksum_of_the_real_ones_is_right(record: Any, ckpt: Ckpt) -> None:
    document = ckpt("check", CASES / record["file"], "--json").json
    assert document["holds"] and document["checked"]["checksums"] >= document["checked"]["tensors"] + 2


@every_case("tf-v2", "tf-savedmodel")
def test_the_index_is_written_byte_for_byte_as_tensorflow_writes_it(record: Any) -> None:
    """From its own keys and values."""
    path = ckpt_cli.open(str(CASES / record["file"])).origin.path
    assert written_again(path) == Path(path).read_bytes()


@every_case("tf-v2", "tf-savedmodel", "tf-v1")
def test_there_and_back_without_a_difference(record: Any, tmp_path: Path, ckpt: Ckpt) -> None:
    source = CASES / record["file"]
    back = tmp_path / "back"
    for file in ("there.safetensors", "there.pt"):
        drops = ["--drop", "kinds/complex128"] if file.endswith("safetensors") and "saver_v2" in record["file"] else []
        ckpt("convert", source, tmp_path / file, *drops)
        ckpt("convert", tmp_path / file, back, "--format", "tensorflow", "--force")
        assert ckpt("diff", tmp_path / file, back).out == "" and ckpt("check", back).out == ""
        if not drops:
            assert ckpt("diff", source, back).out == ""
            assert ckpt("hash", source).rows[-1] == ckpt("hash", back).rows[-1] == ckpt("hash", tmp_path / file).rows[-1]
    assert ckpt("convert", source, tmp_path / "copy.index") and ckpt("diff", source, tmp_path / "copy").out == ""
    assert ckpt("stats", source).out == ckpt("stats", tmp_path / "copy").out


# How a checkpoint is called


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two checkpoints of one training run, in a folder whose file `checkpoint` names the second."""
    folder = tmp_path / "run"
    folder.mkdir()
    for number in (1, 2):
        for end in ("index", "data-00000-of-00001"):
            shutil.copy(SAMPLE / f"ckpt-1.{end}", folder / f"ckpt-{number}.{end}")
    (folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-1"\n')
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_is_called_by_its_prefix_its_index_or_its_folder(model: Path, ckpt: Ckpt) -> None:
    listed = ckpt("ls", model / "ckpt-1").out
    assert listed == ckpt("ls", model / "ckpt-1.index").out == ckpt("ls", model).out and listed.startswith(f"{KERNEL[:-6]}bias\t")
    assert ckpt("ls", model).err == f"ckpt: {model}: ckpt-2.index is opened, the newest of 2 steps\n"


@pytest.mark.parametrize(
    "state",
    [
        'model_checkpoint_path: "/elsewhere/of/old/ckpt-1"\n',
        "model_checkpoint_path:'ckpt-1'",
        'model_checkpoint_path: "ckpt-7"',
        'model_checkpoint_path: "../run/../outside"',
        'model_checkpoint_path: "ckpt-1\\0"',
        "",
    ],
)
def test_what_the_folder_names_lies_in_it(state: str, model: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    for end in ("index", "data-00000-of-00001"):
        shutil.copy(model / f"ckpt-1.{end}", tmp_path / f"outside.{end}")
    (model / "checkpoint").write_text(state)
    if "old" in state:
        assert "ckpt-1.index is opened, as checkpoint says; ckpt-2.index is newer" in ckpt("ls", model).err
    else:
        assert "ckpt-2.index is opened, the newest of 2 steps" in ckpt("ls", model).err


def test_a_saved_model_is_its_variables(tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "export" / "variables").mkdir(parents=True)
    (tmp_path / "export" / "saved_model.pb").write_bytes(b"\x08\x01")
    for end in ("index", "data-00000-of-00001"):
        shutil.copy(SAMPLE / f"ckpt-1.{end}", tmp_path / "export" / "variables" / f"variables.{end}")
    assert ckpt("ls", tmp_path / "export").out == ckpt("ls", SAMPLE / "ckpt-1").out
    ckpt("set", tmp_path / "export", f"{KERNEL} = 1", "-i")
    assert ckpt("get", tmp_path / "export", f"{KERNEL}[0, 0]").out == "1.0\n"


def test_a_data_file_alone_is_no_checkpoint_and_says_which_is(model: Path, ckpt: Ckpt) -> None:
    model /= "ckpt-2"
    data = f"{model}.data-00000-of-00001"
    assert f"goes by its prefix (give {model})\n" in ckpt("ls", data, status=2).err
    Path(f"{model}.index").unlink()
    assert f"index is missing (copy {model}.index, too)\n" in ckpt("ls", data, status=2).err


def test_a_key_is_known_as_tensorflow_prints_it_too(model: Path, ckpt: Ckpt) -> None:
    model /= "ckpt-2"
    name = next(row[0] for row in ckpt("ls", model).rows if row[2] == "8")
    key = f"{name}/.ATTRIBUTES/VARIABLE_VALUE"
    assert ckpt("ls", model, key).rows == ckpt("ls", model, name).rows
    assert ckpt("get", model, f"{key}[1:3]").out == ckpt("get", model, f"{name}[1:3]").out
    ckpt("set", model, f"{key} = 3", "-i")
    assert ckpt("get", model, f"{name}[0]").out == "3.0\n"
    assert "nothing matches 'none'" in ckpt("get", model, "none/.ATTRIBUTES/VARIABLE_VALUE", status=2).err


def test_a_data_file_that_is_not_there_is_named(model: Path, ckpt: Ckpt) -> None:
    (model / "ckpt-1.data-00000-of-00001").unlink()
    assert "ckpt-1.data-00000-of-00001, which holds it, is not beside the index" in ckpt("ls", model / "ckpt-1", status=2).err


# Edits in place


def differing(one: bytes, two: bytes) -> list[int]:
    assert len(one) == len(two)
    return [at for at, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]


@pytest.mark.parametrize("edit", [f"{KERNEL}[1,2] = 42", f"{KERNEL} += 1", f"{KERNEL}[:, 3] = 0"])
def test_an_edit_in_place_changes_the_values_and_three_checksums(edit: str, model: Path, ckpt: Ckpt) -> None:
    before = contents(model)
    ckpt("set", model / "ckpt-1", edit, "-i")
    after = contents(model)
    assert {name for name in before if before[name] != after[name]} == {"ckpt-1.index", "ckpt-1.data-00000-of-00001"}
    entry = ckpt_cli.open(str(model / "ckpt-1"))[KERNEL].storage
    name = "ckpt-1.data-00000-of-00001"
    assert all(entry.offset <= at < entry.offset + entry.nbytes for at in differing(before[name], after[name]))
    assert len(differing(before["ckpt-1.index"], after["ckpt-1.index"])) <= 8
    assert ckpt("check", model / "ckpt-1").out == "" and set(after) == set(before)


def test_a_recipe_of_everything_in_place_is_whole(model: Path, ckpt: Ckpt) -> None:
    ckpt("reinit", model / "ckpt-1", "re:^(?!step|save_counter)=normal", "step=constant(7)", "--seed", 1, "-i")
    assert ckpt("check", model / "ckpt-1", "--finite").out == ""
    rows = ckpt("diff", model / "ckpt-1", model / "ckpt-2", status=1).rows
    assert len(rows) == len(ckpt("ls", model / "ckpt-1").rows) - 1


def test_an_edit_into_a_new_place_carries_the_object_graph(model: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("set", model / "ckpt-1", f"{KERNEL} *= 2", "-o", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.glob("new*")) == ["new.data-00000-of-00001", "new.index"]
    assert [row[1] for row in ckpt("diff", model / "ckpt-1", tmp_path / "new", status=1).rows] == [KERNEL]
    assert ckpt("check", tmp_path / "new").out == "" and "_CHECKPOINTABLE_OBJECT_GRAPH" in ckpt("summary", tmp_path / "new").out
    assert "is there already" in ckpt("set", model / "ckpt-1", f"{KERNEL} = 2", "-o", tmp_path / "new", status=2).err


def test_a_link_to_the_files_is_followed_beside_them(model: Path, ckpt: Ckpt) -> None:
    """As in the hub's cache, and for a link to an index whose data files are linked from there, too."""
    (model / "blobs").mkdir()
    (model / "snapshots" / "x").mkdir(parents=True)
    for end in ("index", "data-00000-of-00001"):
        (model / f"ckpt-2.{end}").rename(model / "blobs" / end)
        (model / "snapshots" / "x" / f"w.{end}").symlink_to(f"../../blobs/{end}")
    ckpt("set", model / "snapshots" / "x" / "w", f"{KERNEL} = 1", "-i")
    assert ckpt("check", model / "snapshots" / "x" / "w").out == "" and (model / "snapshots" / "x" / "w.index").is_symlink()


@every_case("tf-v2", matching=lambda record: "sharded" in record["file"])
def test_data_files_stay_several_where_only_values_change(record: Any, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("set", CASES / record["file"], "v1 = 5", "-o", tmp_path / "new")
    assert len(list(tmp_path.glob("new.data-*-of-00002"))) == 2 and ckpt("check", tmp_path / "new").out == ""
    ckpt("set", tmp_path / "new", "v2[0,0] = 5", "-i")
    assert [row[1] for row in ckpt("diff", CASES / record["file"], tmp_path / "new", status=1).rows] == ["v1", "v2"]
    ckpt("cast", tmp_path / "new", "float16", "-i")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.data-00000-of-00001", "new.index"]


def test_a_backup_keeps_all_files(model: Path, ckpt: Ckpt) -> None:
    before = contents(model)
    ckpt("set", model / "ckpt-1", f"{KERNEL} = 2", "-i", "--backup", ".bak")
    after = contents(model)
    for end in ("index", "data-00000-of-00001"):
        assert after[f"ckpt-1.{end}.bak"] == before[f"ckpt-1.{end}"] != after[f"ckpt-1.{end}"]


def test_a_dry_run_writes_nothing(model: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    before = contents(model)
    assert ckpt("set", model / "ckpt-1", f"{KERNEL} = 2", "-n").rows[0][:2] == ["changed", KERNEL]
    assert ckpt("rename", model / "ckpt-1", "net/*=*", "-n", "-o", tmp_path / "new").rows
    assert contents(model) == before and not list(tmp_path.glob("new*"))


# Rebuilds


def test_dropped_renamed_and_cast(model: Path, ckpt: Ckpt) -> None:
    path = model / "ckpt-1"
    ckpt("drop", path, "*OPTIMIZER_SLOT*", "-i")
    ckpt("rename", path, "net/*=body/*", "-i")
    ckpt("cast", path, "bfloat16", "body/*", "-i")
    assert all(row[1] == "bfloat16" for row in ckpt("ls", path, "body/*").rows) and not ckpt("ls", path, "re:SLOT|^net", status=2).out
    keys = [entry.key.decode() for _, _, found in Table(File(f"{path}.index")).read_blocks() for entry in found]
    assert "body/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE" in keys and keys == sorted(keys)
    assert ckpt("check", path).out == "" and "_CHECKPOINTABLE_OBJECT_GRAPH" in keys


def test_a_dropped_object_is_gone(model: Path, ckpt: Ckpt) -> None:
    ckpt("drop", model / "ckpt-1", "_CHECKPOINTABLE_OBJECT_GRAPH", "-i")
    assert "GRAPH" not in ckpt("summary", model / "ckpt-1").out


def test_what_is_tied_is_kept_once(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", SAMPLES / "shared-mlp.pt", tmp_path / "a.index")
    assert sorted(ckpt("tied", tmp_path / "a").rows) == sorted(ckpt("tied", SAMPLES / "shared-mlp.pt").rows)
    assert (tmp_path / "a.data-00000-of-00001").stat().st_size == 484
    ckpt("set", tmp_path / "a", "2.bias = 3", "-i")
    assert ckpt("get", tmp_path / "a", "4.bias[0]").out == "3.0\n" and ckpt("check", tmp_path / "a").out == ""
    ckpt("untie", tmp_path / "a", "4.bias", "-i")
    ckpt("set", tmp_path / "a", "2.bias = 4", "-i")
    assert ckpt("get", tmp_path / "a", "4.bias[0]").out == "3.0\n" and ckpt("check", tmp_path / "a").out == ""


@pytest.mark.parametrize("name", ["dtypes.pt", "dtypes.safetensors"])
def test_every_dtype_that_has_a_place_is_kept(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    kinds = {row[0]: row[1] for row in ckpt("ls", SAMPLES / name).rows}
    lacking = [key for key, kind in kinds.items() if kind in ("complex32", "float8_e8m0fnu")]
    assert "cannot hold" in ckpt("convert", SAMPLES / name, tmp_path / "a.index", status=2).err and not list(tmp_path.iterdir())
    ckpt("convert", SAMPLES / name, tmp_path / "a.index", *(word for key in lacking for word in ("--drop", key)))
    assert ckpt("diff", SAMPLES / name, tmp_path / "a", *(key for key in kinds if key not in lacking)).out == ""
    assert ckpt("check", tmp_path / "a").out == "" and [row[0] for row in ckpt("ls", tmp_path / "a").rows] == sorted({*kinds} - {*lacking})


@pytest.mark.parametrize("name", ["a\x00b", "ä/ö", "x" * 5000, "a b[0]", "a/.ATTRIBUTES/VARIABLE_VALUE", "\x7f"])
def test_odd_names_are_kept(name: str, tmp_path: Path, ckpt: Ckpt) -> None:
    torch.save({name: torch.ones(3), "a": torch.zeros(2)}, tmp_path / "a.pt")
    ckpt("convert", tmp_path / "a.pt", tmp_path / "b.index")
    assert set(ckpt_cli.open(str(tmp_path / "b"))) == {name, "a"}


def test_names_that_have_no_place_are_refused(tmp_path: Path, ckpt: Ckpt) -> None:
    torch.save({"": torch.ones(1), "a": torch.ones(2)}, tmp_path / "a.pt")
    assert "cannot hold a tensor called" in ckpt("convert", tmp_path / "a.pt", tmp_path / "b.index", status=2).err
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_many_tensors_make_many_blocks(tmp_path: Path, ckpt: Ckpt) -> None:
    torch.save({f"{'long ' * 20}{i:05d}{'x' * (i % 90)}": torch.full((i % 3,), float(i)) for i in range(6000)}, tmp_path / "a.pt")
    ckpt("convert", tmp_path / "a.pt", tmp_path / "b.index")
    assert len(list(Table(File(str(tmp_path / "b.index"))).blocks())) > 1
    assert ckpt("diff", tmp_path / "a.pt", tmp_path / "b").out == "" and ckpt("check", tmp_path / "b").out == ""


def graph_of(path: Path) -> bytes:
    checkpoint = ckpt_cli.open(str(path))
    return text_of(checkpoint.rest.extent(b"_CHECKPOINTABLE_OBJECT_GRAPH"))


def test_the_object_graph_knows_the_keys_that_there_are(model: Path, ckpt: Ckpt) -> None:
    """TensorFlow finds variables by it, and restores nothing where it tells of a key that is not there."""
    before = graph_of(model / "ckpt-1")
    ckpt("rename", model / "ckpt-1", f"{KERNEL}=core", "-i")
    ckpt("drop", model / "ckpt-1", SLOT, "-i")
    after, suffix = graph_of(model / "ckpt-1"), b"/.ATTRIBUTES/VARIABLE_VALUE"
    assert f"{KERNEL}/.ATTRIBUTES".encode() in before and b"core/.ATTRIBUTES" in after and before.count(suffix) == after.count(suffix) + 1
    assert SLOT.encode() + suffix in before and SLOT.encode() + suffix not in after
    ckpt("rename", model / "ckpt-2", f"{KERNEL}=x", "-i")
    ckpt("rename", model / "ckpt-2", f"x={KERNEL}", "-i")
    assert graph_of(model / "ckpt-2") == before and ckpt("check", model / "ckpt-2").out == ""


# Cut off


@pytest.mark.parametrize("end", ["index", "data-00000-of-00001"])
def test_cut_off_anywhere_it_is_one_line(end: str, model: Path, ckpt: Ckpt) -> None:
    path = model / f"ckpt-1.{end}"
    raw = path.read_bytes()
    for size in {*range(0, len(raw), 37), *range(len(raw) - 60, len(raw))}:
        path.write_bytes(raw[:size])
        error = ckpt("ls", model / "ckpt-1.index", status=2).err
        assert "ckpt-1." in error and "fault in ckpt" not in error, size


@given(random=st.randoms(use_true_random=False))
@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mutation_of_the_index_is_an_answer_or_one_line(random: Any, model: Path, ckpt: Ckpt) -> None:
    path = model / "ckpt-1.index"
    raw = bytearray((SAMPLE / "ckpt-1.index").read_bytes())
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(raw) - 8)
        raw[at] = random.choice([0, 0x7F, 0x80, 0xFF, raw[at] ^ 1 << random.randrange(8)])
    path.write_bytes(raw)
    for command in ("ls", "check", "hash"):
        found = ckpt(command, path, status=None)
        assert found.status in (0, 1, 2) and "fault in ckpt" not in found.err and "Traceback" not in found.err


# Checksums


def test_a_flipped_bit_is_found_wherever_it_is(model: Path, ckpt: Ckpt) -> None:
    data, index = model / "ckpt-1.data-00000-of-00001", model / "ckpt-1.index"
    good = data.read_bytes(), index.read_bytes()
    storage = ckpt_cli.open(str(model / "ckpt-1"))[KERNEL].storage
    graph = ckpt_cli.open(str(model / "ckpt-1")).rest.entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"]
    for at, name in ((storage.offset + 5, KERNEL), (graph.offset + graph.size - 3, "_CHECKPOINTABLE_OBJECT_GRAPH")):
        data.write_bytes(good[0][:at] + bytes([good[0][at] ^ 4]) + good[0][at + 1 :])
        rows = ckpt("check", model / "ckpt-1", status=1).rows
        assert [row[:2] for row in rows] == [["checksum", name]] and "its CRC-32C is" in rows[0][2]
    data.write_bytes(good[0])
    at = good[1].index(b"ep/.ATTRIBUTES")
    index.write_bytes(good[1][:at] + b"f" + good[1][at + 1 :])
    assert [row[:2] for row in ckpt("check", model / "ckpt-1", status=1).rows] == [["checksum", "block 0 of the index"]]


@given(st.binary(max_size=40_000), st.integers(0, 40_000))
def test_the_checksum_is_that_of_rfc_3720(data: bytes, cut: int) -> None:
    """By its definition, bit by bit for what is short; and in two parts."""
    assert CRC32C.update(data[cut:], CRC32C.of(data[:cut])) == CRC32C.of(data)
    crc = 0xFFFFFFFF
    for byte in data[:100]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert CRC32C.of(data[:100]) == crc ^ 0xFFFFFFFF


def test_the_checksums_of_the_standard() -> None:
    assert CRC32C.of(b"123456789") == 0xE3069283 and CRC32C.of(bytes(32)) == 0x8A9136AA
    assert CRC32C.of(bytes(range(32))) == 0x46DD794E and CRC32C.of(b"\xff" * 32) == 0x62A8AB43


# The containers


@given(st.dictionaries(st.binary(max_size=30), st.binary(max_size=2000), min_size=1, max_size=300))
def test_any_table_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, items: dict[bytes, bytes]) -> None:
    path = tmp_path_factory.mktemp("table") / "t"
    path.write_bytes(b"".join(sstable_writing.table(iter(sorted(items.items())))))
    found = [(e.key, protobuf.piece(data, e.start, e.stop)) for _, data, entries in Table(File(str(path))).read_blocks() for e in entries]
    assert found == sorted(items.items())


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(1, 1 << 28))
def test_a_number_is_read_as_it_was_written(value: int, field: int) -> None:
    found = list(protobuf.fields(protobuf.integer(field, value)))
    assert [(one.number, one.signed) for one in found] == ([(field, value)] if value else [])


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (b"\x00", b""),
        (b"\x05\x10hello", b"hello"),
        (b"\x0a\x04ab\x09\x02\x04cd", b"ababababcd"),
        (b"\x0c\x00a\x2a\x01\x00", b"a" * 12),
        (b"\x46\xf0\x3c" + b"x" * 61 + b"\x22\x3d\x00", b"x" * 70),
    ],
)
def test_snappy(packed: bytes, plain: bytes) -> None:
    assert unpack(packed) == plain


@given(st.binary(max_size=60))
def test_any_snappy_ends_soon_and_in_bounds(packed: bytes) -> None:
    try:
        assert len(unpack(packed)) <= 32 * len(packed)
    except Malformed:
        pass


def test_slices_in_any_pattern_are_one_tensor(tmp_path: Path, ckpt: Ckpt) -> None:
    """A 5×6×4 tensor cut along two axes."""
    from bundles import bundle, part

    whole = numpy.arange(120, dtype="<f4").reshape(5, 6, 4)
    boxes = [((a, n), (b, m), (0, -1)) for a, n in ((0, 2), (2, 3)) for b, m in ((0, 1), (1, 3), (4, 2))]
    bundle(tmp_path / "a.index", [part(b"w", whole, boxes)])
    assert ckpt("get", tmp_path / "a", "w[3, 2:5, 1]").out == "[81. 85. 89.]\n" and ckpt("check", tmp_path / "a").out == ""
    assert ckpt_cli.open(str(tmp_path / "a"))["w"].tobytes() == whole.tobytes()
    ckpt("set", tmp_path / "a", "w[3, 2:5] *= 10", "w[0,0,0] = -1", "-i")
    whole[3, 2:5] *= 10
    whole[0, 0, 0] = -1
    assert ckpt_cli.open(str(tmp_path / "a"))["w"].tobytes() == whole.tobytes() and ckpt("check", tmp_path / "a").out == ""
    assert b"\0w\0\1" in (tmp_path / "a.index").read_bytes()
    ckpt("rename", tmp_path / "a", "w=v", "-i")
    assert ckpt_cli.open(str(tmp_path / "a"))["v"].tobytes() == whole.tobytes() and ckpt("check", tmp_path / "a").out == ""
