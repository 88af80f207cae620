"""Completion: by real shells, where they are installed; quickly, quietly, whatever the file."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES, Ckpt

from ckpt_cli.cli import COMMANDS
from ckpt_cli.completion.names import by_part
from ckpt_cli.completion.words import as_bash_takes_it, split

BIN = Path(sys.executable).parent
ENV = {"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
BREAKS = " \t\n\"'@><=;|&(:"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with models, one of them with names that are hard on shells."""
    for name in ("mlp.pt", "nested.pt", "module.pt", "training.ckpt"):
        shutil.copy(SAMPLES / name, tmp_path)
    torch.save(
        {"it's": torch.zeros(1), 'a "b" $c': torch.zeros(1), "é 𝄞*": torch.zeros(1), "evil\x1b[2J\n": torch.zeros(1)}, tmp_path / "odd.pt"
    )
    return tmp_path


def asked(here: Path, line: str) -> list[str]:
    """What bash is answered for the line."""
    done = subprocess.run([BIN / "ckpt", "_complete", "bash", line, BREAKS], cwd=here, capture_output=True, text=True, timeout=30, env=ENV)
    assert done.returncode == 0 and done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("ckpt re", ["+reinit", "+resize", "+rename"]),
        ("ckpt --v", ["+--version"]),
        ("ckpt ls --so", ["+--sort"]),
        ("ckpt ls --sort ", ["+name", "+params", "+bytes", "+file"]),
        ("ckpt ls --sort=na", ["+name"]),
        ("ckpt ls ", ["files"]),
        ("ckpt ls ml", ["files"]),
        ("ckpt diff mlp.pt ml", ["files"]),
        ("ckpt set mlp.pt -o ", ["files"]),
        ("ckpt ls mlp.pt ", ["+0.bias", "+0.weight", "+2.bias", "+2.weight"]),
        ("ckpt ls mlp.pt 0.weight 2.", ["+2.bias", "+2.weight"]),
        ("ckpt ls mlp.pt --arch none 2.w", ["+2.weight"]),
        ("ckpt ls --sort name mlp.pt 2.w", ["+2.weight"]),
        ("ckpt ls mlp.pt -- 2.w", ["+2.weight"]),
        ("ckpt ls mlp.pt '*.w", ["+*.weight"]),
        ("ckpt ls mlp.pt '@Li", ["+@Linear"]),
        ("ckpt ls mlp.pt '!2.w", ["+!2.weight"]),
        ("ckpt ls mlp.pt '!*.w", ["+!*.weight"]),
        ("ckpt ls module.pt '@", ["+@Linear", "+@ReLU", "+@Sequential"]),
        ("ckpt get nested.pt 0.block\\ 3.2.w", ["+0.block\\ 3.2.weight"]),
        ("ckpt get nested.pt '0.block 3.2.w", ["+0.block 3.2.weight"]),
        ("ckpt get 'mlp.pt' 2.w", ["+2.weight"]),
        ("ckpt get mlp.pt 2.weight ", []),
        ("ckpt set mlp.pt '2.w", ["-2.weight =", "-2.weight +=", "-2.weight -=", "-2.weight *=", "-2.weight /="]),
        ("ckpt set mlp.pt '2.weight +", ["-2.weight +="]),
        ("ckpt set mlp.pt '2.", ["-2.bias", "-2.weight"]),
        ("ckpt reinit mlp.pt 0.weight=xavier_", ["+xavier_normal", "+xavier_uniform"]),
        ("ckpt reinit mlp.pt '*.bias=zer", ["+*.bias=zeros"]),
        ("ckpt reinit mlp.pt '*.", ["-*.weight=", "-*.bias="]),
        ("ckpt reinit mlp.pt --preset ke", ["+keras"]),
        ("ckpt resize mlp.pt 2.w", ["-2.weight="]),
        ("ckpt resize mlp.pt 2.weight=9x9 --fill mean", ["+mean_rows"]),
        ("ckpt merge mlp.pt --method t", ["+task", "+ties"]),
        ("ckpt rename mlp.pt 2.w", ["-2.weight="]),
        ("ckpt convert mlp.pt out.pt --drop 2.w", ["+2.weight"]),
        ("ckpt cast mlp.pt bf", ["+bfloat16"]),
        ("ckpt cast mlp.pt bf16 2.b", ["+2.bias"]),
        ("ckpt convert mlp.pt out.pt --dtype bf", ["+bfloat16"]),
        ("ckpt set mlp.pt --format saf", ["+safetensors"]),
        ("ckpt get mlp.pt --format ", ["+text", "+json", "+npy", "+raw", "+csv"]),
        ("ckpt new shared", ["+shared-mlp"]),
        ("ckpt ls mlp.pt --arch n", ["+none", "+nemotron", "+nested"]),
        ("ckpt ls mlp.pt --arch ./my", ["files"]),
        ("ckpt schemes xavier_n", ["+xavier_normal"]),
        ("ckpt completion ", ["+bash", "+zsh", "+fish"]),
        ("ckpt check mlp.pt --spec ", ["files"]),
        ("ckpt check mlp.pt --same-names-as ml", ["files"]),
        ("ckpt git-diff ", ["files"]),
        ("ckpt apply mlp.pt ", ["files"]),
        ("ckpt drop training.ckpt ep", ["+epoch"]),
        ("ckpt get training.ckpt args.l", ["+args.lr"]),
        ("ckpt ls training.ckpt ep", []),
        ("ckpt new mlp hid", ["-hidden="]),
        ("ckpt new mlp hidden=3 ", ["-inputs=", "-hidden=", "-outputs=", "-activation="]),
        ("ckpt new ./own.py:f hid", []),
        ("ckpt no-such-command ", []),
        ("ckpt ls nope.pt x", []),
        ("ckpt ls / x", []),
        ("ckpt get mlp.pt --precision ", []),
        ("ckpt ls mlp.pt --no-such=x", []),
    ],
)  # fmt: skip
def test_what_could_stand_at_the_cursor(here: Path, line: str, candidates: list[str]) -> None:
    assert asked(here, line) == candidates


