"""`apply`: recipes of edits. What a command prints as a recipe does what the command does; what fails writes nothing."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES, Ckpt, examples
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_cli.cli import COMMANDS, main
from ckpt_cli.edits.steps import verbs

CKPT = Path(sys.executable).with_name("ckpt")
Sample = Callable[[str], Path]


def parameters(command: str) -> set[str]:
    module = import_module(f"ckpt_cli.commands.{command.replace('-', '_')}")
    return set(signature(getattr(module, f"{command.replace('-', '_')}_command")).parameters)


EDITING = [name for name in COMMANDS if "print_recipe" in parameters(name)]

# Command → what it is tried with.
TRIED = {
    "set": [["0.weight += 1", "0.bias[0] = -2.5"], ["*.bias = [1]"], ["@Linear.weight *= 2", "--arch", "auto"]],
    "reinit": [
        ["*.bias=zeros", "0.weight=normal(0, std=0.01)", "--seed", "7"],
        ["--preset", "pytorch", "--seed", "1", "--rng", "torch"],
        ["2.weight=constant(42)", "--preset", "gpt2", "--seed", "0"],
    ],
    "resize": [
        ["0.weight=+3x*", "0.bias=+3", "--seed", "7"],
        ["*.weight=*x-1", "--at", "start"],
        ["0.weight=9x9", "--fill", "xavier_normal(gain=2)", "--fresh", "--seed", "1"],
        ["@Linear.weight=+2x*", "--fill", "zeros", "--arch", "mlp"],
        ["0.weight=+2x*", "--fill", "mean_rows", "--at", "start"],
    ],
    "add": [
        ["head.weight:f32[3,8]=normal(0, 0.02)", "head.bias:f32[3]=zeros", "--seed", "5"],
        [f"copy=@{SAMPLES}/mlp.npz#0.bias"],
        ["--from", str(SAMPLES / "mlp.npz"), "0.*", "--rename", "0.*=encoder.*", "--arch", "none"],
    ],
    "merge": [
        [str(SAMPLES / "mlp.safetensors"), "--weights", "0.5,0.7", "--weights", "*.bias=1,2"],
    ],
    "tie": [["2.weight", "0.weight"]],
    "untie": [["*"]],
    "rename": [["*.bias=*.b", "re:^0[.](.*)=first.\\1"]],
    "drop": [["2.*"], ["@Linear.bias", "--arch", "mlp"]],
    "cast": [["bf16"], ["float16", "*.weight", "0.bias"]],
}


def fit(path: Path, command: str) -> Path:
    """The file as the command wants it: what is to be tied has one shape, what is to be untied is tied."""
    if command in ("tie", "untie"):
        shared = torch.ones(3)
        tensors = {"0.weight": shared, "2.weight": shared if command == "untie" else torch.zeros(3)}
        torch.save(tensors, path)
    return path


def test_every_edit_is_a_step_and_prints_itself_as_one() -> None:
    assert set(EDITING) == set(TRIED) == set(verbs()) - {"assert", "map"}  # of which --map is of convert


def test_every_option_of_an_edit_is_a_key_of_its_step() -> None:
    around = {
        "path",
        "output",
        "in_place",
        "dry_run",
        "force",
        "backup",
        "format_name",
        "print_recipe",
        "as_json",
        "color",
        "recipe",
        "allow_code",
    }
    for command in EDITING:
        assert len(parameters(command) - around) == len(verbs()[command].keys), command


@pytest.mark.parametrize(("command", "args"), [(command, args) for command, every in TRIED.items() for args in every], ids=str)
def test_the_printed_recipe_writes_the_same_bytes(ckpt: Ckpt, sample: Sample, tmp_path: Path, command: str, args: list[str]) -> None:
    path = fit(sample("mlp.pt"), command)
    before = path.read_bytes()
    printed = ckpt(command, path, *args, "-i", "--print-recipe").out
    assert path.read_bytes() == before and tomllib.loads(printed)["step"][0].keys() >= {command}
    (tmp_path / "r.toml").write_text(printed)
    ckpt(command, path, *args, "-o", tmp_path / "a.pt")
    ckpt("apply", path, tmp_path / "r.toml", "-o", tmp_path / "b.pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes() != before


ODD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


def run(*args: object) -> tuple[int, str]:
    """Exit status and standard output of `ckpt ARGS…`, for tests that hypothesis repeats."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(arg) for arg in args])
    out.flush()
    return status, out.buffer.getvalue().decode()  # type: ignore[attr-defined]


