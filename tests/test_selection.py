"""Naming parameters: exact names, globs, regular expressions, positions, layer types, and NAME[index]."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import SAMPLES, Ckpt, examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ckpt_cli import reading
from ckpt_cli.errors import CkptError
from ckpt_cli.tensors.globs import glob
from ckpt_cli.tensors.references import refer
from ckpt_cli.tensors.selection import select

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(100))


def save(path: Path, *names: str) -> Path:
    """A file of scalars, each its own number, under `names`."""
    torch.save({name: torch.tensor(float(i)) for i, name in enumerate(names)}, path)
    return path


def listed(ckpt: Ckpt, path: Path, *patterns: str) -> list[str]:
    return [row[0] for row in ckpt("ls", path, "--", *patterns).rows]


NAMES = [
    "h.0.w",
    "h.1.w",
    "h.10.w",
    "h.2.b",
    "head",
    "a*b",
    "axb",
    "w[0]",
    "w0",
    "re:x",
    "@Linear",
    "{a,b}",
    "{3-4}",
    "--help",
    "x = y",
    "x",
    "[0]",
    "^",
]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("head", ["head"]),
        ("h.*.w", ["h.0.w", "h.1.w", "h.10.w"]),
        ("h*", ["h.0.w", "h.1.w", "h.10.w", "h.2.b", "head"]),
        ("h.?.w", ["h.0.w", "h.1.w"]),
        ("h.{1,2}.*", ["h.1.w", "h.2.b"]),
        ("h.{1{,0},2}.*", ["h.1.w", "h.10.w", "h.2.b"]),
        ("h.{0-2}.*", ["h.0.w", "h.1.w", "h.2.b"]),
        ("h.{2-10}.*", ["h.10.w", "h.2.b"]),
        ("h.{0,2-10}.*", ["h.0.w", "h.10.w", "h.2.b"]),
        ("h.{2-10,0}.{w,b}", ["h.0.w", "h.10.w", "h.2.b"]),
        ("h.{0-9999}.b", ["h.2.b"]),
        ("{3-4}", ["{3-4}"]),
        ("h.[0-1].w", ["h.0.w", "h.1.w"]),
        ("h.[!0].w", ["h.1.w"]),
        ("h.[^0].w", ["h.1.w"]),
        ("a[*]b", ["a*b"]),
        ("w[[]0]", ["w[0]"]),
        ("[]^[]", ["^"]),
        ("re:^h\\.\\d+\\.w$", ["h.0.w", "h.1.w", "h.10.w"]),
        ("re:0", ["h.0.w", "h.10.w", "w[0]", "w0", "[0]"]),
        # an exact name wins over what it would mean as a pattern
        ("a*b", ["a*b"]),
        ("w[0]", ["w[0]"]),
        ("re:x", ["re:x"]),
        ("@Linear", ["@Linear"]),
        ("{a,b}", ["{a,b}"]),
        ("[0]", ["[0]"]),
        ("--help", ["--help"]),
        ("x = y", ["x = y"]),
        ("^", ["^"]),
    ],
)
def test_a_pattern_picks_these_names(ckpt: Ckpt, tmp_path: Path, pattern: str, names: list[str]) -> None:
    assert listed(ckpt, save(tmp_path / "a.pt", *NAMES), pattern) == names


def test_several_patterns_pick_what_any_of_them_picks_in_the_order_of_the_file(ckpt: Ckpt, tmp_path: Path) -> None:
    assert listed(ckpt, save(tmp_path / "a.pt", *NAMES), "head", "h.?.w", "h*w") == ["h.0.w", "h.1.w", "h.10.w", "head"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("0.weigth", "did you mean 0.weight"), ("zzzzzz", "`ckpt ls` lists the names"), ("3.bias*", "did you mean 2.bias")],
)
@pytest.mark.parametrize("command", ["ls", "get"])
def test_a_pattern_that_matches_nothing_is_an_error_that_names_the_nearest(ckpt: Ckpt, name: str, nearest: str, command: str) -> None:
    path = SAMPLES / "mlp.pt"
    found = ckpt(command, path, name, status=2)
    assert found.err.startswith(f"ckpt: error: {path}: nothing matches") and nearest in found.err and not found.out


@pytest.mark.parametrize("pattern", ["re:(", "re:a{99999999999999999999}", "[z-a]", "re:*"])
def test_what_is_no_pattern_is_an_error(ckpt: Ckpt, pattern: str) -> None:
    assert "is no pattern" in ckpt("ls", SAMPLES / "mlp.pt", pattern, status=2).err


@pytest.mark.parametrize("pattern", ["re:[[]x", "[a+--]*", "[a||b]*"])
def test_a_pattern_makes_no_noise(ckpt: Ckpt, tmp_path: Path, recwarn: pytest.WarningsRecorder, pattern: str) -> None:
    assert ckpt("ls", save(tmp_path / "a.pt", "[x", "ab"), "--", pattern).err == "" and not recwarn.list


def in_torch(net: Any, reference: str) -> Any:
    """What `net` + reference is in Python: net[0][1][0].bias."""
    return eval("net" + reference, {"net": net})


def nested_net() -> torch.nn.Module:
    """The net of the sample: blocks that are called `block 0` to `block 3`."""
    blocks = torch.nn.Sequential()
    for i in range(4):
        blocks.add_module(f"block {i}", torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4), torch.nn.ReLU()))
    net = torch.nn.Sequential(blocks, torch.nn.Linear(4, 1))
    net.load_state_dict(torch.load(SAMPLES / "nested.pt"))
    return net


@pytest.mark.parametrize(
    "reference", ["[0][1][0].bias", "[0][0][2].weight", "[0][3][0].weight", "[0][-1][2].bias", "[1].bias", "[-1].weight"]
)
@pytest.mark.parametrize("suffix", [".pt", ".legacy.pt", ".safetensors"])
def test_a_position_means_what_it_means_in_torch(ckpt: Ckpt, reference: str, suffix: str) -> None:
    values = ckpt("get", SAMPLES / f"nested{suffix}", "--json", "--", reference).json["values"]
    assert torch.equal(torch.tensor(values), in_torch(nested_net(), reference))


def test_a_position_counts_children_as_numbers_where_a_file_sorts_its_names(ckpt: Ckpt, tmp_path: Path) -> None:
    names = sorted(f"block {i}.w" for i in range(12))
    assert names[2] == "block 10.w"
    safetensors.torch.save_file({name: torch.zeros(1) for name in names}, tmp_path / "a.safetensors")
    assert [listed(ckpt, tmp_path / "a.safetensors", f"[{k}]") for k in (2, 10, -1)] == [["block 2.w"], ["block 10.w"], ["block 11.w"]]


@pytest.mark.parametrize(
    ("names", "reference", "picked"),
    [
        (["0.w", "2.w"], "[2]", ["2.w"]),  # the child named 2
        (["0.w", "2.w"], "[1]", ["2.w"]),  # no child is named 1: the second
        (["0.w", "2.w"], "[-1].w", ["2.w"]),
        (["0.0", "0.1", "1.0"], "[0][1]", ["0.1"]),  # though [0] means two tensors
        (["0.0", "0.1", "1.0"], "[0]", ["0.0", "0.1"]),
        (["net.a.w", "net.b.w"], "net[1].w", ["net.b.w"]),
        (["net.a.w", "net.b.w"], "net[1]", ["net.b.w"]),
        (["b c.w", "d.w"], "[0].w", ["b c.w"]),
    ],
)
def test_a_position_is_the_child_of_that_name_else_the_kth(
    ckpt: Ckpt, tmp_path: Path, names: list[str], reference: str, picked: list[str]
) -> None:
    path = save(tmp_path / "a.pt", *names)
    assert listed(ckpt, path, reference) == picked
    if len(picked) == 1:
        assert ckpt("get", path, reference).out == f"{float(names.index(picked[0]))}\n"


def test_a_key_that_holds_a_dot_is_one_child(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"a.b": {"w": torch.tensor(1.0)}, "a": {"b": {"w": torch.tensor(2.0)}}, "c": {"w": torch.tensor(3.0)}}, tmp_path / "a.pt")
    assert listed(ckpt, tmp_path / "a.pt", "[0]", "[1]") == [r"a\.b.w", "a.b.w"]
    assert ckpt("get", tmp_path / "a.pt", "[2].w").out == "3.0\n"


@pytest.mark.parametrize("reference", ["[9].weight", "[-9].weight", "[0][7]", f"[{'9' * 5000}]", f"0.weight[{'9' * 5000}]"])
def test_a_position_that_is_not_there_is_an_error(ckpt: Ckpt, reference: str) -> None:
    ckpt("get", SAMPLES / "mlp.pt", "--", reference, status=2)


def test_an_at_sign_picks_the_parameters_of_every_layer_of_that_type(ckpt: Ckpt) -> None:
    path = SAMPLES / "module.pt"
    net = torch.load(path, weights_only=False)
    linear = [f"{n}.{p}" for n, m in net.named_modules() if isinstance(m, torch.nn.Linear) for p, _ in m.named_parameters()]
    assert listed(ckpt, path, "@Linear") == linear
    assert listed(ckpt, path, "@Linear.bias") == [name for name in linear if name.endswith("bias")]
    assert "there is no layer of type 'Liner' (did you mean Linear?)" in ckpt("ls", path, "@Liner", status=2).err


def test_an_at_sign_without_known_layers_is_an_error_that_says_so(ckpt: Ckpt, tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", "what", "ever")
    assert "layer types of this file are not known" in ckpt("ls", path, "@Linear", status=2).err


strange = st.text(
    st.sampled_from(["a", "B", "0", "1", ".", " ", "*", "?", "[", "]", "{", "}", ",", "!", "^", "-", "\\", "\n", "é", "𝄞"]), max_size=8
)


@relaxed
@given(st.lists(strange, min_size=1, max_size=6, unique=True), strange)
def test_a_glob_agrees_with_fnmatch_on_what_both_have(names: list[str], pattern: str) -> None:
    assume("{" not in pattern and "[^" not in pattern)
    try:
        expected = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        found = [name for name in names if re.fullmatch(glob(pattern), name, re.DOTALL)]
    except re.error:
        assume(False)  # a class that runs backwards: fnmatch lets it match nothing
    # fnmatch drops a range that runs backwards from a class with other members; an error is the better answer
    assert found == expected


@relaxed
@given(st.one_of(st.text(max_size=20), strange, strange.map("re:{}".format), strange.map("@{}".format), strange.map("0.weight[{}]".format)))
def test_any_text_at_all_as_a_pattern_gives_names_or_one_of_our_errors(pattern: str) -> None:
    checkpoint = reading.open(str(SAMPLES / "mlp.pt"))
    try:
        names = select(checkpoint, [pattern])
        assert names and set(names) <= set(checkpoint)
    except CkptError:
        pass
    try:
        name, _ = refer(checkpoint, pattern)
        assert name in checkpoint
    except CkptError:
        pass


@relaxed
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_any_name_at_all_is_found_by_itself(ckpt: Ckpt, tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    path.unlink(missing_ok=True)
    assume(name != "__metadata__")
    torch.save({name: torch.tensor(7.0), "other": torch.tensor(8.0)} if name != "other" else {name: torch.tensor(7.0)}, tmp_path / "a.pt")
    escaped = name.replace(".", r"\.")
    known = list(reading.open(str(tmp_path / "a.pt")))
    found = name if name in known else escaped
    assert ckpt("get", tmp_path / "a.pt", "--", found).out == "7.0\n"


def views(base: torch.Tensor) -> dict[str, torch.Tensor]:
    """One tensor as torch saves it: whole, transposed, sliced with steps, with an axis that is expanded."""
    return {
        "whole": base,
        "transposed": base.permute(*reversed(range(base.dim()))),
        "sliced": base[tuple(slice(1 if n > 2 else 0, None, 2) for n in base.shape)],
        "expanded": base.unsqueeze(0).expand(3, *base.shape),
    }


bound = st.none() | st.integers(-5, 5)
part = st.integers(-4, 4) | st.builds(slice, bound, bound, st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]))


@st.composite
def indices(draw: st.DrawFn) -> list[Any]:
    parts: list[Any] = draw(st.lists(part, max_size=4))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), ...)
    return parts or [...]


def written(index: list[Any]) -> str:
    """The index, as a user writes it."""

    def one(part: Any) -> str:
        if part is ...:
            return "..."
        if isinstance(part, int):
            return str(part)
        ends = ["" if bound is None else str(bound) for bound in (part.start, part.stop, part.step)]
        return ":".join(ends if part.step is not None else ends[:2])

    return ", ".join(map(one, index))


shapes = st.lists(st.integers(0, 5), min_size=1, max_size=3)


@settings(relaxed, max_examples=examples(150))
@given(shapes, indices(), st.sampled_from(["whole", "transposed", "sliced", "expanded"]))
def test_an_index_reads_what_numpys_basic_indexing_reads(ckpt: Ckpt, tmp_path: Path, shape: list[int], index: list[Any], kind: str) -> None:
    base = torch.arange(float(np.prod(shape))).reshape(shape)
    torch.save({"a b": views(base)[kind]}, tmp_path / "a.pt")
    reference = f"a b[{written(index)}]"
    try:
        expected = views(base)[kind].numpy()[tuple(index)]
    except IndexError:
        ckpt("get", tmp_path / "a.pt", reference, status=2)
        return
    found = ckpt("get", tmp_path / "a.pt", reference, "--json").json
    assert found["shape"] == list(expected.shape)
    assert np.array_equal(np.array(found["values"]).reshape(found["shape"]), expected)
    assert ckpt("get", tmp_path / "a.pt", reference, "--format", "raw").raw == np.ascontiguousarray(expected).tobytes()


@settings(relaxed, max_examples=examples(150))
@given(shapes, indices(), st.sampled_from(["whole", "transposed", "sliced"]), st.booleans())
def test_an_index_writes_what_numpys_basic_indexing_writes_and_nothing_else(
    ckpt: Ckpt, tmp_path: Path, shape: list[int], index: list[Any], kind: str, add: bool
) -> None:
    base = torch.arange(float(np.prod(shape))).reshape(shape)
    torch.save({"base": base, "view": views(base)[kind]}, tmp_path / "a.pt")
    view = views(base)[kind].numpy()
    try:
        view[tuple(index)] = view[tuple(index)] + 100 if add else -1
    except IndexError:
        ckpt("set", tmp_path / "a.pt", f"view[{written(index)}] = -1", "-i", status=2)
        return
    empty = view.size > 0 and view[tuple(index)].size == 0  # an error: it would assign nothing
    ckpt("set", tmp_path / "a.pt", f"view[{written(index)}] {'+= 100' if add else '= -1'}", "-i", status=2 if empty else 0)
    assert torch.equal(torch.load(tmp_path / "a.pt")["base"], base)


@pytest.mark.parametrize("index", ["", "a", "0,0,0", "::0", "..., ...", "None", "[0]", "1.0", ",", "--1", "8", "-9"])
def test_what_is_no_index_of_the_tensor_is_an_error(ckpt: Ckpt, index: str) -> None:
    ckpt("get", SAMPLES / "mlp.pt", f"0.weight[{index}]", status=2)
    ckpt("set", SAMPLES / "mlp.pt", f"0.weight[{index}] = 1", "-n", status=2)


def test_name_and_index_wins_over_the_same_text_as_a_glob(ckpt: Ckpt, tmp_path: Path) -> None:
    torch.save({"w": torch.tensor([5.0, 6.0]), "w1": torch.tensor(7.0), "v1": torch.tensor(8.0)}, tmp_path / "a.pt")
    assert ckpt("get", tmp_path / "a.pt", "w[1]").out == "6.0\n"
    assert ckpt("get", tmp_path / "a.pt", "v[1]").out == "8.0\n"


@pytest.mark.parametrize("line", ["check", "ls", "stats", "hash", "get"])
def test_another_file_is_no_pattern(line: str, ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.pt", "b.pt"):
        save(Path(name), "w")
    said = ckpt(line, "a.pt", "b.pt", status=2).err
    assert (
        said.startswith("ckpt: error: a.pt: nothing matches 'b.pt' (b.pt is a file: one checkpoint at a time")
        and "for f in *.pt; do" in said
    )


EXCLUDED = ["h.0.w", "h.0.b", "h.1.w", "h.1.b", "head.w"]


@pytest.mark.parametrize(
    ("patterns", "picked"),
    [
        (["!*.b"], ["h.0.w", "h.1.w", "head.w"]),
        (["!*.b", "!head.w"], ["h.0.w", "h.1.w"]),
        (["h.*", "!*.b"], ["h.0.w", "h.1.w"]),
        (["h.*", "!*.b", "h.1.b"], ["h.0.w", "h.1.w", "h.1.b"]),
        (["*.b", "head.w", "!re:^h\\."], ["head.w"]),
        (["!h[0]"], ["h.1.w", "h.1.b", "head.w"]),
    ],
)
def test_an_exclusion_takes_out_what_the_patterns_before_it_picked(
    ckpt: Ckpt, tmp_path: Path, patterns: list[str], picked: list[str]
) -> None:
    path = save(tmp_path / "a.pt", *EXCLUDED)
    assert listed(ckpt, path, *patterns) == picked
    assert [row[0] for row in ckpt("stats", path, "--", *patterns).rows] == picked
    ckpt("cast", path, "float16", *patterns, "-o", tmp_path / "cast.pt")
    assert [row[0] for row in ckpt("ls", tmp_path / "cast.pt").rows if row[1] == "float16"] == picked
    ckpt("drop", path, *patterns, "-o", tmp_path / "rest.pt")
    assert listed(ckpt, tmp_path / "rest.pt") == [name for name in EXCLUDED if name not in picked]
    (tmp_path / "r.toml").write_text(f"[[step]]\ndrop = {patterns}\n".replace("\\\\", "\\"))
    ckpt("apply", path, tmp_path / "r.toml", "-o", tmp_path / "applied.pt")
    assert (tmp_path / "applied.pt").read_bytes() == (tmp_path / "rest.pt").read_bytes()


def test_an_exclusion_alone_means_everything_else_where_one_pattern_is_taken(ckpt: Ckpt, tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", *EXCLUDED)
    ckpt("set", path, "!*.b = 7", "-i")
    ckpt("reinit", path, "!{*.w,h.1.b}=zeros", "-i", "--seed", "0")
    assert {name: value.item() for name, value in torch.load(path).items()} == {"h.0.w": 7, "h.0.b": 0, "h.1.w": 7, "h.1.b": 3, "head.w": 7}
    (tmp_path / "s.toml").write_text('[tensors]\n"!*.b" = {count = 3, dtype = "f32"}\n"*.b" = {dtype = "fp32"}\n')
    ckpt("check", path, "--spec", tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        (["!x"], "nothing matches 'x'"),
        (["*.w", "!*.b"], "'!*.b' takes nothing out"),
        (["!*"], "'!*' leaves nothing"),
        (["*.b", "!h.*"], "'!h.*' leaves nothing"),
        (["!!*.b"], "it has two '!'"),
        (["!" * 5000], "it has two '!'"),
    ],
)
@pytest.mark.parametrize("command", ["ls", "stats", "hash", "drop"])
def test_an_exclusion_that_takes_nothing_out_is_an_error(ckpt: Ckpt, tmp_path: Path, command: str, patterns: list[str], told: str) -> None:
    path = save(tmp_path / "a.pt", *EXCLUDED)
    assert told in ckpt(command, path, *(["-n"] if command == "drop" else []), "--", *patterns, status=2).err


def test_a_name_that_begins_with_an_exclamation_mark_is_a_name(ckpt: Ckpt, tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", "!x", "x", "y")
    assert listed(ckpt, path, "!x") == ["!x"] and listed(ckpt, path, "!!x") == ["x", "y"]


@pytest.mark.parametrize(
    ("written", "dtype"),
    [("bf16", "bfloat16"), ("fp16", "float16"), ("f16", "float16"), ("f32", "float32"), ("FP64", "float64"), ("half", "float16"),
     ("fp8", "float8_e4m3fn"), ("fp8_e5m2", "float8_e5m2"), ("e5m2", "float8_e5m2"), ("F8_E4M3", "float8_e4m3fn"), ("i8", "int8"),
     ("u16", "uint16"), ("c64", "complex64"), ("torch.bfloat16", "bfloat16"), ("float", "float32"), ("long", "int64")],
)  # fmt: skip
def test_a_dtype_may_be_written_short(ckpt: Ckpt, tmp_path: Path, written: str, dtype: str) -> None:
    path = save(tmp_path / "a.pt", "t", "u")
    ckpt("cast", path, written, "t", "-o", tmp_path / "b.pt")
    assert [row[1] for row in ckpt("ls", tmp_path / "b.pt").rows] == [dtype, "float32"]
    ckpt("convert", path, tmp_path / "c.pt", "--select", "t", "--dtype", written)
    assert torch.load(tmp_path / "c.pt")["t"].dtype in (getattr(torch, dtype), torch.float32)


@pytest.mark.parametrize(("written", "nearest"), [("flaot32", "float32"), ("fp33", "float32"), ("bfloat", "bfloat16"), ("f_32", "")])
def test_an_unknown_dtype_names_the_nearest(ckpt: Ckpt, tmp_path: Path, written: str, nearest: str) -> None:
    error = ckpt("cast", save(tmp_path / "a.pt", "t"), written, "-n", status=2).err
    assert f"no dtype is called {written!r} (did you mean " in error and nearest in error