def test_every_command_is_offered_and_completion_itself_is_not_in_the_help(here: Path, ckpt: Ckpt) -> None:
    assert asked(here, "ckpt ") == [f"+{name}" for name in COMMANDS]
    assert "_complete" not in ckpt("--help").out


@pytest.mark.parametrize("args", [[], ["bash"], ["bash", "ckpt ls"], ["tcsh", "a", "b"], ["bash", "", ""], ["fish"], ["zsh", "\udcff"]])
def test_a_call_that_makes_no_sense_has_no_answer_and_no_error(ckpt: Ckpt, args: list[str]) -> None:
    found = ckpt("_complete", *args)
    assert found.err == "" and "Traceback" not in found.out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not so", os.urandom(500), bytes(4096), b"\x80\x02."])
def test_a_file_that_is_none_is_passed_over(here: Path, content: bytes) -> None:
    (here / "bad.pt").write_bytes(content)
    assert asked(here, "ckpt ls bad.pt 0") == []


def test_names_that_a_terminal_would_act_on_are_not_offered(here: Path) -> None:
    assert asked(here, "ckpt ls odd.pt e") == []
    assert asked(here, "ckpt ls odd.pt ") == ['+a\\ \\"b\\"\\ \\$c', "+it\\'s", "+é\\ 𝄞\\*"]


@pytest.mark.parametrize("name", ["it's", 'a "b" $c', "é 𝄞*", "a\\b", "[x]{y}", "~a", "#a", "a=b:c@d"])
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_what_is_inserted_reads_as_the_name(name: str, quote: str) -> None:
    line = f"ckpt ls {quote}"
    typed = split(line, BREAKS)[-1]
    inserted = line + as_bash_takes_it(name, typed) + quote
    done = subprocess.run(["bash", "-c", f"printf %s {inserted.removeprefix('ckpt ls ')}"], capture_output=True, text=True, timeout=30)
    assert done.stdout == name
    assert split(inserted)[-1].text == name


