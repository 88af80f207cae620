"""Checkpoints within archives: tars as tarfile writes them, zips as zipfile does; read as torch and safetensors read the member itself."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SAMPLES, Ckpt

README = {"config.yaml": b"a: 1\n", "tokenizer.model": b"\x0a\x05abc"}
Case = Callable[[str], Path]


def tarred(members: dict[str, bytes], mode: str = "w", form: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


KINDS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "gnu.tar": tarred,
    "ustar.tar": lambda members: tarred(members, form=tarfile.USTAR_FORMAT),
    "pax.tar": lambda members: tarred(members, form=tarfile.PAX_FORMAT),
    "packed.tar.gz": lambda members: tarred(members, "w:gz"),
    "two.tar.gz": lambda members: gzip.compress(tarred(members)[:700]) + gzip.compress(tarred(members)[700:]),
    "stored.zip": zipped,
    "deflated.zip": lambda members: zipped(members, zipfile.ZIP_DEFLATED),
}
INNER = ["mlp.pt", "nested.legacy.pt", "dtypes.safetensors", "training.ckpt"]
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("inner", INNER)
def test_the_only_checkpoint_in_an_archive_is_opened(ckpt: Ckpt, tmp_path: Path, kind: str, inner: str) -> None:
    path = tmp_path / kind
    path.write_bytes(KINDS[kind]({f"sub/{inner}": (SAMPLES / inner).read_bytes(), **README}))
    alone, found = ckpt("ls", SAMPLES / inner), ckpt("ls", path)
    assert found.out == alone.out and "is opened; beside it lie config.yaml, tokenizer.model" in found.err
    assert ckpt("hash", f"{path}!sub/{inner}").out == ckpt("hash", SAMPLES / inner).out
    assert ckpt("diff", SAMPLES / inner, path).out == ""
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [kind]


@every_kind
def test_one_of_several_is_named(ckpt: Ckpt, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    members = {name: (SAMPLES / name).read_bytes() for name in ("mlp.pt", "nested.pt")}
    path.write_bytes(KINDS[kind](members))
    error = ckpt("ls", path, status=2).err
    assert f"holds 2 checkpoints (name the one that you mean: '{path}!mlp.pt' '{path}!nested.pt')" in error
    assert ckpt("ls", f"{path}!nested.pt").out == ckpt("ls", SAMPLES / "nested.pt").out
    assert ckpt("diff", f"{path}!nested.pt", f"{path}!mlp.pt", status=1).out
    assert "no member 'mpl.pt' in the archive (did you mean mlp.pt?)" in ckpt("ls", f"{path}!mpl.pt", status=2).err


def test_an_edit_of_a_member_is_refused_with_the_cure(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "m.nemo"
    path.write_bytes(tarred({"./model_weights.ckpt": (SAMPLES / "mlp.pt").read_bytes()}))
    content = path.read_bytes()
    error = ckpt("set", path, "*.bias=0", "-i", status=2).err
    assert f"is read, not edited (ckpt convert '{path}!model_weights.ckpt' out.pt first)" in error
    ckpt("set", path, "*.bias=0", "-o", tmp_path / "out.pt")
    ckpt("set", SAMPLES / "mlp.pt", "*.bias=0", "-o", tmp_path / "want.pt")
    assert ckpt("diff", tmp_path / "out.pt", tmp_path / "want.pt").out == "" and path.read_bytes() == content


def test_a_nemo_file_is_its_weights(ckpt: Ckpt, case: Case, tmp_path: Path) -> None:
    right, nemo = case("reports/nemo-tar/right.pt"), case("reports/nemo-tar/m.nemo")
    assert ckpt("ls", nemo).out == ckpt("ls", right).out and ckpt("diff", nemo, right).out == ""
    packed = tmp_path / "packed.nemo"
    packed.write_bytes(gzip.compress(nemo.read_bytes()))
    assert ckpt("diff", packed, right).out == "" and ckpt("check", packed, "--finite")


def test_check_holds_a_stored_member_against_its_checksum(ckpt: Ckpt, tmp_path: Path) -> None:
    raw = (SAMPLES / "mlp.safetensors").read_bytes()
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"a.safetensors": raw}))
    assert ckpt("check", path).out == ""
    path.write_bytes(path.read_bytes().replace(raw[-40:], raw[-40:-1] + b"?"))
    assert "a.zip!a.safetensors" in ckpt("check", path, status=1).out


def test_a_member_that_is_not_there(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "m.nemo"
    path.write_bytes(tarred({"./weights.ckpt": (SAMPLES / "mlp.pt").read_bytes(), "config.yaml": b"a: 1"}))
    assert "(it has weights.ckpt, config.yaml)" in ckpt("ls", f"{path}!nowhere", status=2).err
    assert "m.nemo!config.yaml: this is plain text" in ckpt("ls", f"{path}!config.yaml", status=2).err
    assert ckpt("ls", f"{path}!./weights.ckpt").out == ckpt("ls", f"{path}!weights.ckpt").out


def test_a_file_whose_name_has_an_exclamation_mark_is_itself(ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / "a!b.pt").write_bytes((SAMPLES / "mlp.pt").read_bytes())
    assert ckpt("ls", tmp_path / "a!b.pt").out == ckpt("ls", SAMPLES / "mlp.pt").out
    assert "no archive with members" in ckpt("ls", f"{SAMPLES / 'mlp.safetensors'}!x", status=2).err


@pytest.mark.parametrize("size", [100, 101, 200, 300])
def test_long_names(ckpt: Ckpt, tmp_path: Path, size: int) -> None:
    name = "d/" * 40 + "x" * (size - 83) + ".pt"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / "a.tar"
        path.write_bytes(tarred({name: (SAMPLES / "mlp.pt").read_bytes()}, form=form))
        assert ckpt("ls", f"{path}!{name}").out == ckpt("ls", SAMPLES / "mlp.pt").out


def test_links_and_devices_are_passed_over(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(SAMPLES / "mlp.pt", "mlp.pt")
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)):
            info = tarfile.TarInfo(f"odd{number}.pt")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert ckpt("ls", path).out == ckpt("ls", SAMPLES / "mlp.pt").out


def test_a_gzip_is_read_anywhere_in_little_memory(tmp_path: Path) -> None:
    import random

    from ckpt_cli.storage.file import File, FileWindow
    from ckpt_cli.storage.inflated import GZIP, InflatedFile

    content = random.Random(0).randbytes(1 << 20) * 12
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(content[: 5 << 20], 1) + gzip.compress(content[5 << 20 :], 1))
    file = File(str(path))
    inflated = InflatedFile(FileWindow(file, 0, file.size), GZIP)
    assert inflated.size == len(content)
    for at in (0, 5, 11 << 20, 3 << 20, (5 << 20) - 7, 9 << 20, len(content) - 100):
        assert inflated.read(at, 100) == content[at : at + 100]
