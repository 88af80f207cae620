"""`ckpt check --safe` on files that run code elsewhere: the corpus of `hostile/unsafe_corpus`, what is clean, and the note of `ls`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import CASES, SAMPLES, Ckpt

sys.path.insert(0, str(Path(__file__).parent / "hostile"))
import unsafe_corpus
from unsafe_corpus import Unsafe

UNSAFE = list(unsafe_corpus.cases())
CLEAN = list(unsafe_corpus.clean())


@pytest.fixture(autouse=True)
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test runs in a folder of its own, in which nothing appears but what it writes."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    assert not (tmp_path / "canary").exists()
    new = {module.partition(".")[0] for module in set(sys.modules) - before}
    assert not new & {"idlelib", "pip", "ensurepip", "cProfile", "timeit", "pty", "antigravity", "this", "evil", "runpy", "webbrowser"}


def rows_of(ckpt: Ckpt, path: Path) -> list[list[str]]:
    """The violations; there has to be one, whatever they are."""
    return ckpt("check", "--safe", path, status=1).rows


def chunks(cases: list[Unsafe], size: int = 60) -> Iterator[list[Unsafe]]:
    yield from (cases[at : at + size] for at in range(0, len(cases), size))


@pytest.mark.parametrize("cases", chunks(UNSAFE), ids=lambda cases: cases[0].title)
def test_every_name_is_told_and_no_file_is_safe(cases: list[Unsafe], ckpt: Ckpt, tmp_path: Path) -> None:
    for case in cases:
        path = tmp_path / case.file
        path.write_bytes(case.content)
        result = ckpt("check", "--safe", path, status=None)
        assert result.status == 1 and result.rows, (case.title, result)
        told = {violation["name"] for violation in ckpt("check", "--safe", "--json", path, status=1).json["violations"]}
        assert set(case.names) <= told, (case.title, told)
        assert case.names or {row[0] for row in result.rows} <= {"unread", "unreadable"}, (case.title, result.rows)
        assert max(map(len, result.out.splitlines())) < 1000 and "object at 0x" not in result.out
        path.unlink()


def test_no_two_cases_have_one_title() -> None:
    assert len(UNSAFE) > 600 and len({case.title for case in UNSAFE}) == len(UNSAFE)


@pytest.mark.parametrize(("title", "content", "file"), CLEAN, ids=[title for title, *_ in CLEAN])
def test_what_is_understood_as_a_whole_is_safe(title: str, content: bytes, file: str, ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(content)
    result = ckpt("check", "--safe", file, status=None)
    if title.startswith(("joblib", "several", "a tensor in")):  # whether it opens as a checkpoint is another matter
        assert {row[0] for row in result.rows} <= {"unreadable"}
        return
    assert (result.status, result.out, result.err) == (0, "", "")
    assert ckpt("check", "--safe", "--json", file).json["holds"] is True


@pytest.mark.parametrize(("title", "content"), list(unsafe_corpus.no_pickles()))
def test_what_is_no_pickle_is_no_checkpoint(title: str, content: bytes, ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    ckpt("check", "--safe", "a.pkl", status=2)


def test_without_the_option_a_pickle_without_tensors_is_no_checkpoint_or_holds(ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(unsafe_corpus.EVIL)
    assert ckpt("check", "a.pkl", status=None).status in (0, 2)


@pytest.mark.parametrize("options", [("--finite",), ("--arch", "auto"), ("w",)])
def test_what_cannot_be_answered_besides_is_a_violation(options: tuple[str, ...], ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(unsafe_corpus.made_zip({"m.pkl": unsafe_corpus.EVIL}))
    rows = ckpt("check", "--safe", "a.pt", *options, status=1).rows
    assert [row[0] for row in rows] == ["code", "unreadable"]


def test_sarif_has_the_names_of_what_is_no_checkpoint(ckpt: Ckpt, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(unsafe_corpus.made_zip({"m.pkl": unsafe_corpus.EVIL}))
    (run,) = ckpt("check", "--safe", "--sarif", "a.zip", status=1).json["runs"]
    assert [result["ruleId"] for result in run["results"]] == ["code"]


def test_the_reported_files(ckpt: Ckpt, case: Callable[[str], Path]) -> None:
    folder = case("reports/unsafe-pickles")
    for name in ("evil.npy", "evil.pkl"):
        assert [row[:2] for row in rows_of(ckpt, folder / name)] == [["code", "posix.system"]]
    assert ckpt("check", "--safe", folder / "fine.npz").out == ""


# Files of other programs that name classes of their own, or hold what is not understood.
NAMED = {"module.pt": "torch.nn.modules", "training.ckpt": "argparse.Namespace", "shared-mlp.torchscript": "code/__torch__"}


@pytest.mark.parametrize(
    "path", sorted(path for path in SAMPLES.iterdir() if path.suffix != ".py" and path.name[0] not in "._"), ids=lambda path: path.name
)
def test_samples_are_safe_or_name_what_is_not(path: Path, ckpt: Ckpt) -> None:
    result = ckpt("check", "--safe", path, status=None)
    assert (result.status, NAMED.get(path.name, "") in result.out) == (int(path.name in NAMED), True), result.out


SAFE_CASES = ("numpy1", "numpy2", "py2", "paddle", "tf2_21", "keras3", "jax", "mxnet", "onnx", "gguf", "safetensors", "hf5")


@pytest.mark.parametrize("folder", SAFE_CASES)
def test_real_files_without_code_are_safe(folder: str, ckpt: Ckpt) -> None:
    from cases import INDEX

    if not INDEX.is_file():
        pytest.skip(f"no real checkpoints at {CASES}: set CKPT_CASES")
    import json

    files = [record["file"] for record in json.loads(INDEX.read_text()) if record["file"].startswith(f"{folder}/")]
    assert files
    for file in files[::3]:
        result = ckpt("check", "--safe", CASES / file, status=None)
        assert result.status == 0, (file, result.out, result.err)


# The note


def test_ls_and_summary_note_the_code_once(ckpt: Ckpt) -> None:
    for command in ("ls", "summary"):
        err = ckpt(command, SAMPLES / "module.pt").err
        assert err.count("names code") == 1 and "torch.nn.modules.linear.Linear" in err and "ckpt runs none of it" in err
        assert "names code: argparse.Namespace;" in ckpt(command, SAMPLES / "training.ckpt").err


@pytest.mark.parametrize(
    "name", ["mlp.pt", "mlp.legacy.pt", "dtypes.pt", "mlp.pkl", "mlp.npz", "mlp.keras", "mlp.h5", "checkpoint.pdz", "mlp.dcp"]
)
def test_usual_files_have_no_note(name: str, ckpt: Ckpt) -> None:
    assert ckpt("ls", SAMPLES / name).err == "" and "names code" not in ckpt("summary", SAMPLES / name).err


def test_many_names_are_cut_short(ckpt: Ckpt, tmp_path: Path) -> None:
    from pickles import built, name, pickled, tensor
    from zips import torch_zip

    objects = {f"x{number}": built(name("m" * 300, f"C{number}"), {}) for number in range(9)}
    (tmp_path / "a.pt").write_bytes(torch_zip(pickled({"w": tensor(), **objects})))
    err = ckpt("ls", "a.pt").err
    assert err.count("\n") == 1 and " and 6 more;" in err and len(err) < 800


def test_a_lambda_layer_is_noted(ckpt: Ckpt, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(SAMPLES / "mlp.keras") as old, zipfile.ZipFile(tmp_path / "a.keras", "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(
                info.filename, data.replace(b'"class_name": "Dense"', b'"class_name": "Lambda"') if info.filename == "config.json" else data
            )
    assert "names code: Lambda;" in ckpt("ls", "a.keras").err
    assert ["code", "Lambda"] in [row[:2] for row in rows_of(ckpt, tmp_path / "a.keras")]


# Names in errors


@pytest.mark.parametrize("text", ["n" * 70_000, "a b " * 20_000, "'" * 5_000, "\u202e" * 3_000], ids=["a word", "words", "quotes", "marks"])
def test_an_error_shows_little_of_a_long_name(text: str, ckpt: Ckpt, tmp_path: Path) -> None:
    from pickles import pickled, storage, tensor
    from zips import torch_zip

    (tmp_path / "a.pt").write_bytes(torch_zip(pickled({text: tensor(), "w": tensor(storage(key=text))})))
    for command in (["ls"], ["check", "--finite"]):
        err = ckpt(*command[:1], "a.pt", *command[1:], status=2).err
        assert "…" in err and len(err) < 1600
    (tmp_path / "b.pt").write_bytes(torch_zip(pickled({text: tensor()})))
    err = ckpt("set", "b.pt", f"{text[:100]}*[9,9] = 1" if text[0] == "n" else "[0][9,9] = 1", "-n", status=2).err
    assert len(err) < 1600 and (text[0] != "n" or err.count("n") < 400)