def test_many_names_are_completed_part_by_part() -> None:
    names = [f"model.layers.{i}.{leaf}.weight" for i in range(100) for leaf in ("attn", "mlp")]
    first = by_part(names, "")
    assert len(first) == 100 and first[:2] == [("model.layers.0.", False), ("model.layers.1.", False)]
    assert [one.text for one in by_part(names, "model.layers.7")][:3] == [
        "model.layers.7.attn.weight",
        "model.layers.7.mlp.weight",
        "model.layers.70.attn.weight",
    ]
    assert by_part(names, "model.layers.7.a") == [("model.layers.7.attn.weight", True)]
    assert by_part(names, "other") == [] and by_part([], "") == []
    assert len(by_part([f"w{i}" for i in range(100_000)], "w")) == 1000


def test_a_million_names_do_not_hang(tmp_path: Path) -> None:
    entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(f'"layers.{i // 1000}.expert_{i % 1000}.w":{entry}' for i in range(1_000_000)) + "}").encode()
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    start = time.monotonic()
    done = subprocess.run(
        [BIN / "ckpt", "_complete", "bash", "ckpt ls m.safetensors layers.99", BREAKS], cwd=tmp_path, capture_output=True, timeout=30
    )
    assert time.monotonic() - start < 6 and done.stderr == b""
    assert done.stdout.splitlines()[:2] in ([], [b"-layers.99.", b"-layers.990."])


# In shells


