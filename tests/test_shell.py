"""In the shell: errors, pipes, terminals, signals, odd surroundings; and which rooms of the program know which."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest
import torch
from conftest import SAMPLES, Ckpt, heeds_ctrl_c

CKPT = Path(sys.executable).with_name("ckpt")
MLP = SAMPLES / "mlp.pt"


def shell(*args: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    """`ckpt ARGS…` as a program of its own; standard output is a pipe."""
    env = {"PATH": os.environ["PATH"]} | dict(options.pop("env", {}))  # type: ignore[call-overload]
    return subprocess.run([str(arg) for arg in (CKPT, *args)], capture_output=True, timeout=30, env=env, **options)  # type: ignore[call-overload]


# Errors


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["lss", MLP], "no such command 'lss' (did you mean ls"),
        (["xyzzy"], "no such command 'xyzzy' (`ckpt --help` lists the commands)"),
        (["ls", MLP, "--no-such"], "no such option: --no-such (see `ckpt ls --help`)"),
        (["--no-such"], "no such option: --no-such (see `ckpt --help`)"),
        (["ls"], "missing argument 'CKPT' (see `ckpt ls --help`)"),
        (["ls", MLP, "--sort", "color"], "--sort"),
        (["get", MLP, "0.weight", "--precision", "-1"], "--precision"),
        (["ls", "no/such/file.pt"], "no/such/file.pt: no such file or directory (check the path)"),
        (["ls", ""], "no such file"),
        (["get", MLP, "0.weigth"], "mlp.pt: nothing matches '0.weigth' (did you mean 0.weight or 2.weight?)"),
        (["ls", MLP, "a\nb\x1b[31m"], r"nothing matches 'a\nb\x1b[31m'"),
    ],
    ids=str,
)
def test_an_error_is_one_line_and_exit_2(ckpt: Ckpt, args: list[object], says: str) -> None:
    found = ckpt(*args, status=2)
    assert says in found.err and not found.out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "web page"),
        (b"\n <html>", "web page"),
        (bytes(4096), "nothing but zeros"),
        (b"\1\2\3" + bytes(100), "not a checkpoint of any known format (`ckpt formats` lists them)"),
        (b"x", "not a checkpoint"),
        (b"PK\x03\x04 but not so", "a.pt: "),
        (os.urandom(2000), "a.pt: "),
    ],
    ids=["empty", "lfs", "html", "html-2", "zeros", "png", "one byte", "zip", "garbage"],
)
@pytest.mark.parametrize("command", [["ls"], ["get", "x"], ["diff", MLP], ["set", "x = 1", "-i"]], ids=lambda command: command[0])
def test_what_is_no_checkpoint_is_said_to_be_what_it_is(ckpt: Ckpt, tmp_path: Path, content: bytes, says: str, command: list[str]) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    found = ckpt(command[0], path, *command[1:], status=2)
    assert found.err.startswith(f"ckpt: error: {path}: ") and says in found.err and path.read_bytes() == content


def an_archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("readme.txt", "hello")
    else:
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("model.safetensors"), io.BytesIO())
    return buffer.getvalue()


WHAT_IT_IS = [
    (gzip.compress(b"x" * 99), "gzip data, not a checkpoint (gunzip it first)"),
    (bz2.compress(b"x" * 99), "bzip2 data, not a checkpoint (bunzip2 it first)"),
    (lzma.compress(b"x" * 99), "xz data, not a checkpoint (unxz it first)"),
    (b"\x28\xb5\x2f\xfd\x24\0" + bytes(9), "zstd data, not a checkpoint (unzstd it first)"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z archive, not a checkpoint (7z x it first)"),
    (an_archive("tar"), "a tar archive, not a checkpoint (tar xf it first)"),
    (an_archive("zip"), "a zip archive without a data.pkl, not a checkpoint"),
    (b"%PDF-1.7\n", "a PDF, not a checkpoint"),
    (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG image, not a checkpoint"),
    (b"\xff\xd8\xff\xe0" + bytes(99), "a JPEG image, not a checkpoint"),
    (Path(sys.executable).resolve().read_bytes()[:4096], "a program or a library (ELF), not a checkpoint"),
    (b"PAR1" + bytes(99), "a Parquet table, not a checkpoint"),
    (b"ARROW1\0\0" + bytes(99), "an Arrow table, not a checkpoint"),
    (b"SQLite format 3\0" + bytes(99), "an SQLite database, not a checkpoint"),
    (b'{"hidden_size": 768}', "JSON text, not a checkpoint (give the checkpoint itself)"),
    (b'{"error": "Invalid username\n or password."}', 'JSON text, not a checkpoint: "Invalid username or password." (download'),
    (b'{"error": {"code": 404, "message": "No \\u001b[2J"}}', r'JSON text, not a checkpoint: "No \x1b[2J" (download'),
    (b'{"error": "' + b"x" * 500 + b'"}', "JSON text, not a checkpoint (give"),
    (b'{"error": "' + b"x" * 70_000 + b'"}', "JSON text, not a checkpoint (give"),
    (b"[" * 5000, "JSON text, not a checkpoint (give"),
    (b"Entry not found", 'plain text, not a checkpoint: "Entry not found" (download'),
    (b"a sentence, " * 99, "plain text, not a checkpoint (download"),
    ("ÄÖ".encode() * 999, "plain text, not a checkpoint (download"),
    (b"import torch\n\nprint(torch.ones(3))\n", "Python source, not a checkpoint (`--arch FILE.py:CALLABLE`"),
    (b'"""A model."""\n\nfrom torch import nn\n', "Python source, not a checkpoint"),
]


OF_OTHER_PROGRAMS = {
    "init_net.pb": (b"\n\4init\x12\x20\x12\1w\x1a\0\x22\x0fGivenTensorFill" + bytes(40), "a net of Caffe2"),
    "net.caffemodel": (b"\n\7AlexNet\xa2\6\x10" + bytes(40), "a net of Caffe,"),
    "yolov3.weights": (pack("<3iq", 0, 2, 0, 32013312) + pack("<100f", *[0.5] * 100), "a weights file of Darknet"),
    "imatrix.dat": (pack("<2i", 2, 19) + b"blk.0.ffn_up.weight" + pack("<2i4f", 7, 4, 1, 2, 3, 4) * 9, "an importance matrix of llama.cpp"),
    "ggml-base.bin": (b"lmgg" + bytes(99), "a GGML file from before GGUF"),
    "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(99), "a TensorFlow Lite model"),
    "model.t7": (b"\4\0\0\0\1\0\0\0\3\0\0\0V 1\r\0\0\0" + bytes(99), "a file of Torch7"),
}


@pytest.mark.parametrize("name", OF_OTHER_PROGRAMS)
def test_weights_of_other_programs_are_called_by_their_names(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    content, says = OF_OTHER_PROGRAMS[name]
    (tmp_path / name).write_bytes(content)
    error = ckpt("ls", tmp_path / name, status=2).err
    assert f"{name}: this is {says}" in error and "which is not read (" in error


@pytest.mark.parametrize(("content", "says"), WHAT_IT_IS, ids=[says.partition(",")[0] for _, says in WHAT_IT_IS])
def test_what_is_no_checkpoint_is_called_by_its_name(ckpt: Ckpt, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    assert f"{path}: this is {says}" in ckpt("ls", path, status=2).err


def test_a_tar_that_is_compressed_is_unpacked_by_tar(ckpt: Ckpt, tmp_path: Path) -> None:
    for name, raw in {"a.tar.gz": gzip.compress(b"x"), "a.tgz": gzip.compress(b"x"), "A.TAR.XZ": lzma.compress(b"x")}.items():
        (tmp_path / name).write_bytes(raw)
        assert "(tar xf it first)" in ckpt("ls", tmp_path / name, status=2).err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "this is a Git LFS pointer"),
        (b"<!DOCTYPE html>", "this is a web page"),
        (b"Entry not found", "this is plain text"),
        (b"\1\2\3", "not a checkpoint of any known format"),
    ],
)
def test_a_shard_is_said_to_be_what_it_is_as_a_single_file_is(ckpt: Ckpt, tmp_path: Path, content: bytes, says: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    ckpt("convert", MLP, tmp_path / "model.safetensors", "--shard-size", "100B")
    shard = sorted(tmp_path.glob("*-of-*"))[1]
    shard.write_bytes(content)
    for path in (index, tmp_path):
        assert ckpt("ls", path, status=2).err.startswith(f"ckpt: error: {shard}: {says}")


def test_shards_whose_index_is_missing_are_no_several_models(ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("convert", MLP, tmp_path / "model.safetensors", "--shard-size", "100B")
    index, *shards = sorted(tmp_path.iterdir(), key=lambda path: "-of-" in path.name)
    index.unlink()
    missing = "shards, whose index (model.safetensors.index.json) is missing (download it, too,"
    assert f"{tmp_path}: {len(shards)} {missing}" in ckpt("ls", tmp_path, status=2).err
    for gone in shards[1:]:
        gone.unlink()
    assert f"{tmp_path}: 1 of {len(shards)} {missing}" in ckpt("ls", tmp_path, status=2).err
    ckpt("ls", shards[0])
    shards[0].rename(tmp_path / "model-00001-of-00001.safetensors")
    assert ckpt("ls", tmp_path).rows


@pytest.mark.parametrize(
    "args",
    [["convert", MLP, "{}"], ["convert", MLP, "{}", "-n"], ["convert", MLP, "{}", "--shard-size", "1MB"],
     ["set", MLP, "0.bias=1", "-o", "{}"],
     ["get", MLP, "0.bias", "-o", "{}"], ["spec", MLP, "-o", "{}"], ["new", "mlp", "-o", "{}"]],
    ids=lambda args: " ".join(map(str, args[::2])),
)  # fmt: skip
def test_a_folder_that_is_missing_is_said_to_be_before_anything_is_written(
    ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[object]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = ckpt(*[str(arg).replace("{}", "no dir/sub/x.safetensors") for arg in args], status=2)
    assert ": there is no folder 'no dir/sub' (make it first: mkdir -p 'no dir/sub')" in found.err and not os.listdir()


def test_a_path_that_is_mistyped_is_told_what_is_there(ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("mlp.pt", "sub/model.safetensors", ".hidden.pt"):
        shutil.copy(MLP, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for typed, meant in {"mpl.pt": "mlp.pt", "mlp.pth": "mlp.pt", "sub/modle.safetensors": "sub/model.safetensors",
                         "sub/model.pt": "sub/model.safetensors", "./mlp.pd": "./mlp.pt"}.items():  # fmt: skip
        assert f"{typed}: no such file or directory (did you mean {meant}?)" in ckpt("ls", typed, status=2).err
    for typed in ("other.pt", "hidden.pt", "gone/mlp.pt", "x"):
        assert f"{typed}: no such file or directory (check the path)" in ckpt("ls", typed, status=2).err


def unprivileged() -> list[str]:
    """What runs a program without root's right to read everything."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may read everything")
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