@settings(max_examples=examples(80))
@given(st.lists(ODD, min_size=2, max_size=4, unique=True), st.integers(0, 7))
def test_whatever_the_names_the_printed_recipe_does_what_the_command_does(names: list[str], which: int) -> None:
    one, two = names[:2]
    options, *args = [
        [["set"], f"{one}[1] = 3", f"{two} += 1"],
        [["set"], f"{one} = [1, 2, NaN]"],
        [["reinit", "--seed", "5"], f"{one}=normal(0, 1)", f"{two}=zeros"],
        [["tie"], one, two],
        [["untie"], "*"],
        [["rename"], f"{one}=a new one", f"{two}={one}"],
        [["drop"], one],
        [["cast"], "float16", two, one],
    ][which]
    with tempfile.TemporaryDirectory() as folder:
        path, by_hand, recipe, by_recipe = (Path(folder, name) for name in ("a.pt", "b.pt", "r.toml", "c.pt"))
        shared = torch.arange(3.0)
        torch.save({name: shared if args == ["*"] else torch.arange(3.0) for name in names}, path)
        status, _ = run(*options, path, "-o", by_hand, "--", *args)
        printed_status, printed = run(*options, path, "--print-recipe", "--", *args)
        assert status == printed_status
        if status:  # a name that reads as something else
            return
        assert all(line.isprintable() or not line.isascii() for line in printed.split("\n"))
        recipe.write_bytes(printed.encode())
        assert run("apply", path, recipe, "-o", by_recipe)[0] == 0
        assert by_hand.read_bytes() == by_recipe.read_bytes()


def test_a_seed_that_was_chosen_is_printed_and_bytes_that_are_no_text_are_refused(ckpt: Ckpt, sample: Sample) -> None:
    path = sample("mlp.pt")
    assert tomllib.loads(ckpt("reinit", path, "*=normal", "--print-recipe").out)["step"][0]["seed"] >= 0
    torch.save({"a": torch.zeros(1)}, path.with_name("b.pt"))
    assert "no UTF-8" in ckpt("rename", path.with_name("b.pt"), "a=\udcff", "--print-recipe", status=2).err
    recipe = path.with_name("r.toml")
    recipe.write_text('seed = 3\npreset = "keras"\n[rules]\n"*.bias" = "ones"\n')
    step = tomllib.loads(ckpt("reinit", path, "--recipe", recipe, "--print-recipe").out)["step"][0]
    assert step == {"reinit": ["*.bias=ones"], "preset": "keras", "seed": 3}


# What recipes do


def written(path: Path, text: str) -> Path:
    recipe = path.with_name("recipe.toml")
    recipe.write_text(text)
    return recipe


