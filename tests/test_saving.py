"""Saving is all or nothing: the old content or the new, the mode kept, links followed, nothing left behind, and durable."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES, WHOLE, Ckpt, heeds_ctrl_c
from oracles import loaded

EDITS = [["set", "w = 1"], ["cast", "float16"]]  # one that patches, one that rebuilds
KINDS = ["pt", "safetensors"]


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest, tmp_path: Path, ckpt: Ckpt) -> Path:
    """A checkpoint of zeros, alone in its folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    torch.save({"w": torch.zeros(1000), "x": torch.ones(3)}, folder / "m.pt")
    if request.param == "pt":
        return folder / "m.pt"
    ckpt("convert", folder / "m.pt", folder / "m.safetensors")
    (folder / "m.pt").unlink()
    return folder / "m.safetensors"


def inside(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def done(path: Path) -> bool:
    """Whether one of EDITS was made."""
    w = loaded(path)["w"]
    return w.dtype == torch.float16 or bool((w == 1).all())


@pytest.mark.parametrize("edit", EDITS, ids=["patch", "rebuild"])
class TestEdits:
    """Both ways to save: a patched copy and a rebuild."""

    def test_nothing_but_the_target_is_in_the_folder_after_success(self, edit: list[str], path: Path, ckpt: Ckpt) -> None:
        ckpt(edit[0], path, *edit[1:], "-i")
        assert done(path) and inside(path) == [path.name]

    @pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o755, 0o444])
    def test_the_mode_of_the_replaced_file_is_kept(self, mode: int, edit: list[str], path: Path, ckpt: Ckpt) -> None:
        path.chmod(mode)
        ckpt(edit[0], path, *edit[1:], "-i")
        assert stat.S_IMODE(path.stat().st_mode) == mode

    @pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
    def test_a_new_file_has_the_mode_that_the_umask_leaves(self, mask: int, edit: list[str], path: Path, ckpt: Ckpt) -> None:
        before = os.umask(mask)
        try:
            ckpt(edit[0], path, *edit[1:], "-o", path.with_stem("new"))
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.with_stem("new").stat().st_mode) == 0o666 & ~mask

    def test_a_symbolic_link_stays_a_link_and_its_target_changes(self, edit: list[str], path: Path, tmp_path: Path, ckpt: Ckpt) -> None:
        link = tmp_path / ("link" + path.suffix)
        link.symlink_to(path)
        ckpt(edit[0], link, *edit[1:], "-i")
        assert link.is_symlink() and done(path) and inside(path) == [path.name]

    def test_backup_keeps_the_old_bytes_each_time(self, edit: list[str], path: Path, ckpt: Ckpt) -> None:
        for _ in range(2):
            old = path.read_bytes()
            ckpt(edit[0], path, *edit[1:], "-i", "--backup", ".bak")
            assert path.with_name(path.name + ".bak").read_bytes() == old
        assert inside(path) == [path.name, path.name + ".bak"] and done(path)

    def test_a_backup_that_is_a_link_to_the_file_leaves_no_litter(self, edit: list[str], path: Path, ckpt: Ckpt) -> None:
        old = path.read_bytes()
        os.link(path, path.with_name(path.name + ".bak"))
        ckpt(edit[0], path, *edit[1:], "-i", "--backup", ".bak")
        assert inside(path) == [path.name, path.name + ".bak"]
        assert path.with_name(path.name + ".bak").read_bytes() == old and done(path)

    def test_the_output_may_be_the_input_by_another_path(self, edit: list[str], path: Path, tmp_path: Path, ckpt: Ckpt) -> None:
        (tmp_path / "other").symlink_to(path.parent)
        again = tmp_path / "other" / path.name
        before = path.read_bytes()
        assert "the file is there already" in ckpt(edit[0], path, *edit[1:], "-o", again, status=2).err
        assert path.read_bytes() == before
        ckpt(edit[0], path, *edit[1:], "-o", again, "--force")
        assert done(path) and inside(path) == [path.name]

    def test_an_interruption_leaves_the_old_file_alone(
        self, edit: list[str], path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, real = path.read_bytes(), os.fsync

        def interrupted(fd: int) -> None:
            real(fd)
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupted)
        assert ckpt(edit[0], path, *edit[1:], "-i", status=130).err == ""
        assert path.read_bytes() == before and inside(path) == [path.name]

    def test_a_full_disk_leaves_the_old_file_alone(self, edit: list[str], path: Path) -> None:
        before = path.read_bytes()
        for target in (["-i"], ["-o", str(path.with_stem("new"))]):
            result = limited(1000, edit[0], str(path), *edit[1:], *target)
            assert result.returncode == 2 and result.stderr.startswith("ckpt: error: ") and result.stderr.count("\n") == 1
            assert path.read_bytes() == before and inside(path) == [path.name]

    def test_short_writes_go_on_where_they_stopped(self, edit: list[str], path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
        write, pwrite = os.write, os.pwrite
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:7]))
        monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, bytes(data)[:7], at))
        monkeypatch.delattr(os, "copy_file_range", raising=False)
        ckpt(edit[0], path, *edit[1:], "-i")
        assert done(path) and loaded(path)["x"].tolist() == [1, 1, 1]

    @pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
    def test_file_and_folder_are_synced_around_the_rename(self, edit: list[str], path: Path, tmp_path: Path) -> None:
        log = tmp_path / "log"
        run = [sys.executable, "-m", "ckpt_cli", edit[0], str(path), *edit[1:], "-i"]
        calls = "trace=fsync,fdatasync,rename,renameat,renameat2,openat,write,pwrite64,copy_file_range,unlink"
        traced = subprocess.run(["strace", "-f", "-y", "-o", log, "-e", calls, *run], capture_output=True, text=True)
        if "ptrace" in traced.stderr or "Operation not permitted" in traced.stderr:
            pytest.skip("strace may not trace here")
        folder = re.escape(str(path.parent))
        steps = []
        for line in log.read_text().splitlines():
            if re.search(rf"(write|pwrite64)\(\d+<{folder}/\.m.*tmp>|copy_file_range\(.*{folder}/\.m.*tmp>", line):
                steps.append("write")
            elif re.search(rf"fsync\(\d+<{folder}/\.m.*tmp>\) += 0", line):
                steps.append("sync file")
            elif re.search(rf'rename\w*\(.*"{folder}/\.m.*tmp", .*"{folder}/{re.escape(path.name)}"', line):
                steps.append("rename")
            elif re.search(rf"fsync\(\d+<{folder}>\) += 0", line):
                steps.append("sync folder")
        assert [step for i, step in enumerate(steps) if i == 0 or step != steps[i - 1]] == ["write", "sync file", "rename", "sync folder"]

    def test_the_owner_and_the_attributes_of_the_replaced_file_are_kept(self, edit: list[str], path: Path, ckpt: Ckpt) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(path, 12345, 54321)
        path.chmod(0o640)
        try:
            os.setxattr(path, "user.ckpt", b"kept")
        except OSError:
            pytest.skip("this file system has no extended attributes")
        ckpt(edit[0], path, *edit[1:], "-i")
        info = path.stat()
        assert done(path) and (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (12345, 54321, 0o640)
        assert os.getxattr(path, "user.ckpt") == b"kept"

    def test_a_file_that_may_not_be_given_away_is_not_read_by_another_group(
        self, edit: list[str], path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(fd: int, owner: int, group: int) -> None:
            raise PermissionError(1, "Operation not permitted")

        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(path, 12345, 54321)
        path.chmod(0o4664)
        monkeypatch.setattr(os, "fchown", refused)
        ckpt(edit[0], path, *edit[1:], "-i")
        assert done(path) and stat.S_IMODE(path.stat().st_mode) == 0o644

    def test_attributes_of_the_system_that_may_not_be_set_are_left_out(
        self, edit: list[str], path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(fd: int, name: str, value: bytes) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "listxattr", lambda path: ["security.selinux"])
        monkeypatch.setattr(os, "getxattr", lambda path, name: b"x")
        monkeypatch.setattr(os, "setxattr", refused)
        ckpt(edit[0], path, *edit[1:], "-i")
        assert done(path)

    def test_a_file_system_without_hard_links(self, edit: list[str], path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(old: str, new: str) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refused)
        before, changed = path.read_bytes(), path.stat().st_mtime_ns
        ckpt(edit[0], path, *edit[1:], "-i", "--backup", ".bak")
        backup = path.with_name(path.name + ".bak")
        assert backup.read_bytes() == before and backup.stat().st_mtime_ns == changed
        assert done(path) and inside(path) == [path.name, backup.name]

    def test_a_rebuild_of_a_file_of_several_names_says_that_the_others_keep_the_old_content(
        self, edit: list[str], path: Path, ckpt: Ckpt
    ) -> None:
        before = path.read_bytes()
        os.link(path, path.with_name("other"))
        said = ckpt(edit[0], path, *edit[1:], "-i").err
        told = edit[0] == "cast"
        assert ("the hard link is broken to another name, which keeps the old content" in said) == told and said.count("\n") == told
        assert (path.with_name("other").read_bytes() == before) == told

    def test_what_dead_edits_left_is_swept_and_what_the_living_write_is_not(self, edit: list[str], path: Path, ckpt: Ckpt) -> None:
        import fcntl

        dead, alive, foreign = (path.with_name(f".{path.name}.{name}.tmp") for name in ("0123456789ab", "ba9876543210", "notes"))
        old = path.with_name(f".{path.name}.ckpt-journal.0123456789ab.old")
        for file in (dead, alive, foreign, old):
            file.write_bytes(b"x")
        with open(alive) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            ckpt(edit[0], path, *edit[1:], "-i")
        assert done(path) and inside(path) == sorted([path.name, alive.name, foreign.name])

    def test_an_error_of_close_is_fatal(self, edit: list[str], path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
        before, dup = path.read_bytes(), os.dup

        def broken(fd: int) -> int:
            os.close(dup(fd))
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "dup", broken)
        target = ["-i"] if edit[0] == "cast" else ["-o", path.with_stem("new")]
        assert "input/output error" in ckpt(edit[0], path, *edit[1:], *target, status=2).err
        assert path.read_bytes() == before and inside(path) == [path.name]


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from ckpt_cli.cli import main
sys.exit(main(sys.argv[2:]))
"""


def limited(size: int, *args: str) -> subprocess.CompletedProcess[str]:
    """`ckpt ARGS…` where no file may grow beyond `size` bytes, as on a disk that is full."""
    return subprocess.run([sys.executable, "-c", LIMITED, str(size), *args], capture_output=True, text=True)


def test_a_file_system_that_is_full_leaves_nothing(path: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs", full], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        for name in ("out.pt", "out.safetensors"):
            run = subprocess.run(
                [sys.executable, "-m", "ckpt_cli", "convert", path, full / name, "--dtype", "float64"], capture_output=True, text=True
            )
            assert (
                run.returncode == 2
                and "no space left on device (nothing is changed; free some space)" in run.stderr
                and run.stderr.count("\n") == 1
            )
            assert str(full / name) in run.stderr and list(full.iterdir()) == []
    finally:
        subprocess.run(["umount", full], check=True)


def test_a_device_a_pipe_and_a_folder_are_refused_as_targets(path: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "dir.pt").mkdir()
    for target in (tmp_path / "pipe.pt", tmp_path / "dir.pt", Path("/dev/full"), Path("/dev/null")):
        result = ckpt("cast", path, "float16", "-o", target, "--format", "torch", "--force", status=2)
        assert "this is no regular file" in result.err and str(target) in result.err
    assert list((tmp_path / "dir.pt").iterdir()) == []


def test_pipes_and_devices_are_refused_as_sources_without_waiting(tmp_path: Path, ckpt: Ckpt) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    signal.alarm(10)
    try:
        assert "a FIFO, not a file" in ckpt("ls", tmp_path / "pipe.pt", status=2).err
        assert "a device, not a file" in ckpt("ls", "/dev/zero", status=2).err
    finally:
        signal.alarm(0)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-o", "new.pt", "-i"], "-o and -i exclude each other"),
        (["-o", "new.pt", "--backup", ".bak"], "--backup goes with -i"),
        (["-i", "--backup", ""], "--backup takes a suffix"),
        ([], "where should the result go?"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(args: list[str], says: str, path: Path, ckpt: Ckpt) -> None:
    before = path.read_bytes()
    assert says in ckpt("cast", path, "float16", *args, status=2).err
    assert path.read_bytes() == before and inside(path) == [path.name]


def test_a_dangling_link_is_written_through(path: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    link = tmp_path / "link.pt"
    link.symlink_to(tmp_path / "new.pt")
    ckpt("cast", path, "float16", "-o", link)
    assert link.is_symlink() and done(tmp_path / "new.pt")


def test_a_long_name_of_any_letters_is_written(path: Path, ckpt: Ckpt) -> None:
    target = path.with_name("界" * 80 + ".pt")
    ckpt("cast", path, "float16", "-o", target)
    assert done(target)


def test_an_edit_of_the_model_in_a_folder_changes_that_file(tmp_path: Path, ckpt: Ckpt) -> None:
    torch.save({"w": torch.zeros(4)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text("{}")
    ckpt("set", tmp_path, "w = 1", "-i")
    assert done(tmp_path / "pytorch_model.bin") and sorted(os.listdir(tmp_path)) == ["config.json", "pytorch_model.bin"]


def test_what_is_written_does_not_depend_on_the_kernel_s_help(tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"w": torch.rand(5000), "x": torch.ones(3)}, tmp_path / "a.pt")
    ckpt("drop", tmp_path / "a.pt", "x", "-o", tmp_path / "b.pt")
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    ckpt("drop", tmp_path / "a.pt", "x", "-o", tmp_path / "c.pt")
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "c.pt").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if WHOLE else [])])
def test_a_signal_ends_a_save_with_its_own_status_and_leaves_nothing_behind(number: int, tmp_path: Path) -> None:
    """A scheme of the user's own holds the save up until the signal comes."""
    (tmp_path / "slow.py").write_text("import time\ndef slow(tensor):\n    open('ready', 'w').close()\n    time.sleep(30)\n")
    shutil.copy(SAMPLES / "mlp.pt", tmp_path)
    before = (tmp_path / "mlp.pt").read_bytes()
    args = [sys.executable, "-m", "ckpt_cli", "reinit", "mlp.pt", "0.weight=slow.py:slow", "-o", "new.pt"]
    ckpt = subprocess.Popen(args, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=heeds_ctrl_c)
    while not (tmp_path / "ready").exists() and ckpt.poll() is None:
        time.sleep(0.02)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    ckpt.send_signal(number)
    _, err = ckpt.communicate(timeout=20)
    assert ckpt.returncode == 128 + number and b"Traceback" not in err
    assert (tmp_path / "mlp.pt").read_bytes() == before
    assert not [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def test_a_new_file_in_place_of_one_whose_edit_died_is_not_undone_with_it(path: Path, ckpt: Ckpt, tmp_path: Path) -> None:
    """The journal belongs to what was there before."""
    from ckpt_cli.disk.fingerprint import fingerprint
    from ckpt_cli.disk.journal import JournalEntry
    from ckpt_cli.disk.journal_writing import NewJournal

    other = tmp_path / ("other" + path.suffix)
    shutil.copy(path, other)
    record = NewJournal(str(path))
    with open(path, "r+b") as file:
        size = path.stat().st_size
        extents = [(size - 8, 4)]
        record.write(JournalEntry(size=size, print=fingerprint(file.fileno(), extents), extents=extents), file.fileno())
    record.close()
    ckpt("set", other, "x[0] = 7", "-o", path, "--force")
    after = path.read_bytes()
    ckpt("ls", path)
    assert path.read_bytes() == after and inside(path) == [path.name]
