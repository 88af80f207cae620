"""HDF5 datasets in chunks: an edit rewrites the chunks that it touches, and filters, limits, fill values and all else survive it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import WHOLE, Ckpt

FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "gzip": {"compression": "gzip", "compression_opts": 9},
    "shuffle, gzip": {"shuffle": True, "compression": "gzip"},
    "fletcher32": {"fletcher32": True},
    "all": {"shuffle": True, "compression": "gzip", "fletcher32": True},
    "lzf": {"compression": "lzf", "shuffle": True},
    "szip": {"compression": "szip"},
    "scale-offset": {"scaleoffset": 4},
}
every_filter = pytest.mark.parametrize("how", FILTERS if WHOLE else ["gzip", "all", "lzf", "scale-offset"])
every_way = pytest.mark.parametrize(("where", "libver"), [("in place", "earliest"), ("into a new file", "latest")])
SHAPE, CHUNKS = (60, 50), (16, 20)


def values() -> np.ndarray[Any, Any]:
    return (np.arange(3000).reshape(SHAPE) % 97 / 8).astype("f4")


def written(path: Path, how: str, libver: str = "earliest") -> Path:
    with h5py.File(path, "w", libver=libver, track_order=True) as file:
        limits = {"chunks": CHUNKS, "maxshape": (None, 80), "fillvalue": 1.5}
        made = file.create_dataset("z/w", data=values(), track_order=True, **limits, **FILTERS[how])
        made.attrs["b"], made.attrs["a"] = "second", np.arange(3)
        file.create_dataset("y", data=-values(), chunks=CHUNKS, **FILTERS[how])
        file["b"] = np.arange(10.0)
        file.attrs["kept"] = "yes"
    return path


def chunks(dataset: h5py.Dataset) -> dict[tuple[int, ...], tuple[int, bytes]]:
    """The chunks of a dataset as they lie in the file, with the filters that they did not pass."""
    infos = [dataset.id.get_chunk_info(number) for number in range(dataset.id.get_num_chunks())]
    return {info.chunk_offset: dataset.id.read_direct_chunk(info.chunk_offset) for info in infos}


def facts(dataset: h5py.Dataset) -> tuple[Any, ...]:
    """What a dataset is, besides its values and its type."""
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(number)[::3] for number in range(plist.get_nfilters())]
    attributes = {name: np.asarray(value).tolist() for name, value in dataset.attrs.items()}
    return dataset.shape, dataset.maxshape, dataset.chunks, filters, float(dataset.fillvalue), attributes


def same(one: Path, two: Path, but: str = "") -> None:
    """Everything in two files is equal, chunks to the last byte, but for the dataset `but`, of which all but the values are."""
    with h5py.File(one) as a, h5py.File(two) as b:
        assert dict(a.attrs) == dict(b.attrs) and list(a) == list(b)
        for name in ("z/w", "y", "b"):
            assert a[name].dtype == b[name].dtype and facts(a[name]) == facts(b[name])
            if name != but and a[name].chunks:
                assert chunks(a[name]) == chunks(b[name])
            if name != but:
                assert np.array_equal(a[name], b[name])


@every_way
@every_filter
def test_one_element_rewrites_one_chunk(how: str, libver: str, where: str, tmp_path: Path, ckpt: Ckpt) -> None:
    source = written(tmp_path / "a.h5", how, libver)
    out = tmp_path / "out.h5"
    if where == "in place":
        shutil.copy(source, out)
        ckpt("set", out, "z/w[17, 45] = 100.5", "-i")
    else:
        ckpt("set", source, "z/w[17, 45] = 100.5", "-o", out)
    same(source, out, but="z/w")
    with h5py.File(source) as before, h5py.File(out) as after:
        want = before["z/w"][()]
        want[17, 45] = 100.5
        assert np.allclose(after["z/w"], want, atol=1e-3 if how == "scale-offset" else 0)
        old, new = chunks(before["z/w"]), chunks(after["z/w"])
        assert [place for place in old if old[place] != new[place]] == [(16, 40)] and old.keys() == new.keys()
    assert out.stat().st_size <= source.stat().st_size + 2 * 16 * 20 * 4
    assert ckpt("diff", source, out, status=1).rows[0][:2] == ["changed", "z/w"]


@every_filter
def test_other_edits_copy_the_chunks_as_they_are(how: str, tmp_path: Path, ckpt: Ckpt) -> None:
    source, out = written(tmp_path / "a.h5", how), tmp_path / "out.h5"
    ckpt("rename", source, "b=c", "-o", out)
    ckpt("rename", out, "c=b", "-i")
    same(source, out)
    ckpt("drop", source, "b", "-o", tmp_path / "dropped.h5")
    with h5py.File(source) as before, h5py.File(tmp_path / "dropped.h5") as after:
        assert list(after) == ["z", "y"] and all(chunks(before[name]) == chunks(after[name]) for name in ("z/w", "y"))
        assert list(after["z/w"].attrs) == list(before["z/w"].attrs) == ["b", "a"]


@every_filter
def test_a_cast_keeps_shape_limits_and_filters(how: str, tmp_path: Path, ckpt: Ckpt) -> None:
    source, out = written(tmp_path / "a.h5", how), tmp_path / "out.h5"
    said = ckpt("cast", source, "float64", "z/w", "-o", out).err
    assert ("and the data grow" in said) == (how in ("szip", "scale-offset"))
    with h5py.File(source) as before, h5py.File(out) as after:
        assert after["z/w"].dtype == "f8" and np.array_equal(after["z/w"], before["z/w"])
        old, new = facts(before["z/w"]), facts(after["z/w"])
        for_any_type = [each for each in old[3] if each[0] not in (4, 6)]  # szip and scale-offset are made for one type
        assert [each[0] for each in new[3]] == [each[0] for each in for_any_type] and new[:3] + new[4:] == old[:3] + old[4:]
        assert chunks(after["y"]) == chunks(before["y"])
    ckpt("cast", source, "float64", "z/w", "-i")
    assert source.read_bytes() == out.read_bytes()


@every_filter
def test_a_drawn_dataset_is_encoded_as_the_old_one_was(how: str, tmp_path: Path, ckpt: Ckpt) -> None:
    source, out = written(tmp_path / "a.h5", how), tmp_path / "out.h5"
    ckpt("reinit", source, "z/w=constant(3)", "-o", out)
    same(source, out, but="z/w")
    with h5py.File(out) as after:
        assert (after["z/w"][()] == 3).all()
    assert out.stat().st_size <= 1.1 * source.stat().st_size + 4096


def test_what_is_large_is_written_anew_chunk_by_chunk(tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    from ckpt_cli.formats.keras import hdf5_chunk_writing, hdf5_patching

    monkeypatch.setattr(hdf5_patching, "_MOST", 1000)
    monkeypatch.setattr(hdf5_chunk_writing, "_IN_MEMORY", 1000)
    source, out = written(tmp_path / "a.h5", "all"), tmp_path / "out.h5"
    ckpt("set", source, "z/w[:, 3] *= 2", "-o", out)
    same(source, out, but="z/w")
    with h5py.File(source) as before, h5py.File(out) as after:
        want = before["z/w"][()]
        want[:, 3] *= 2
        assert np.array_equal(after["z/w"], want)
        old, new = chunks(before["z/w"]), chunks(after["z/w"])
        assert {place for place in old if old[place] != new[place]} == {place for place in old if place[1] == 0}


@pytest.mark.parametrize("dtype", ["u1", "<f4", "<f8"])
@pytest.mark.parametrize("size", [1, 3, 100_001])
def test_a_checksum_is_verified(dtype: str, size: int, tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.h5"
    drawn = np.random.default_rng(size).integers(0, 255, size * np.dtype(dtype).itemsize, "u1").view(dtype)
    with h5py.File(path, "w") as file:
        made = file.create_dataset("x", data=drawn, chunks=(size,), fletcher32=True)
        at = made.id.get_chunk_info(0).byte_offset
    ckpt("check", path)
    raw = bytearray(path.read_bytes())
    raw[at + drawn.nbytes // 2] ^= 4
    path.write_bytes(raw)
    assert "does not have the checksum" in ckpt("get", path, "x", status=2).err
    assert "does not have the checksum" in ckpt("check", path, status=1).out
    assert "does not have the checksum" in ckpt("set", path, "x[0] = 1", "-i", status=2).err and path.read_bytes() == raw


@every_way
def test_a_chunk_that_grows_goes_behind_all_others_which_stay_where_they_are(where: str, libver: str, tmp_path: Path, ckpt: Ckpt) -> None:
    source, out = written(tmp_path / "a.h5", "gzip", libver), tmp_path / "out.h5"
    drawn = [f"z/w[{row}, {column}] = {row * column / 7}" for row in range(16, 32) for column in range(20, 40, 3)]
    shutil.copy(source, out) if where == "in place" else None
    ckpt("set", *((out, *drawn, "-i") if where == "in place" else (source, *drawn, "-o", out)))
    same(source, out, but="z/w")
    old, new = source.read_bytes(), out.read_bytes()
    assert len(old) < len(new) < len(old) + 2 * 16 * 20 * 4
    with h5py.File(source) as before, h5py.File(out) as after:
        for name in ("z/w", "y"):
            places = [{i.chunk_offset: i.byte_offset for i in map(file[name].id.get_chunk_info, range(12))} for file in (before, after)]
            moved = [place for place, at in places[0].items() if places[1][place] != at]
            assert moved == ([(16, 20)] if name == "z/w" else [])
        assert after["z/w"][31, 38] == np.float32(31 * 38 / 7)
    assert sum(a != b for a, b in zip(old, new, strict=False)) < 1000


@pytest.mark.parametrize("dtype", [">f4", ">i2", "<u8", "?", ">c16", "<f2"])
@pytest.mark.parametrize("chunked", [True, False])
def test_either_byte_order_and_every_type_stay_as_they_are(dtype: str, chunked: bool, tmp_path: Path, ckpt: Ckpt) -> None:
    source, out = tmp_path / "a.h5", tmp_path / "out.h5"
    with h5py.File(source, "w") as file:
        made = {"chunks": (2, 3), "compression": "gzip"} if chunked else {}
        file.create_dataset("x", data=np.ones((5, 4), dtype), **made)
        file["y"] = 1.0
    ckpt("set", source, "x[4, 3] = 0", "-i")
    ckpt("rename", source, "y=z", "-o", out)
    with h5py.File(source) as one, h5py.File(out) as two:
        want = np.ones((5, 4), dtype)
        want[4, 3] = 0
        assert np.array_equal(one["x"], want) and np.array_equal(two["x"], want) and one["x"].dtype == np.dtype(dtype)
        assert two["x"].dtype == np.dtype(dtype if chunked else want.dtype.newbyteorder("<"))


def test_a_chunk_that_was_never_written_is_made_and_compact_data_are_changed(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("new", (40, 40), "f4", chunks=(8, 8), compression="gzip", fillvalue=7)
        file.create_dataset("empty", (6,), "f4", fillvalue=2)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        compact = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), plist)
        compact.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones(4, "f4"))
    ckpt("set", path, "new[20, 20] = 1", "empty[2] = 1", "compact[1] = 5", "-i")
    with h5py.File(path) as file:
        assert file["new"][20, 20] == 1 and float(file["new"][()].sum()) == 7 * 1599 + 1 and file["new"].id.get_num_chunks() == 1
        assert file["empty"][()].tolist() == [2, 2, 1, 2, 2, 2] and file["compact"][()].tolist() == [1, 5, 1, 1]


def test_what_no_rebuild_could_write_stays_when_a_chunk_is_changed(tmp_path: Path, ckpt: Ckpt) -> None:
    path = written(tmp_path / "a.h5", "gzip")
    with h5py.File(path, "a") as file:
        file["pairs"] = np.zeros(2, [("a", "i4"), ("b", "f4")])
        file["y"].attrs["reference"] = file["z"].ref
    ckpt("set", path, "z/w[0, 0] = 77", "-n")
    ckpt("set", path, "z/w[0, 0] = 77", "-o", tmp_path / "out.h5")
    ckpt("set", path, "z/w[0, 0] = 77", "-i")
    for edited in (path, tmp_path / "out.h5"):
        with h5py.File(edited) as file:
            assert file["z/w"][0, 0] == 77 and len(file["pairs"]) == 2 and file[file["y"].attrs["reference"]] == file["z"]


def test_filters_that_nobody_has_are_copied_and_refused_in_one_line_where_they_are_to_be_undone(tmp_path: Path, ckpt: Ckpt) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        plist.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (1, 2))  # Blosc
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), plist)
        made.write_direct_chunk((0,), b"packed by others")
        made.write_direct_chunk((0,), b"packed by others, too")
        file["y"] = file["z"] = np.zeros(3)
    assert "h5repack" in ckpt("get", path, "x", status=2).err
    assert "h5repack" in ckpt("set", path, "x[1] = 3", "-i", status=2).err
    ckpt("set", path, "y[1] = 3", "-i")
    ckpt("drop", path, "z", "-i")
    with h5py.File(path) as file:
        assert file["x"].id.read_direct_chunk((0,)) == (0, b"packed by others, too") and file["y"][1] == 3


def test_the_reported_file(case: Callable[[str], Path], tmp_path: Path, ckpt: Ckpt) -> None:
    """freesurfer#1385: after h5repack with shuffle and gzip."""
    source, out = case("reports/h5-gzip/repacked.h5"), tmp_path / "out.h5"
    path = Path(shutil.copy(source, tmp_path / "a.h5"))
    path.chmod(0o600)
    ckpt("set", source, "l1/kernel[31, 70] = 42", "-o", out)
    ckpt("set", path, "l1/kernel[31, 70] = 42", "-i")
    for edited in (path, out):
        with h5py.File(source) as before, h5py.File(edited) as after:
            for name in ("bias", "l0/kernel", "l1/kernel", "l2/kernel", "l3/kernel"):
                want = before[name][()]
                if name == "l1/kernel":
                    want[31, 70] = 42
                assert np.array_equal(after[name], want) and after[name].chunks == before[name].chunks
                assert after[name].compression == before[name].compression and after[name].shuffle == before[name].shuffle
                differ = (
                    [place for place, chunk in chunks(before[name]).items() if chunks(after[name])[place] != chunk]
                    if after[name].chunks
                    else []
                )
                assert differ == ([(30, 50)] if name == "l1/kernel" else [])
        assert abs(edited.stat().st_size - source.stat().st_size) < 0.2 * source.stat().st_size


def test_room_for_chunks_takes_no_memory_while_a_file_is_laid_out() -> None:
    from ckpt_cli.formats.keras.hdf5_library import SparseFile

    file, room = SparseFile(), bytes(1 << 24)
    with h5py.File(file, "w") as opened:
        made = opened.create_dataset("x", (4, 1 << 22), "f4", chunks=(1, 1 << 22), compression="gzip")
        for row in range(4):
            made.id.write_direct_chunk((row, 0), room)
    assert file.size > 4 << 24 and len(file.pages) < 100