EVERYTHING = """
[[step]]
assert = {exists = ["0.weight", "*.bias"], absent = ["optimizer.*"], shape = {"0.weight" = [8, 4], "*.bias" = [8]}, dtype = {"*" = "fp32"}}
[[step]]
set = ["0.weight += 1", "0.weight[0,0] = 42"]
[[step]]
reinit = ["2.*=zeros", "0.bias=uniform(-1, 1)"]
seed = 4
[[step]]
rename = ["2.*=last.*"]
[[step]]
tie = ["last.weight", "0.bias"]
[[step]]
untie = ["0.bias"]
[[step]]
cast = "float64"
patterns = ["last.*"]
[[step]]
drop = ["last.bias"]
[[step]]
assert = {finite = ["*"], dtype = {"last.weight" = "float64"}, absent = ["2.*"]}
"""


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_recipe_is_its_steps_one_after_another(ckpt: Ckpt, tmp_path: Path, suffix: str) -> None:
    shapes = {"0.weight": (8, 4), "0.bias": (8,), "2.weight": (8,), "2.bias": (8,)}
    torch.save({name: torch.randn(shape) for name, shape in shapes.items()}, tmp_path / "a.pt")
    path = tmp_path / f"x{suffix}"
    ckpt("convert", tmp_path / "a.pt", path)
    ckpt("apply", path, written(path, EVERYTHING), "-o", tmp_path / f"once{suffix}")
    for number, table in enumerate(EVERYTHING.split("[[step]]")[1:]):
        ckpt("apply", path, written(path, f"[[step]]{table}"), "-i", "--backup", f".{number}")
    assert ckpt("diff", path, tmp_path / f"once{suffix}").out == ""
    assert ckpt("hash", path).out == ckpt("hash", tmp_path / f"once{suffix}").out
    assert ckpt("get", path, "0.weight[0,0]").out.strip() == "42.0"


POOL = [
    "set = ['a += 1', 'a[0] = 7']",
    "set = ['b[1:] *= 2']",
    "reinit = ['a=normal(0, 1)']\nseed = 3",
    "reinit = ['b=uniform(0, 1)', 'c=ones']\nseed = 4",
    "tie = ['a', 'b']",
    "tie = ['b', 'c']",
    "untie = ['b']",
    "rename = ['a=b', 'b=a']",
    "rename = ['b=c', 'c=b']",
    "rename = ['a=x', 'b=a', 'x=b']",
    "drop = ['c']",
    "cast = 'float64'\npatterns = ['a']",
    "cast = 'bfloat16'",
    "cast = 'int32'\npatterns = ['c']",
]