def in_bash(here: Path, line: str) -> list[str]:
    """COMPREPLY of bash's function, called as bash calls it."""
    script = """
        source <(ckpt completion bash)
        COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$2
        _ckpt ckpt '' '' && printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", line, BREAKS], cwd=here, capture_output=True, text=True, timeout=30, env=ENV)
    assert done.returncode == 0 and done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "written",
    ["$HERE/mlp.pt", "${HERE}/mlp.pt", '"$HERE"/mlp.pt', '"${HERE}/mlp.pt"', "~/mlp.pt", "$HOME/mlp.pt", "$own/mlp.pt", '"$own/m"lp.pt'],
)
def test_bash_knows_the_file_by_variables_and_by_the_home(here: Path, written: str) -> None:
    """`own` is a variable of the shell alone, which no program is given."""
    script = f"""
        own={shlex.quote(str(here))}
        source <(ckpt completion bash)
        COMP_LINE=$1 COMP_POINT=${{#1}} COMP_WORDBREAKS=$2
        _ckpt ckpt '' '' && printf '%s\n' "${{COMPREPLY[@]}}" && env | grep -c ^own=
    """
    env = ENV | {"HERE": str(here), "HOME": str(here)}
    line = f"ckpt get {written} 2.w"
    done = subprocess.run(["bash", "-c", script, "bash", line, BREAKS], cwd="/", capture_output=True, text=True, timeout=30, env=env)
    assert done.stderr == "" and done.stdout.splitlines() == ["2.weight", "0"]


NOT_THE_FILE = ["'$HERE/mlp.pt'", "\\$HERE/mlp.pt", '"\\$HERE/mlp.pt"', "$NONE/mlp.pt", "$(echo mlp.pt)", "`echo mlp.pt`"]


@pytest.mark.parametrize("written", NOT_THE_FILE)
def test_bash_expands_no_more_than_a_shell_would_and_runs_nothing(here: Path, written: str) -> None:
    done = subprocess.run(
        [BIN / "ckpt", "_complete", "bash", f"ckpt get {written} 2.w", BREAKS],
        cwd=here, capture_output=True, text=True, timeout=30, env=ENV | {"HERE": str(here)},
    )  # fmt: skip
    assert done.stdout == done.stderr == ""


def test_bash_is_given_what_it_inserts(here: Path) -> None:
    assert in_bash(here, "ckpt re") == ["reinit", "resize", "rename"]
    assert in_bash(here, "ckpt ls nested.pt 0.block\\ 3.2.") == ["0.block\\ 3.2.bias", "0.block\\ 3.2.weight"]
    assert in_bash(here, "ckpt reinit mlp.pt 0.weight=xavier_u") == ["xavier_uniform"]
    assert in_bash(here, "ckpt ls ") == [""]


def typed(program: list[str], here: Path, start: str, keys: str, env: dict[str, str]) -> str:
    """What is run in the end when `keys` are typed at a shell's prompt: the arguments, as `ckpt` prints them."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(program, cwd=here, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    seen = b""

    def until(mark: bytes, seconds: float) -> None:
        nonlocal seen
        end = time.monotonic() + seconds
        while mark not in seen and time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 65536)

    try:
        os.write(ours, start.encode())
        until(b"ready-now", 30)
        seen = b""
        (here / "answered").unlink(missing_ok=True)
        os.write(ours, keys.encode())
        end = time.monotonic() + 10
        while not (here / "answered").exists() and time.monotonic() < end:
            until(b"\0", 0.1)
        until(b"\0", 0.5)  # what TAB was answered is inserted
        os.write(ours, b"\n")
        end = time.monotonic() + 10
        while not (here / "args").exists() and time.monotonic() < end:
            until(b"\0", 0.2)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return (here / "args").read_text() if (here / "args").exists() else f"nothing; the terminal shows {seen!r}"


# The real program answers, and that it did is written down; what is run in the end writes down its arguments.
SPY = """#!/bin/sh
case $1 in
    completion) exec {ckpt} "$@" ;;
    _complete) {ckpt} "$@"; : > answered ;;
    *) for word do printf '<%s>' "$word"; done > args.new; mv args.new args ;;
esac
"""
TYPED = [
    ("ckpt ls mlp.pt 2.w\t", "<ls><mlp.pt><2.weight>"),
    ("ckpt get nested.pt 0.block\\ 3.2.w\t", "<get><nested.pt><0.block 3.2.weight>"),
    ("ckpt get nested.pt '0.block 3.2.w\t", "<get><nested.pt><0.block 3.2.weight>"),
    ("ckpt ls odd.pt it\t", "<ls><odd.pt><it's>"),
    ("ckpt reinit mlp.pt 0.weight=xavier_u\t", "<reinit><mlp.pt><0.weight=xavier_uniform>"),
    ("ckpt ls neste\t", "<ls><nested.pt>"),
]


def spied(here: Path) -> dict[str, str]:
    (here / "bin").mkdir()
    (here / "bin" / "ckpt").write_text(SPY.format(ckpt=BIN / "ckpt"))
    (here / "bin" / "ckpt").chmod(0o755)
    return ENV | {"PATH": f"{here / 'bin'}:{ENV['PATH']}", "HOME": str(here)}


@pytest.mark.parametrize(("keys", "ran"), TYPED, ids=[keys for keys, _ in TYPED])
def test_tab_in_bash(here: Path, keys: str, ran: str) -> None:
    start = "source <(ckpt completion bash); PS1=; echo ready-no''w\n"
    assert typed(["bash", "--norc", "-i"], here, start, keys, spied(here)).rstrip() == ran


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
@pytest.mark.parametrize(("keys", "ran"), TYPED, ids=[keys for keys, _ in TYPED])
def test_tab_in_zsh(here: Path, keys: str, ran: str) -> None:
    start = "autoload -Uz compinit && compinit -u -D; source <(ckpt completion zsh); PS1=; echo ready-no''w\n"
    assert typed(["zsh", "-f", "-i"], here, start, keys, spied(here)).rstrip() == ran


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("ckpt re", ["reinit", "rename", "resize"]),
        ("ckpt ls mlp.pt 2.", ["2.bias", "2.weight"]),
        ("ckpt get nested.pt '0.block 3.2.w", ["0.block 3.2.weight"]),
        ("ckpt get nested.pt 0.block\\ 3.2.w", ["0.block 3.2.weight"]),
        ("ckpt reinit mlp.pt 0.weight=xavier_u", ["0.weight=xavier_uniform"]),
        ("ckpt ls neste", ["nested.pt"]),
        ("ckpt cast mlp.pt bf", ["bfloat16"]),
        ("ckpt ls nope.pt 0.", []),
    ],
)
def test_fish_offers_the_same(here: Path, line: str, candidates: list[str]) -> None:
    script = f"ckpt completion fish | source; complete -C {shlex.quote(line)}"
    env = ENV | {"HOME": str(here), "XDG_CONFIG_HOME": str(here), "XDG_DATA_HOME": str(here)}
    done = subprocess.run(["fish", "--no-config", "-c", script], cwd=here, capture_output=True, text=True, timeout=60, env=env)
    assert done.stderr == "" and [each.split("\t")[0] for each in done.stdout.splitlines()] == candidates
