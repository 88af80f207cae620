"""Orbax's folders: zarr of both versions and OCDBT, as Orbax wrote them and as arrays may lie in them. Read, not written."""

from __future__ import annotations

import shutil
import sys
from itertools import product
from pathlib import Path
from typing import Any

import cases
import numpy
import pytest
from conftest import SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_cli import reading
from ckpt_cli.storage.crc32c import crc32c

sys.path.insert(0, str(Path(__file__).parent / "hostile"))
from orbax_files import Made, build, sharded, version_2, version_3

SAMPLE = SAMPLES / "orbax"
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def opened(folder: Path, made: Made) -> Any:
    """What is read of one array in a folder."""
    shutil.rmtree(folder / "x", ignore_errors=True)
    (folder / "x").mkdir()
    build({"a": made})(folder / "x" / "_METADATA")
    return reading.open(str(folder / "x"))["a"].array()


def chunks_of(values: Any, chunk: tuple[int, ...]) -> dict[tuple[int, ...], bytes]:
    """The chunks of an array as zarr has them: all of one size, those at the edge filled up."""
    found = {}
    for index in product(*(range(-(-n // c)) for n, c in zip(values.shape, chunk, strict=True))):
        whole = numpy.zeros(chunk, values.dtype)
        part = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunk, strict=True))]
        whole[tuple(slice(n) for n in part.shape)] = part
        found[index] = whole.tobytes()
    return found


@cases.every_case("orbax")
def test_a_real_one_is_as_orbax_had_it_in_memory(record: dict[str, Any], ckpt: Ckpt) -> None:
    cases.is_as_told(record, ckpt)


@cases.every_case("orbax")
def test_pythons_numbers_are_objects(record: dict[str, Any]) -> None:
    objects = cases.opened(record).objects
    assert (objects["step"], objects["lr"]) == (7, 0.01)


def test_the_sample_is_read_out_of_its_database(ckpt: Ckpt) -> None:
    found = reading.open(str(SAMPLE))
    assert list(found) == [
        "bf16", "list.0", "list.1", "name/with slash", "params.Dense_0.bias", "params.Dense_0.kernel", "params.Dense_1.bias",
        "params.Dense_1.kernel",
    ]  # fmt: skip
    assert found.objects == {"empty": {}, "step": 7} and found["bf16"].array().tolist() == [0, 1, 2, 3]
    assert abs(float(found["params.Dense_0.kernel"].array().std()) - 1) < 0.1
    assert ckpt("check", SAMPLE, "--finite").status == 0
    document = ckpt("summary", SAMPLE, "--json").json
    assert document["format"] == "orbax"


@pytest.mark.parametrize("out", ["x.safetensors", "x.pt", "x.msgpack"])
def test_it_is_converted_without_a_difference(out: str, tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("convert", SAMPLE, tmp_path / out)
    assert ckpt("diff", SAMPLE, tmp_path / out).out == ""
    assert ckpt("hash", SAMPLE).rows[-1] == ckpt("hash", tmp_path / out).rows[-1]


def test_it_is_edited_into_another_format(tmp_path: Path, ckpt: Ckpt) -> None:
    ckpt("set", SAMPLE, "list.1[0, 1] = 3", "-o", tmp_path / "x.safetensors")
    assert reading.open(str(tmp_path / "x.safetensors"))["list.1"].array().tolist() == [[0, 3], [0, 0]]
    assert "read, not written" in ckpt("set", SAMPLE, "bf16 = 1", "-i", status=2).err


@pytest.mark.parametrize("below", ["default", "state", "100/default"])
def test_a_step_of_a_manager_is_its_model(below: str, tmp_path: Path, ckpt: Ckpt) -> None:
    shutil.copytree(SAMPLE, tmp_path / "run" / below)
    assert len(ckpt("ls", tmp_path / "run").rows) == 8


def test_of_several_steps_the_newest_is_meant(tmp_path: Path, ckpt: Ckpt) -> None:
    for step in ("100", "200", "300.orbax-checkpoint-tmp-1764511200000000"):
        shutil.copytree(SAMPLE, tmp_path / step / "default")
    assert "200 is opened, the newest of 2 steps" in ckpt("ls", tmp_path).err
    assert len(ckpt("ls", tmp_path / "200").rows) == 8


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_grid_of_chunks_is_one_array(data: st.DataObject, tmp_path: Path) -> None:
    shape = tuple(data.draw(st.lists(st.integers(0, 5), max_size=3)))
    chunk = tuple(data.draw(st.integers(1, 6)) for _ in shape)
    values = numpy.random.default_rng(0).integers(0, 1 << 40, shape).astype(data.draw(st.sampled_from(["<i8", ">i8", "<f4", ">u2", "|u1"])))
    parts = chunks_of(values, chunk)
    keyed = {".".join(map(str, index)) or "0": raw for index, raw in parts.items()}
    name = values.dtype.str
    found = opened(tmp_path, version_2(list(shape), list(chunk), name, keyed))
    assert found.shape == shape and (found == values).all()
    endian = "big" if name[0] == ">" else "little"
    keyed = {"/".join(["c", *map(str, index)]): raw for index, raw in parts.items()}
    codecs = [{"name": "bytes", "configuration": {"endian": endian}}]
    found = opened(tmp_path, version_3(list(shape), list(chunk), values.dtype.name, keyed, codecs=codecs))
    assert found.shape == shape and (found == values).all()


def test_compressed_chunks_are_decoded(tmp_path: Path) -> None:
    import gzip

    zstandard = pytest.importorskip("zstandard")
    values = numpy.arange(60, dtype="<f4").reshape(6, 10)
    parts = chunks_of(values, (4, 7))
    for name, pack in (("gzip", gzip.compress), ("zstd", zstandard.ZstdCompressor().compress)):
        keyed = {f"{i}.{j}": pack(raw) for (i, j), raw in parts.items()}
        assert (opened(tmp_path, version_2([6, 10], [4, 7], "<f4", keyed, compressor={"id": name})) == values).all()
        keyed = {f"c/{i}/{j}": pack(raw) for (i, j), raw in parts.items()}
        made = version_3([6, 10], [4, 7], "float32", keyed, codecs=[BYTES, {"name": name}])
        assert (opened(tmp_path, made) == values).all()


@pytest.mark.parametrize("wrong", [b"", b"\x1f\x8bnonsense"])
@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_chunks_that_are_not_what_they_should_be_are_an_error(name: str, wrong: bytes, tmp_path: Path, ckpt: Ckpt) -> None:
    build({"a": version_2([4], [4], "<f4", {"0": wrong}, compressor={"id": name})})(tmp_path / "_METADATA")
    assert f"its {name} data are" in ckpt("stats", tmp_path, status=2).err


@pytest.mark.parametrize(("count", "says"), [(3, "shorter than the 16 bytes"), (5, "longer than the 16 bytes")])
def test_chunks_of_the_wrong_size_are_an_error(count: int, says: str, tmp_path: Path, ckpt: Ckpt) -> None:
    import gzip

    raw = gzip.compress(bytes(4 * count))
    build({"a": version_2([4], [4], "<f4", {"0": raw}, compressor={"id": "gzip"})})(tmp_path / "_METADATA")
    assert says in ckpt("stats", tmp_path, status=2).err


def test_a_chunk_that_is_missing_is_zeros_where_the_header_says_so(tmp_path: Path, ckpt: Ckpt) -> None:
    assert opened(tmp_path, version_2([2], [1], "<f4", {"1": b"\0\0\x80?"})).tolist() == [0, 1]
    build({"a": version_2([2], [2], "<f4", {}, fill_value=7.0)})(tmp_path / "_METADATA")
    assert "its chunk 0 is not there" in ckpt("stats", tmp_path, status=2).err


@pytest.mark.parametrize("location", ["start", "end"])
def test_the_parts_of_a_shard_are_found_by_its_index(location: str, tmp_path: Path) -> None:
    values = numpy.arange(24, dtype="<i4").reshape(4, 6)
    parts = chunks_of(values, (2, 3))
    start = 4 * 16 + 4 if location == "start" else 0
    index, data = b"", b""
    for _, raw in sorted(parts.items()):
        index += (start + len(data)).to_bytes(8, "little") + len(raw).to_bytes(8, "little")
        data += raw
    index += crc32c(index).to_bytes(4, "little")
    made = sharded(index + data if location == "start" else data + index, parts=[2, 3], location=location)
    header = made.header | {"shape": [4, 6], "data_type": "int32"}
    header["chunk_grid"] = {"name": "regular", "configuration": {"chunk_shape": [4, 6]}}
    whole = made.chunks["c/0"]
    assert (opened(tmp_path, Made(header, {"c/0/0": whole})) == values).all()
    spoilt = bytearray(whole)
    spoilt[-1 if location == "end" else start - 1] ^= 1
    with pytest.raises(Exception, match="CRC-32C of a shard's index"):
        opened(tmp_path, Made(header, {"c/0/0": bytes(spoilt)}))


def test_crc32c_is_castagnolis() -> None:
    """The check values of RFC 3720."""
    assert crc32c(b"123456789") == 0xE3069283 and crc32c(bytes(32)) == 0x8A9136AA


def test_what_is_missing_of_the_library_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ckpt: Ckpt) -> None:
    for name in ("zstandard", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "pip install 'ckpt-tool[jax]'" in ckpt("ls", SAMPLE, status=2).err