@settings(max_examples=examples(60))
@given(st.lists(st.sampled_from(POOL), min_size=2, max_size=5), st.sampled_from([".pt", ".safetensors"]))
def test_any_steps_in_one_pass_make_what_they_make_one_by_one(steps: list[str], suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, once, recipe = Path(folder, f"a{suffix}"), Path(folder, f"once{suffix}"), Path(folder, "r.toml")
        torch.save({name: torch.arange(4.0) + number for number, name in enumerate("abc")}, Path(folder, "0.pt"))
        assert run("convert", Path(folder, "0.pt"), path, "--force")[0] == 0
        recipe.write_text("".join(f"[[step]]\n{step}\n" for step in steps))
        together = run("apply", path, recipe, "-o", once)[0]
        apart = 0
        for step in steps:
            recipe.write_text(f"[[step]]\n{step}\n")
            apart = apart or run("apply", path, recipe, "-i")[0]
        assert together == apart
        if not together:
            assert run("git-diff", once) == run("git-diff", path) and run("ls", once, "--sort", "name") == run("ls", path, "--sort", "name")


def test_values_alone_are_written_in_place_as_by_one_edit(ckpt: Ckpt, sample: Sample) -> None:
    path = sample("mlp.safetensors")
    inode = path.stat().st_ino
    ckpt("apply", path, written(path, '[[step]]\nset = ["0.bias = 1"]\n[[step]]\nset = ["0.bias += 1", "2.bias = 0"]\n'), "-i")
    assert path.stat().st_ino == inode and ckpt("get", path, "0.bias[0]").out.strip() == "2.0"


def test_the_plan_is_the_difference_and_writes_nothing(ckpt: Ckpt, sample: Sample) -> None:
    path = sample("mlp.pt")
    before = path.read_bytes()
    found = ckpt("apply", path, written(path, '[[step]]\nset = ["0.bias = 1"]\n[[step]]\nreinit = ["2.bias=normal"]\nseed = 1\n'), "-n")
    assert [row[:2] for row in found.rows] == [["changed", "0.bias"], ["changed", "2.bias"]] and path.read_bytes() == before
    assert "step 2 (reinit): 2.bias: normal" in found.err and "step 2 (reinit): seed 1" in found.err


def test_a_recipe_may_come_by_a_pipe(sample: Sample) -> None:
    path = sample("mlp.pt")
    line = f"{CKPT} set {path} '0.bias = 1' --print-recipe | {CKPT} apply {path} - -i && {CKPT} get {path} '0.bias[0]'"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1.0\n", "")


# What is wrong


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the recipe has no steps"),
        ("step = 3", "the recipe has no steps"),
        ("[[step]", "this is no TOML"),
        ("[rules]\n'*' = 'zeros'", "rules alone are for `ckpt reinit --recipe`"),
        ("[[steps]]\ndrop = ['*']", "a recipe of steps has no 'steps'"),
        ("[[step]]", "step 1: nothing says what to do (each step has one of set, reinit, "),
        ("[[step]]\ndrpo = ['*']", "step 1: a step has no 'drpo' (did you mean drop"),
        ("[[step]]\ndrop = ['*']\nset = ['a = 1']", "step 1: drop and set in one step"),
        ("[[step]]\ndrop = ['2.*']\npreset = 'keras'", "step 1 (drop): drop has no 'preset' (it goes with reinit"),
        ("[[step]]\nset = ['x = 1']\nseed = 1", "step 1 (set): set has no 'seed' (it goes with reinit"),
        ("[[step]]\nset = ['x = 1']\narhc = 'mlp'", "step 1 (set): set has no 'arhc' (did you mean arch?)"),
        ("[[step]]\ntie = ['x', 'y']\nxyz = 1", "step 1 (tie): tie has no 'xyz' (it has none)"),
        ("[[step]]\ndrop = '2.*'", "step 1 (drop): drop takes a list of texts"),
        ("[[step]]\ndrop = []", "step 1 (drop): drop takes a list of texts"),
        ("[[step]]\ndrop = ['2.*']\n[[step]]\ndrop = ['2.*']", "step 2 (drop): nothing matches '2.*'"),
        ("[[step]]\nset = ['0.weight']", "step 1 (set): '0.weight' is no assignment"),
        ("[[step]]\nset = ['0.weight = @none.npy']", "step 1 (set): none.npy: no such file"),
        ("[[step]]\nset = ['0.weight[99] = 1']", "step 1 (set): 0.weight has shape 8x4: index 99 is out of range"),
        ("[[step]]\nreinit = ['*=zero']", "step 1 (reinit): no scheme is called 'zero'"),
        ("[[step]]\nreinit = []", "step 1 (reinit): nothing says what to draw"),
        ("[[step]]\nreinit = ['*=zeros']\nseed = -1", "step 1 (reinit): seed takes a whole number"),
        ("[[step]]\nreinit = ['*=zeros']\nseed = true", "step 1 (reinit): seed takes a whole number"),
        ("[[step]]\nreinit = ['*=zeros']\nrng = 'numpy'", "step 1 (reinit): rng takes"),
        ("[[step]]\nreinit = []\npreset = 'kras'", "step 1 (reinit): no preset is called 'kras' (did you mean keras"),
        ("[[step]]\nreinit = ['0.bias=orthogonal']", "step 1 (reinit): 0.bias: "),
        ("[[step]]\ncast = 'float31'", "step 1 (cast): no dtype is called 'float31'"),
        ("[[step]]\ntie = ['0.weight', '2.weight']", "step 1 (tie): 0.weight (8x4 of float32) and 2.weight"),
        ("[[step]]\nuntie = ['0.weight']", "step 1 (untie): 0.weight is tied to nothing"),
        ("[[step]]\nrename = ['0.weight=2.weight']", "step 1 (rename): '0.weight' and '2.weight' would both"),
        ("[[step]]\nassert = {}", "step 1 (assert): assert takes a table"),
        ("[[step]]\nassert = {shpe = {a = [1]}}", "step 1 (assert): nothing can be asserted as 'shpe' (did you mean shape"),
        ("[[step]]\nassert = {shape = {a = '8x4'}}", "step 1 (assert): shape takes a table"),
        ("[[step]]\nassert = {tied = [['0.weight']]}", "step 1 (assert): tied takes a list of groups"),
        ("[[step]]\nassert = {dtype = {'*' = 'flot'}}", "step 1 (assert): no dtype is called 'flot'"),
        ("[[step]]\nassert = {shape = {'nothing' = [1]}}", "step 1 (assert): nothing matches 'nothing'"),
        ("[[step]]\nassert = {finite = ['nothing']}", "step 1 (assert): nothing matches 'nothing'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_an_error_that_names_the_step(ckpt: Ckpt, sample: Sample, text: str, says: str) -> None:
    path = sample("mlp.pt")
    before = path.read_bytes()
    recipe = written(path, text)
    found = ckpt("apply", path, recipe, "-i", status=2)
    assert found.err.startswith(f"ckpt: error: {recipe}: ") and says in found.err and path.read_bytes() == before


LATE = [
    ("set = ['0.bias = 100']", "cast = 'int8'\npatterns = ['0.bias']", "set = ['0.bias += 100']", 3, "set", "0.bias: int8 cannot hold 200"),
    ("set = ['0.bias = nan']", "cast = 'int8'\npatterns = ['0.*']", "drop = ['2.bias']", 2, "cast", "0.bias: int8 cannot hold nan"),
    ("cast = 'float8_e4m3fn'", "set = ['0.bias[1:] *= 1e9']", "set = ['2.bias = 0']", 2, "set", "float8_e4m3fn cannot hold 1 * 1e+09"),
    ("drop = ['2.bias']", "reinit = ['0.bias=own.py:odd']\nseed = 1", "set = ['0.bias += 1']", 2, "reinit", "own.py:3: ValueError: no"),
    ("set = ['0.bias = nan']", "cast = 'int8'\npatterns = ['*.bias']", "assert = {finite = ['*']}", 2, "cast", "0.bias: int8 cannot"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two", "three", "number", "verb", "says"), LATE)
@pytest.mark.parametrize("how", ["-i", "-n"])
def test_what_fails_while_values_are_made_names_the_step_too(
    ckpt: Ckpt, sample: Sample, monkeypatch: pytest.MonkeyPatch, one: str, two: str, three: str, number: int, verb: str, says: str, how: str
) -> None:
    path = sample("mlp.pt")
    monkeypatch.chdir(path.parent)
    Path("own.py").write_text("def odd(shape, generator):\n    if True:\n        raise ValueError('no')\n")
    ckpt("set", path, "0.bias = 1", "-i")
    before = path.read_bytes()
    recipe = written(path, "".join(f"[[step]]\n{step}\n" for step in (one, two, three)))
    found = ckpt("apply", path, recipe, how, "--allow-code", status=2)
    error = found.err
    assert error.startswith(f"ckpt: error: {recipe}: step {number} ({verb}): ") and says in error and path.read_bytes() == before
    assert error.count("step ") == 1 and found.out == ""


CODE = [
    "reinit = ['0.weight=CODE.py:fill']",
    "reinit = ['0.weight=rows(zeros, 0=CODE.py:fill)']",
    "reinit = ['0.weight=rows(zeros, 1:=rows(zeros, 0=CODE.py:fill))']",
    "cast = 'bfloat16'\npatterns = ['@Linear']\narch = 'CODE.py:Model'",
    "set = ['@Linear = 0']\narch = 'evil:Model'",
]


@pytest.mark.parametrize("step", CODE)
@pytest.mark.parametrize("how", ["-n", "-i"])
def test_code_that_only_a_recipe_names_runs_where_the_user_allows_it(
    ckpt: Ckpt, sample: Sample, monkeypatch: pytest.MonkeyPatch, step: str, how: str
) -> None:
    path = sample("mlp.pt")
    monkeypatch.chdir(path.parent)
    ran = path.with_name("ran")
    code = f"open({str(ran)!r}, 'w')\nfrom torch import nn\ndef fill(tensor): tensor.zero_()\n"
    path.with_name("evil.py").write_text(f"{code}def Model(): return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))\n")
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    recipe = written(path, f"[[step]]\n{step.replace('CODE', str(path.with_name('evil')))}\n")
    before = path.read_bytes()
    found = ckpt("apply", path, recipe, how, status=2)
    assert "is code, which a recipe may not run by itself (" in found.err and "--allow-code" in found.err
    assert found.err.startswith(f"ckpt: error: {recipe}: step 1 (") and found.err.count("\n") == 1
    assert not ran.exists() and path.read_bytes() == before
    ckpt("apply", path, recipe, how, "--allow-code")
    assert ran.exists()


def test_rules_in_a_file_and_on_the_command_line(ckpt: Ckpt, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sample("mlp.pt")
    monkeypatch.chdir(path.parent)
    Path("mine.py").write_text("def fill(tensor): tensor.zero_()\n")
    Path("rules.toml").write_text("[rules]\n'0.weight' = 'rows(ones, 0=mine.py:fill)'\n")
    assert "a recipe may not run by itself" in ckpt("reinit", path, "--recipe", "rules.toml", "-n", status=2).err
    ckpt("reinit", path, "--recipe", "rules.toml", "-n", "--allow-code")
    Path("rules.toml").write_text("[rules]\n'0.weight' = 'ones'\n")
    ckpt("reinit", path, "0.bias=mine.py:fill", "--recipe", "rules.toml", "-n")  # the user names it
    assert "mine.py:fill" in ckpt("reinit", path, "0.bias=mine.py:fill", "--print-recipe").out


def test_a_recipe_that_cannot_be_read_is_an_error(ckpt: Ckpt, sample: Sample, tmp_path: Path) -> None:
    path = sample("mlp.pt")
    assert "no such file" in ckpt("apply", path, tmp_path / "none.toml", "-i", status=2).err
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    assert "no UTF-8 text" in ckpt("apply", path, tmp_path / "r.toml", "-i", status=2).err
    assert "where should the result go" in ckpt("apply", path, written(path, "[[step]]\ndrop = ['2.*']"), status=2).err


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ("exists = ['x.*']", "exists: there is no x.*"),
        ("absent = ['*.bias']", "absent: there is 0.bias (*.bias)"),
        ("shape = {'0.weight' = [8, 3]}", "shape: 0.weight has 8x4, not 8x3"),
        ("dtype = {'*.bias' = 'bf16'}", "dtype: 2.bias is float32, not bfloat16"),
        ("tied = [['0.weight', '2.weight']]", "tied: 2.weight is not tied to 0.weight"),
        ("finite = ['*']", "finite: 0.bias has 1 NaN and 2 infinities"),
    ],
)
def test_an_assertion_that_does_not_hold_is_exit_1_and_writes_nothing(ckpt: Ckpt, sample: Sample, claim: str, says: str) -> None:
    path = sample("mlp.pt")
    before = path.read_bytes()
    first = "[[step]]\nset = ['0.bias = [NaN, Infinity, -Infinity, 0, 0, 0, 0, 0]']\n"
    recipe = written(path, f"{first}[[step]]\nassert = {{{claim}}}\n[[step]]\ndrop = ['2.*']")
    found = ckpt("apply", path, recipe, "-i", status=1)
    assert f"ckpt: {recipe}: step 2 (assert): {says}\n" in found.err and found.out == "" and path.read_bytes() == before
    assert "nothing is written" in found.err
    answer = ckpt("apply", path, recipe, "-i", "--json", status=1).json
    assert answer["holds"] is False and says in answer["broken"] and path.read_bytes() == before


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ("params = 48", ["params: 49, not 48"]),
        ("extra = 'forbid', tensors = {'*.weight' = {}}", [f"unexpected: {n}.bias: the spec has no entry for it" for n in (0, 2)]),
        ("ties = [['0.weight', '2.weight']]", ["tied: 2.weight: is not tied to 0.weight"]),
        ("tensors = {'*.weight' = {count = '3-*'}, '{0-2}.bias' = {}}", ["count: *.weight: 2 tensors match, not 3-*", "missing: 1.bias: "]),
        ("tensors = {'2.*' = {dtype = ['bf16', 'fp16'], shape = ['*', 8]}}", ["dtype: 2.weight: float32, not bfloat16 or float16"]),
        ("tensors = {'0.bias' = {std = [0.0, 0.01], min = [-9, inf]}}", ["figure: 0.bias: std is ", ", above 0.01"]),
        ("exists = ['x'], finite = true, tensors = {'*' = {}}", ["exists: there is no x"]),
    ],
)
def test_an_assertion_may_be_any_entry_of_a_spec(ckpt: Ckpt, sample: Sample, claim: str, says: list[str]) -> None:
    path = sample("mlp.pt")
    recipe = written(path, f"[[step]]\nassert = {{{claim}}}")
    found = ckpt("apply", path, recipe, "-i", status=1)
    assert all(text in found.err for text in says) and "nothing is written" in found.err
    holds = "params = '40-60', finite = true, ties = [], tensors = {'*.weight' = {count = 2, std = [0.1, 0.5]}}"
    assert "would change" in ckpt("apply", path, written(path, f"[[step]]\nassert = {{{holds}}}"), "-n").err


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ("params = -1", "an assertion: params is a whole number"),
        ("tensors = {'*' = {stdd = [0, 1]}}", "*: an entry of a tensor has no stdd (did you mean std?)"),
        ("finite = false", "finite takes a list of patterns"),
    ],
)
def test_an_entry_that_a_spec_has_not_is_an_error(ckpt: Ckpt, sample: Sample, claim: str, says: str) -> None:
    path = sample("mlp.pt")
    assert says in ckpt("apply", path, written(path, f"[[step]]\nassert = {{{claim}}}"), "-i", status=2).err


