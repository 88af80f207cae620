"""`ckpt reinit --preset own`, `--select` and `ckpt new config.json`: what the model's own library does, on the BERT of the samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import safetensors.numpy
from conftest import CASES, SAMPLES, Ckpt

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


def test_new_is_not_quantised_and_nor_says_its_config(ckpt: Ckpt, tmp_path: Path) -> None:
    entry = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    config = altered(tmp_path / "model", quantization_config=entry) / "config.json"
    ckpt("new", config, "--seed", "4", "-o", "new/")
    assert json.loads((tmp_path / "new/config.json").read_text()) == json.loads((BERT / "config.json").read_text())
    assert {row[1] for row in ckpt("ls", "new").rows} == {"float32"}


def test_dtype_of_the_config(ckpt: Ckpt, tmp_path: Path) -> None:
    config = json.loads((BERT / "config.json").read_text()) | {"dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    ckpt("new", "config.json", "-o", "new.safetensors", "--seed", "0")
    assert {row[1] for row in ckpt("ls", "new.safetensors").rows} == {"bfloat16"}


def altered(folder: Path, **entries: object) -> Path:
    """A copy of the BERT whose config has other entries."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((BERT / "model.safetensors").read_bytes())
    (folder / "config.json").write_text(json.dumps(json.loads((BERT / "config.json").read_text()) | entries))
    return folder


def with_copy(tensors: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """The tensors of a BERT for masked words, with a copy of its embedding under the name of its output layer."""
    return tensors | {"cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"].copy()}


@pytest.mark.parametrize("preset", ["own", "bert"])
@pytest.mark.parametrize("select", [[], ["--select", "cls.*"]], ids=["all", "the copy"])
@pytest.mark.parametrize("rng", ["tensor", "torch"])
def test_a_copy_of_what_the_model_ties_stays_one(ckpt: Ckpt, tmp_path: Path, preset: str, select: list[str], rng: str) -> None:
    config = altered(tmp_path / "config", architectures=["BertForMaskedLM"]) / "config.json"
    ckpt("new", config, "--seed", "1", "-o", "masked/")
    safetensors.numpy.save_file(with_copy(weights("masked")), tmp_path / "masked/model.safetensors")
    assert ckpt("tied", "masked").out == ""
    plan = ckpt("reinit", "masked", "--preset", preset, *select, "--seed", "2", "--rng", rng, "-n").out
    assert "bert.embeddings.word_embeddings.weight, of which it is a copy" in plan
    ckpt("reinit", "masked", "--preset", preset, *select, "--seed", "2", "--rng", rng, "-o", "out/")
    before, after = weights("masked"), weights("out")
    words, decoder = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
    assert words not in same(before, after) and after[words].tobytes() == after[decoder].tobytes()


def test_a_rule_for_a_copy_is_for_that_alone(ckpt: Ckpt, tmp_path: Path) -> None:
    config = altered(tmp_path / "config", architectures=["BertForMaskedLM"]) / "config.json"
    ckpt("new", config, "--seed", "1", "-o", "masked/")
    copied = with_copy(weights("masked"))
    safetensors.numpy.save_file(copied, tmp_path / "masked/model.safetensors")
    ckpt("reinit", "masked", "cls.predictions.decoder.weight=keep", "--preset", "own", "--seed", "2", "-o", "out/")
    assert same(copied, weights("out")) >= {"cls.predictions.decoder.weight"}


@pytest.mark.parametrize(
    ("entries", "select", "says"),
    [
        ({"num_hidden_layers": 12}, "classifier.*", "the config contradicts the weights: num_hidden_layers says 12"),
        ({"intermediate_size": 128}, "*.intermediate.*", "the config says 128, and the file has 64"),
        ({"num_labels": 7, "id2label": None, "label2id": None}, "classifier.*", "the config says 7, and the file has 4"),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "classifier.*", "the config is that of another model"),
        ({"model_type": "berd"}, "classifier.*", "berd"),
    ],
)
def test_what_the_config_contradicts_is_refused(ckpt: Ckpt, tmp_path: Path, entries: dict[str, object], select: str, says: str) -> None:
    folder = altered(tmp_path / "model", **entries)
    assert says in ckpt("reinit", folder, "--preset", "own", "--select", select, "-o", "out/", status=2).err
    assert not (tmp_path / "out").exists()


def test_a_part_that_the_config_does_not_contradict_is_drawn(ckpt: Ckpt, tmp_path: Path) -> None:
    folder = altered(tmp_path / "model", num_labels=7, id2label=None, label2id=None)
    ckpt("reinit", folder, "--preset", "own", "--select", "bert.pooler.*", "-o", "out/")


def test_auto_takes_the_preset_of_the_family_where_there_is_no_config(ckpt: Ckpt) -> None:
    ckpt("new", "t5", "layers=1", "hidden=32", "-o", "t5.safetensors", "--seed", "0")
    plans = [ckpt("reinit", "t5.safetensors", "--preset", preset, "--seed", "0", "-n", "--json").json for preset in ("auto", "t5")]
    assert plans[0]["tensors"] == plans[1]["tensors"]


def test_a_broken_config_is_named(ckpt: Ckpt, tmp_path: Path) -> None:
    folder = altered(tmp_path / "model")
    (folder / "config.json").write_text("{")
    assert "no config can be read" in ckpt("reinit", folder, "--preset", "own", "-n", status=2).err


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no real checkpoints at {CASES}: set CKPT_CASES")
@pytest.mark.parametrize("name", ["ct_int8", "bnb_nf4"])
def test_packed_parameters_are_refused_by_name(ckpt: Ckpt, name: str) -> None:
    found = ckpt("reinit", CASES / "quant" / name, "--preset", "own", "-n", status=2)
    assert "it is part of a packed parameter" in found.err and "--dequantise" in found.err


def test_what_the_library_passes_over_is_left_and_named(ckpt: Ckpt, tmp_path: Path) -> None:
    folder = altered(tmp_path / "model")
    more = {"bert.embeddings.position_ids": numpy.arange(32, dtype=numpy.int64)[None], "ema.decay": numpy.ones(1, numpy.float32)}
    safetensors.numpy.save_file(weights(str(BERT)) | more, folder / "model.safetensors")
    found = ckpt("reinit", folder, "--preset", "own", "--seed", "0", "-o", "out/")
    assert "left as it is: " in found.err and all(name in found.err for name in more)
    assert same(more, weights("out")) == set(more)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["reinit", SAMPLES / "mlp.pt", "--preset", "own", "-n"], "no library of models is known"),
        (["reinit", BERT, "--select", "*", "-n"], "nothing says what to draw"),
        (["reinit", BERT, "*=zeros", "--select", "*", "-n"], "--select limits a preset"),
        (["reinit", BERT, "--preset", "own", "--select", "nothing.*", "-n"], "nothing matches 'nothing.*'"),
        (["reinit", BERT, "--preset", "own", "--arch", "none", "-n"], "--arch none names no library of models"),
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
