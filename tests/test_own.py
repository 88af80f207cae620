"""`ckpt reinit --preset own`, `--select` and `ckpt new config.json`: what the model's own library does, on the BERT of the samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import safetensors.numpy
from conftest import SAMPLES, Ckpt

pytest.importorskip("transformers", reason="the extra transformers is not installed")

BERT = SAMPLES / "bert"
BLOCK = "bert.encoder.layer.3."


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def weights(folder: str) -> dict[str, numpy.ndarray]:
    return safetensors.numpy.load_file(Path(folder) / "model.safetensors")


def same(a: dict[str, numpy.ndarray], b: dict[str, numpy.ndarray]) -> set[str]:
    return {name for name in a if a[name].tobytes() == b[name].tobytes()}


def test_all_is_drawn_as_the_library_draws(ckpt: Ckpt) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    ckpt("reinit", BERT, "--preset", "own", "--seed", "0", "-o", "out/")
    fresh = weights("out")
    oracle = BertForSequenceClassification(BertConfig.from_pretrained(BERT)).state_dict()
    assert fresh.keys() == {name for name in oracle if not name.endswith("position_ids")}
    for name, array in fresh.items():
        want = oracle[name].numpy()
        assert array.shape == want.shape and abs(array.std() - want.std()) < 0.3 * 0.02 and abs(array.mean() - want.mean()) < 0.01, name
    assert not fresh["bert.embeddings.word_embeddings.weight"][0].any()


@pytest.mark.parametrize("rng", ["tensor", "torch"])
def test_select_draws_what_the_full_draw_would_have_drawn_there(ckpt: Ckpt, rng: str) -> None:
    ckpt("reinit", BERT, "--preset", "own", "--seed", "5", "--rng", rng, "-o", "full/")
    ckpt("reinit", BERT, "--preset", "own", "--seed", "5", "--rng", rng, "--select", f"{BLOCK}*", "--select", "classifier.*", "-o", "part/")
    before, full, part = weights(str(BERT)), weights("full"), weights("part")
    chosen = {name for name in before if name.startswith((BLOCK, "classifier."))}
    assert same(full, part) >= chosen
    assert same(before, part) == before.keys() - chosen


def test_select_takes_out_and_goes_with_other_presets(ckpt: Ckpt) -> None:
    ckpt("reinit", BERT, "--preset", "bert", "--seed", "5", "--select", "!*embeddings*", "-o", "part/")
    before, part = weights(str(BERT)), weights("part")
    assert {name for name in before if "embeddings" in name} <= same(before, part)
    assert "classifier.weight" not in same(before, part)


def test_rules_come_after_the_preset(ckpt: Ckpt) -> None:
    ckpt("reinit", BERT, "*.bias=constant(3)", f"{BLOCK}*=keep", "classifier.*=preset:own", "--preset", "own", "--seed", "5", "-o", "out/")
    before, after = weights(str(BERT)), weights("out")
    assert {name for name in before if name.startswith(BLOCK)} <= same(before, after)
    assert (after["bert.pooler.dense.bias"] == 3).all() and not after["classifier.bias"].any()


def test_recipe_replays_to_the_bit_without_the_library(ckpt: Ckpt, tmp_path: Path) -> None:
    asked = ["--preset", "own", "--select", "bert.e*", "--seed", "7"]
    ckpt("reinit", BERT, *asked, "-o", "own/")
    (tmp_path / "recipe.toml").write_text(ckpt("reinit", BERT, *asked, "--print-recipe").out)
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from ckpt_cli.cli import main\n"
        f"sys.exit(main(['apply', {str(BERT)!r}, 'recipe.toml', '-o', 'replayed/']))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "own/model.safetensors").read_bytes() == (tmp_path / "replayed/model.safetensors").read_bytes()


def test_plan_says_the_scheme_the_draw_and_the_layer(ckpt: Ckpt) -> None:
    plan = ckpt("reinit", BERT, "--preset", "own", "--seed", "0", "-n", "--json").json
    steps = {step["name"]: step for step in plan["tensors"]}
    assert plan["preset"] == "own" and len(steps) == 73
    assert steps["bert.embeddings.word_embeddings.weight"]["draw"] == "rows(normal(0, 0.02), 0=zeros)"
    assert steps["classifier.weight"] | {"seed": ""} == {
        "name": "classifier.weight",
        "scheme": "normal(mean=0.0, std=0.02)",
        "draw": "normal(0, 0.02)",
        "seed": "",
        "reason": "Linear",
    }


def test_new_config_is_what_reinit_draws(ckpt: Ckpt, tmp_path: Path) -> None:
    ckpt("new", BERT / "config.json", "--seed", "4", "-o", "new/")
    ckpt("reinit", BERT, "--preset", "own", "--seed", "4", "-o", "own/")
    assert same(weights("new"), weights("own")) == weights("own").keys()
    assert (tmp_path / "new/config.json").read_bytes() == (BERT / "config.json").read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("named", ["os", "AutoModel", "BertConfig"])
def test_new_config_names_the_class_that_is_built(ckpt: Ckpt, tmp_path: Path, named: str) -> None:
    config = json.loads((BERT / "config.json").read_text()) | {"architectures": [named]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    err = ckpt("new", tmp_path / "config.json", "-o", "new.safetensors", "--seed", "0").err
    assert f"config.json names {named}; the model built is BertModel\n" in err
    assert "new.safetensors: BertModel, 71 tensors of" in err and "the file holds" not in err


def test_a_class_without_parameters_is_refused(ckpt: Ckpt, tmp_path: Path) -> None:
    config = json.loads((BERT / "config.json").read_text()) | {"architectures": ["BertPreTrainedModel"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    err = ckpt("new", tmp_path / "config.json", "-o", "new.safetensors", status=2).err
    assert "config.json: BertPreTrainedModel has no parameters (name BertModel under architectures)" in err and err.count("\n") == 1


def test_new_config_loads_in_its_library(ckpt: Ckpt) -> None:
    from transformers import BertForSequenceClassification

    ckpt("new", BERT, "-o", "new/")
    _, report = BertForSequenceClassification.from_pretrained("new", output_loading_info=True)
    assert not any(report.values())


def test_dtype_of_the_config(ckpt: Ckpt, tmp_path: Path) -> None:
    config = json.loads((BERT / "config.json").read_text()) | {"dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    ckpt("new", "config.json", "-o", "new.safetensors", "--seed", "0")
    assert {row[1] for row in ckpt("ls", "new.safetensors").rows} == {"bfloat16"}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["reinit", SAMPLES / "mlp.pt", "--preset", "own", "-n"], "no library of models is known"),
        (["reinit", BERT, "--select", "*", "-n"], "nothing says what to draw"),
        (["reinit", BERT, "*=zeros", "--select", "*", "-n"], "--select limits a preset"),
        (["reinit", BERT, "--preset", "own", "--select", "nothing.*", "-n"], "nothing matches 'nothing.*'"),
        (["reinit", BERT, "--preset", "own", "--arch", "none", "-n"], "no library of models is known"),
        (["reinit", BERT, "--preset", "own", "--rng", "torch", "--select", "*", "--print-recipe"], "makes no recipe"),
        (["new", BERT / "config.json", "layers=2", "-o", "x.pt"], "says all hyperparameters"),
        (["new", "none.json", "-o", "x.pt"], "none.json: no such file"),
        (["new", BERT / "config.json", "-o", "x.foo"], "no format is written to names such as 'x.foo'"),
        (["new", BERT / "config.json", "-o", "no/x/"], "there is no folder 'no'"),
    ],
)
def test_what_makes_no_sense_is_one_line(ckpt: Ckpt, args: list[object], says: str, tmp_path: Path) -> None:
    assert says in ckpt(*args, status=2).err
    assert list(tmp_path.iterdir()) == []