def test_an_assertion_that_holds_says_nothing(ckpt: Ckpt, sample: Sample) -> None:
    path = sample("shared-mlp.pt")
    claim = "tied = [['2.weight', '4.weight'], ['2.bias', '4.bias']], finite = ['@Linear']"
    found = ckpt("apply", path, written(path, f"[[step]]\nassert = {{{claim}}}"), "-n")
    assert found.out == "" and "nothing would change" in found.err


@pytest.mark.parametrize(
    "step", ["cast = 'bf16'\npatterns = ['0.*']", "set = ['0.bias = 1']", "drop = ['0.bias']", "rename = ['0.bias=b']"]
)
def test_after_a_renaming_the_mend_speaks_of_the_names_that_there_are_then(ckpt: Ckpt, sample: Sample, tmp_path: Path, step: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f"[[step]]\nrename = ['0.*=first.*']\n\n[[step]]\n{step}\n")
    error = ckpt("apply", sample("mlp.pt"), recipe, "-n", status=2).err
    assert "step 2 (" in error and error.endswith("the names are those after the steps before)\n") and "ckpt ls" not in error
    recipe.write_text(f"[[step]]\nset = ['0.bias = 1']\n\n[[step]]\n{step.replace('0.', 'zzz.')}\n")
    assert "the names are those" not in ckpt("apply", sample("mlp.pt"), recipe, "-n", status=2).err