def test_in_a_folder_that_is_closed_what_the_user_named_cannot_be_had(sample: Callable[[str], Path]) -> None:
    path = sample("mlp.pt")
    closed = path.parent / "closed"
    closed.mkdir()
    path = path.rename(closed / "mlp.pt")
    closed.chmod(0)
    run = subprocess.run([*unprivileged(), CKPT, "ls", path], capture_output=True, text=True, timeout=30)
    closed.chmod(0o755)
    assert run.stderr == f"ckpt: error: {path}: permission denied (check its permissions)\n"


def test_a_fifo_is_refused_without_waiting_for_it_and_so_are_a_device_and_an_empty_folder(ckpt: Ckpt, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert b"a FIFO, not a file" in shell("ls", tmp_path / "fifo").stderr
    assert "a device, not a file" in ckpt("ls", "/dev/null", status=2).err
    (tmp_path / "empty").mkdir()
    assert "the folder holds no model" in ckpt("ls", tmp_path / "empty", status=2).err


def test_of_several_models_in_a_folder_none_is_guessed(ckpt: Ckpt, tmp_path: Path) -> None:
    shutil.copy(MLP, tmp_path / "a.pt")
    assert ckpt("ls", tmp_path).out == ckpt("ls", MLP).out
    shutil.copy(MLP, tmp_path / "b.pt")
    assert f"several models: a.pt, b.pt (name the one that you mean: {tmp_path}/a.pt)" in ckpt("ls", tmp_path, status=2).err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(ckpt: Ckpt, sample: object) -> None:
    path = sample("mlp.pt")  # type: ignore[operator]
    path.chmod(0)
    assert "permission denied" in ckpt("ls", path, status=2).err


def test_a_traceback_is_shown_under_ckpt_debug_alone() -> None:
    quiet, loud = shell("ls", "no.pt"), shell("ls", "no.pt", env={"CKPT_DEBUG": "1"})
    assert quiet.stderr.count(b"\n") == 1 and quiet.returncode == loud.returncode == 2
    assert b"Traceback" in loud.stderr and loud.stderr.endswith(quiet.stderr)


def test_help_and_version_are_answers(ckpt: Ckpt) -> None:
    assert ckpt("--version").out.startswith("ckpt 0.")
    for args in (["--help"], ["-h"], ["ls", "--help"], ["set", "-h"], ["diff", "--help"]):
        found = ckpt(*args)
        assert found.out.lstrip().startswith("Usage: ckpt") and not found.err


# Pipes


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose list is longer than a pipe holds."""
    path = tmp_path_factory.mktemp("many") / "many.safetensors"
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"layers.{i}.self_attention.weight": entry for i in range(20_000)}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


@pytest.mark.parametrize(
    "command",
    ["ls {}", "ls {} --json", "ls {} --tree", "ls {} --fold", "rename {} 'layers.*=blocks.*' -n", "rename {} 'layers.*=b.*' -n --json"],
)
def test_a_closed_pipe_is_no_error(many: Path, command: str) -> None:
    assert head_of(command.format(many)) == (1, 0)


@pytest.mark.parametrize(
    "command", ["diff {} {mlp}", "diff {} {mlp} --name-only", "diff {} {mlp} --json", "check {} --same-names-as {mlp}"]
)
def test_what_differs_or_does_not_hold_is_exit_1_also_where_the_pipe_is_closed(many: Path, command: str) -> None:
    assert head_of(command.format(many, mlp=MLP)) == (1, 1)


def head_of(command: str) -> tuple[int, int]:
    """How many lines `ckpt COMMAND | head -1` prints in all, and the exit status of ckpt."""
    line = f"{CKPT} {command} 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
    *printed, status = run.stdout.splitlines()
    return len(printed), int(status)


def test_what_differs_is_exit_1_also_where_nobody_reads_the_notes() -> None:
    """`ckpt diff A B 2>&1 | head` under pipefail."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        args = (CKPT, "diff", SAMPLES / "training.ckpt", MLP)  # other names behind a prefix, and objects: two notes
        assert subprocess.run(args, stdout=closed, stderr=closed, timeout=30, check=False).returncode == 1


def test_closed_standard_streams_end_in_an_answer_or_an_error() -> None:
    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)

    assert run(f"{CKPT} ls {MLP} >&-; echo $? >&2").stderr == "0\n"
    assert run(f"{CKPT} ls {MLP} 2>&-; echo $?").stdout.endswith("\t\n0\n")
    assert run(f"{CKPT} ls no.pt 2>&-; echo $?").stdout == "2\n"
    assert run(f"{CKPT} ls {MLP} <&- >&- 2>&-; echo $?").stdout == "0\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", ["ls", "get"])
def test_a_full_disk_behind_standard_output_is_an_error(command: str) -> None:
    args = ["get", MLP, "0.weight"] if command == "get" else ["ls", MLP]
    with open("/dev/full", "w") as full:
        run = subprocess.run([CKPT, *args], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert run.returncode == 2 and run.stderr == "ckpt: error: no space left on device (nothing is changed; free some space)\n"


def test_records_are_what_awk_and_cut_expect() -> None:
    line = f"{CKPT} ls {SAMPLES / 'nested.pt'} | awk -F'\\t' '{{n += $4}} END {{print NR, n}}'; {CKPT} ls {MLP} | cut -f1 | sort"
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
    assert run.stdout == "18 309\n0.bias\n0.weight\n2.bias\n2.weight\n"


# Names that a file says


EVIL = "\x1b[2Jred\x1b[0m\ttab\nline\r\x07\x9b31m\u202eevil\u2028\x00"


@pytest.mark.parametrize(
    "args",
    [["ls", "{}"], ["ls", "{}", "--tree"], ["ls", "{}", "--fold"], ["ls", "{}", "--color=always"], ["diff", "{}", str(MLP)], ["tied", "{}"],
     ["diff", "{}", str(MLP), "--name-only"], ["get", "{}", "*"], ["get", "{}", "x"], ["set", "{}", "* = 1", "-n"]],
    ids=" ".join,
)  # fmt: skip
def test_control_characters_and_escapes_in_names_are_printed_escaped(ckpt: Ckpt, tmp_path: Path, args: list[str]) -> None:
    shared = torch.zeros(2)
    torch.save({EVIL: shared, EVIL + "2": shared}, tmp_path / "a.pt")
    found = ckpt(*[arg.format(tmp_path / "a.pt") for arg in args], status=None)
    text = found.out + found.err
    if "--color=always" in args:
        assert "\x1b" not in text.replace("\x1b[36m", "").replace("\x1b[0m", "")  # its own colours
    else:
        assert not set(text) & set("\x1b\r\x07\x9b\u202e\u2028\x00")
    if args != ["get", "{}", "x"]:
        assert r"\x1b[2J" in text
    if args == ["ls", "{}"]:
        assert found.rows[0][0] == r"\x1b[2Jred\x1b[0m\ttab\nline\r\x07\x9b31m\u202eevil\u2028\x00" and len(found.rows) == 2


def test_json_holds_names_as_they_are(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({EVIL: torch.zeros(2), "é𝄞": torch.zeros(1)}, tmp_path / "a.pt")
    found = ckpt("ls", tmp_path / "a.pt", "--json")
    assert [t["name"] for t in found.json["tensors"]] == [EVIL, "é𝄞"] and not set(found.out) & set("\x1b\r\x07\x9b\u202e\u2028\x00\x7f")


def test_json_escapes_what_a_terminal_acts_on(ckpt: Ckpt, tmp_path: Path) -> None:
    evil = f"{EVIL}\x7f\u061c\u200e\u2066\ufeff\\é𝄞"
    torch.save({f"{evil}.weight": torch.zeros(2, 2)}, tmp_path / "model.bin")
    config = {"model_type": evil, "architectures": [evil], evil: evil}
    (tmp_path / "config.json").write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    for command in ("summary", "ls", "stats"):
        out = ckpt(command, tmp_path / "model.bin", "--json").out
        assert all(char.isprintable() or char == "\n" for char in out) and "é𝄞" in out and "\\u202e" in out, command
    assert json.loads(ckpt("summary", tmp_path / "model.bin", "--json").out)["config"]["model_type"] == evil


@pytest.mark.parametrize(
    "env",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "latin-1"},
     {"PYTHONIOENCODING": "ascii:strict"}],
    ids=["C", "latin-1", "ascii"],
)  # fmt: skip
def test_what_the_locale_cannot_write_is_written_escaped(tmp_path: Path, env: dict[str, str]) -> None:
    torch.save({"é𝄞": torch.zeros(2), "h.0": torch.zeros(1), "h.1": torch.zeros(1)}, tmp_path / "a.pt")
    for args in (["ls"], ["ls", "--tree"], ["ls", "--fold"], ["ls", "--json"]):
        run = shell(args[0], tmp_path / "a.pt", *args[1:], env=env)
        assert run.returncode == 0 and not run.stderr
        assert b"\\U0001d11e" in run.stdout or "𝄞".encode() in run.stdout
    found = shell("get", tmp_path / "a.pt", "zzé𝄞", env=env)
    assert found.returncode == 2 and found.stderr.count(b"\n") == 1 and b"Traceback" not in found.stderr


# Terminals


def on_terminal(*args: object, **env: str) -> str:
    """What `ckpt ARGS…` writes to a terminal of 100 columns."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    settings = {"PATH": os.environ["PATH"], "TERM": "xterm-256color"} | env
    process = subprocess.Popen([str(arg) for arg in (CKPT, *args)], stdin=theirs, stdout=theirs, stderr=theirs, env=settings)
    os.close(theirs)
    data, end = b"", time.monotonic() + 30
    while time.monotonic() < end and select.select([ours], [], [], 10)[0]:
        try:
            block = os.read(ours, 65536)
        except OSError:
            break
        if not block:
            break
        data += block
    process.wait(30)
    os.close(ours)
    return data.decode()


def test_a_terminal_shows_a_table_in_colours() -> None:
    text = on_terminal("ls", SAMPLES / "shared-mlp.pt")
    assert "NAME" in text and "TIED TO" in text and "\t" not in text and "\x1b[" in text
    assert "8 tensors, 121 parameters, 484 B" in text


def test_no_color_and_the_option_for_it_are_honoured() -> None:
    def coloured(*args: str, **env: str) -> bool:
        return "\x1b[36m" in on_terminal("ls", MLP, *args, **env)

    assert coloured() and not coloured(NO_COLOR="1") and not coloured("--color=never") and coloured("--color=always", NO_COLOR="1")


def test_a_dumb_terminal_gets_the_table_without_colour() -> None:
    shown = on_terminal("ls", MLP, TERM="dumb")
    assert shown.startswith("NAME ") and "\t" not in shown and "\x1b" not in shown
    assert shown == on_terminal("ls", MLP, NO_COLOR="1")


def test_a_pipe_gets_no_colour_unless_it_is_asked_for(ckpt: Ckpt) -> None:
    assert "\x1b" not in ckpt("ls", MLP).out and "\x1b[36m" in ckpt("ls", MLP, "--color=always").out
    assert "--color" in ckpt("ls", MLP, "--color=sometimes", status=2).err


@pytest.mark.parametrize("columns", ["1", "0", "x", "10000"])
def test_any_width_of_the_terminal_gives_an_answer(columns: str) -> None:
    text = on_terminal("ls", MLP, COLUMNS=columns)
    assert "Traceback" not in text and "49" in text


def test_raw_bytes_are_not_put_on_a_terminal() -> None:
    assert "raw bytes on the terminal (-o FILE, or a pipe)" in on_terminal("get", MLP, "0.weight", "--format", "raw")


# Signals


def test_ctrl_c_is_130_and_leaves_no_traceback_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = b'{"t":{"dtype":"I64","shape":[4000000],"data_offsets":[0,32000000]}}'
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 32_000_000)
    process = subprocess.Popen(
        [CKPT, "set", path, *["t += 1"] * 20, "-i"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeds_ctrl_c
    )
    end = time.monotonic() + 20
    while len(os.listdir(tmp_path)) == 1 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)  # until it writes
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip()) == (130, b"", b"") and os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("after", [0.02, 0.03, 0.04, 0.06])
def test_ctrl_c_while_the_program_begins_leaves_no_traceback_of_ours(after: float) -> None:
    process = subprocess.Popen([CKPT, "stats", MLP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeds_ctrl_c)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    # 1 is Python's own answer, where it has not come to the first line of ours
    assert process.returncode in (130, 0, -signal.SIGINT, 1) and b"ckpt_cli" not in err


# Surroundings


@pytest.mark.parametrize("program", [[str(CKPT)], [sys.executable, "-m", "ckpt_cli"]], ids=["ckpt", "-m"])
def test_modules_that_lie_beside_a_model_are_not_imported(tmp_path: Path, program: list[str]) -> None:
    for name in ("json", "torch", "numpy", "typer", "struct", "re", "ckpt_cli", "zlib", "typing_extensions", "click", "shutil"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')\n")
    if program[1:]:
        (tmp_path / "ckpt_cli.py").unlink()  # what -m names is looked for here first: that is Python's to decide
    shutil.copy(MLP, tmp_path / "a.pt")
    for args in (["ls", "a.pt", "--json"], ["get", "a.pt", "0.weight"], ["ls", "no.pt"]):
        run = subprocess.run([*program, *args], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert run.returncode == (2 if "no.pt" in args else 0) and "imported" not in run.stderr + run.stdout, run.stderr


@pytest.mark.parametrize("program", [f"{CKPT}", f"{sys.executable} -m ckpt_cli"], ids=["ckpt", "-m"])
def test_a_deleted_current_folder_does_not_matter(tmp_path: Path, program: str) -> None:
    line = f"mkdir gone && cd gone && rmdir ../gone && {program} ls {MLP} && {program} set {MLP} '0.bias = 1' -o {tmp_path}/b.pt"
    run = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert run.returncode == 0 and run.stderr == "" and run.stdout.count("\n") == 4 and (tmp_path / "b.pt").exists()


def test_no_home_and_an_empty_environment_do_not_matter() -> None:
    run = subprocess.run([CKPT, "ls", MLP], env={}, capture_output=True, text=True, timeout=30)
    assert run.returncode == 0 and run.stderr == "" and run.stdout.count("\n") == 4


def test_a_folder_is_the_model_in_it_and_what_lies_beside_is_named(tmp_path: Path, ckpt: Ckpt) -> None:
    for name in ("model.safetensors", "optimizer.pt"):
        (tmp_path / name).write_bytes((SAMPLES / f"mlp.{name.split('.')[1]}").read_bytes())
    found = ckpt("ls", tmp_path)
    assert len(found.rows) == 4 and "beside it lie optimizer.pt" in found.err
    assert not ckpt("ls", tmp_path / "model.safetensors").err


def test_a_pipeline_has_its_model_one_level_down(tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes((SAMPLES / "mlp.safetensors").read_bytes())
    assert len(ckpt("ls", tmp_path).rows) == 4
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "model.safetensors").write_bytes((SAMPLES / "mlp.safetensors").read_bytes())
    error = ckpt("ls", tmp_path, status=2).err
    assert "text/model.safetensors, unet/diffusion_pytorch_model.safetensors" in error
