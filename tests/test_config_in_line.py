"""`-o DIR/` brings the config into line: the library of the model loads the folder, and each key and shape fits."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import Ckpt
from model_loader import Loader
from packed_models import awq
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from ckpt_cli.configs.json_text import REMOVED, changed


class Edit(NamedTuple):
    """A model that its library built, an edit of it, and the entries of its config that change."""

    family: str
    edit: list[str]
    changed: dict[str, Any]
    build: dict[str, Any] = {}  # noqa: RUF012
    tied: bool | None = None


EDITS = {
    "dtype": Edit("gpt2", ["cast", "SRC", "bf16"], {"dtype": "bfloat16"}, tied=True),
    "dtype of shards": Edit("llama", ["cast", "SRC", "fp16"], {"dtype": "float16"}, {"shards": "20KB"}, tied=False),
    "convert": Edit("llama", ["convert", "SRC", "OUT", "--dtype", "bf16"], {"dtype": "bfloat16"}),
    "vocabulary": Edit("gpt2", ["resize", "SRC", "transformer.wte.weight=+13x*", "--fill", "mean_rows"], {"vocab_size": 112}, tied=True),
    "vocabulary, not tied": Edit(
        "llama", ["resize", "SRC", "model.embed_tokens.weight=+5x*", "lm_head.weight=+5x*"], {"vocab_size": 104}, {"shards": "20KB"}
    ),
    "vocabulary of a part": Edit(
        "llava", ["resize", "SRC", "*embed_tokens.weight=+5x*", "*lm_head.weight=+5x*"], {"text_config.vocab_size": 104}
    ),
    "masked tokens": Edit(
        "bert_mlm", ["resize", "SRC", "*word_embeddings.weight=+5x*", "cls.predictions.bias=+5"], {"vocab_size": 104}, tied=True
    ),
    "last layer": Edit("bert_mlm", ["drop", "SRC", "*.layer.1.*"], {"num_hidden_layers": 1}),
    "layers and their types": Edit(
        "gemma3_text", ["drop", "SRC", "*.layers.{1,2}.*"], {"num_hidden_layers": 1, "layer_types": ["sliding_attention"]},
        {"num_hidden_layers": 3, "layer_types": ["sliding_attention", "full_attention", "full_attention"]},
    ),
    "decoder's layer": Edit("t5", ["drop", "SRC", "decoder.block.1.*"], {"num_decoder_layers": 1}),
    "encoder's layer": Edit("bart", ["drop", "SRC", "model.encoder.layers.1.*"], {"encoder_layers": 1}),
    "layer of a backbone": Edit(
        "dinov2", ["drop", "SRC", "*.layer.1.*"],
        {"num_hidden_layers": 1, "stage_names": ["stem", "stage1"], "out_features": ["stage1"], "out_indices": [1]},
    ),
    "stage": Edit("swin", ["drop", "SRC", "*layers.1.blocks.1.*"], {"depths": [1, 1]}),
    "output of its own": Edit(
        "llama_tied", ["add", "SRC", "lm_head.weight=@SRC#model.embed_tokens.weight"], {"tie_word_embeddings": False}, tied=False
    ),
    "one embedding": Edit("llama", ["tie", "SRC", "model.embed_tokens.weight", "lm_head.weight"], {"tie_word_embeddings": True}, tied=True),
    "3 labels, of a config without labels": Edit(
        "bert_classifier", ["resize", "SRC", "classifier.weight=3x*", "classifier.bias=3"],
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}},
        {"without": ["id2label", "label2id", "num_labels"]},
    ),
    "named labels": Edit(
        "vit", ["resize", "SRC", "classifier.weight=3x*", "classifier.bias=3"],
        {"id2label": {"0": "cat", "1": "dog", "2": "LABEL_2"}, "label2id": {"cat": 0, "dog": 1, "LABEL_2": 2}},
        {"id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0, "dog": 1}, "without": ["num_labels"]},
    ),
    "9 channels": Edit("unet", ["resize", "SRC", "conv_in.weight=*x9x*x*", "--fill", "zeros"], {"in_channels": 9}),
    "1 channel": Edit("resnet", ["resize", "SRC", "*embedder.convolution.weight=*x1x*x*"], {"num_channels": 1}),
    "positions": Edit("bart", ["resize", "SRC", "*embed_positions.weight=+10x*"], {"max_position_embeddings": 74}),
    "MLP": Edit(
        "bert",
        ["resize", "SRC", "*intermediate.dense.weight=40x*", "*intermediate.dense.bias=40", "encoder.layer.{0,1}.output.dense.weight=*x40"],
        {"intermediate_size": 40},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    if not (find_spec("transformers") and find_spec("diffusers")):
        pytest.skip("transformers and diffusers are not installed")
    loader = Loader()
    yield loader
    loader.close()


def entries_of(document: Any, at: str = "") -> dict[str, Any]:
    """The entries of a config by their dotted names; those of lists and of labels as one."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        found |= entries_of(value, f"{at}{key}.") if isinstance(value, dict) and key.endswith("_config") else {f"{at}{key}": value}
    return found


def test_the_library_loads_what_is_written_and_no_other_entry_has_changed(loader: Loader, tmp_path: Path, ckpt: Ckpt) -> None:
    wrong: dict[str, Any] = {}
    for number, (label, edit) in enumerate(EDITS.items()):
        source, out = tmp_path / f"source{number}", tmp_path / f"out{number}"
        assert loader(family=edit.family, folder=source, **edit.build) is None, label
        argv = [part.replace("SRC", str(source)).replace("OUT", f"{out}/") for part in edit.edit]
        said = ckpt(*argv, *([] if "OUT" in edit.edit else ["-o", f"{out}/"])).err
        before, after = (entries_of(json.loads((folder / "config.json").read_text())) for folder in (source, out))
        changed = {key: value for key, value in after.items() if key not in before or value != before[key]}
        answer = loader(folder=out)
        fits = answer["wrong"] == [] and changed == edit.changed and before.keys() <= after.keys()
        told = all(f"{out}/config.json: {entry} " in said for entry in changed)
        if not fits or not told or (edit.tied is not None and answer["tied"] is not edit.tied):
            wrong[label] = (answer, changed, said)
        if "dtype" in edit.changed and answer["dtype"] != f"torch.{edit.changed['dtype']}":
            wrong[label] = answer
    assert wrong == {}


LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "float32",
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "tie_word_embeddings": False,
    "vocab_size": 20,
}
OF_LLAMA = {"model.embed_tokens.weight": (20, 8), "lm_head.weight": (20, 8), "model.norm.weight": (8,)} | {
    f"model.layers.{layer}.{name}.weight": shape
    for layer in range(4)
    for name, shape in (("self_attn.q_proj", (8, 8)), ("self_attn.k_proj", (8, 8)), ("mlp.up_proj", (12, 8)), ("mlp.down_proj", (8, 12)))
}


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """A model folder with these shapes, and a config of this text or these entries."""

    def write(config: object = LLAMA, shapes: dict[str, tuple[int, ...]] = OF_LLAMA, name: str = "model.safetensors") -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        save_file({key: np.zeros(shape, np.float32) for key, shape in shapes.items()}, folder / name)
        called = "adapter_config.json" if name.startswith("adapter") else "config.json"
        text = config if isinstance(config, str | bytes) else json.dumps(config, indent=2)
        (folder / called).write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return write


TOLD = [
    (["drop", "*.layers.1.*"], "num_hidden_layers stays 4: the layers have 3 (model.layers.0 to .3 without 1); `ckpt rename` numbers them"),
    (["drop", "*.layers.3.*"], "num_hidden_layers 4 becomes 3"),
    (["drop", "*.layers.*"], "num_hidden_layers stays 4: no layer is left"),
    (["drop", "lm_head.weight"], "tie_word_embeddings stays false: the weights have no output head"),
    (["resize", "model.embed_tokens.weight=22x*"], "vocab_size stays 20: model.embed_tokens.weight has 22, but lm_head.weight 20"),
    (["resize", "*.k_proj.weight=4x*"], "num_key_value_heads 2 becomes 1"),
    (["resize", "*.k_proj.weight=6x*"], "num_key_value_heads stays 2: model.layers.0.self_attn.k_proj.weight has 0"),
    (["resize", "*.q_proj.weight=4x*"], "no entry is known that tells the shape of model.layers.0.self_attn.q_proj.weight, which changed"),
    (["cast", "bf16", "*.layers.*"], "dtype stays float32: most elements are bfloat16, and some still float32"),
    (["cast", "bf16", "model.norm.weight"], ""),
    (["rename", "model.layers.*=layers.*"], ""),
    (["set", "* += 1"], ""),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "told"), TOLD, ids=lambda each: " ".join(each) if isinstance(each, list) else "")
def test_what_becomes_of_the_config_is_told(edit: list[str], told: str, model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    said = ckpt(edit[0], model(), *edit[1:], "-o", f"{tmp_path}/out/").err
    lines = [line.removeprefix(f"ckpt: {tmp_path}/out/config.json: ") for line in said.splitlines() if "config.json" in line]
    assert [line[: len(told)] for line in lines] == [told] * bool(told), said


def test_a_last_layer_that_was_like_no_other_is_missed(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model(LLAMA, OF_LLAMA | {"model.layers.3.mlp.up_proj.weight": (6, 8)})
    line = "model.layers.2 comes last now, and is not like the layer that did (mlp.up_proj.weight): the library may not load it"
    assert line in ckpt("drop", folder, "*.layers.3.*", "-o", f"{tmp_path}/out/").err
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\ndrop = ["*.layers.2.*"]\n[[step]]\nrename = ["*.layers.3.*=*.layers.2.*"]\n')
    assert "comes last" not in ckpt("apply", folder, recipe, "-o", f"{tmp_path}/kept/").err


STAGES = {f"encoder.layers.{stage}.blocks.{block}.conv.weight": (4, 4) for stage in range(3) for block in range(2)}
PARTS = {
    f"{path}.{number}.conv.weight": (4, 4) for path in ("down_blocks", "mid_block.resnets", "encoder.conv_layers") for number in range(2)
}
OF_STAGES = {"model_type": "swin", "depths": [2, 2, 2], "num_layers": 3, "num_heads": [1, 2, 4]}
OF_PARTS = [
    (["encoder.layers.2.*"], "depths stays [2, 2, 2]: encoder.layers has 2 stages now, and other entries tell their widths"),
    (["*layers.1.blocks.0.*"], "depths stays [2, 2, 2]: the blocks of encoder.layers have gaps in their numbers"),
    (["*layers.1.blocks.1.*"], "depths [2, 2, 2] becomes [2, 1, 2]"),
    (["down_blocks.1.*"], "no entry is known that tells the number of layers, which was 2 and is 1 (down_blocks)"),
    (["*conv_layers.1.*"], "no entry is known that tells the number of layers, which was 2 and is 1 (encoder.conv_layers)"),
    (
        ["*.1.conv.*", "!encoder.layers.*"],
        "no entry is known that tells the number of layers, which was 2 and is 1 (down_blocks), and that of 2 more",
    ),
    (["down_blocks.*"], ""),
]


@pytest.mark.parametrize(("dropped", "told"), OF_PARTS, ids=lambda each: " ".join(each) if isinstance(each, list) else "")
def test_parts_that_go_are_told(dropped: list[str], told: str, model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    said = ckpt("drop", model(OF_STAGES, STAGES | PARTS), *dropped, "-o", f"{tmp_path}/out/").err
    also = [line for line in said.splitlines() if not line.endswith("num_layers stays 3: the weights have 2 (encoder.layers)")]
    assert also == [f"ckpt: {tmp_path}/out/config.json: {told}"] * bool(told)


def test_in_place_the_config_stays_and_a_note_says_what_it_should_be(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model()
    before = (folder / "config.json").read_bytes()
    note = f"ckpt: {folder}/config.json stays as it is: dtype float32 should be bfloat16 (-o DIR/ writes a folder with the right config)\n"
    for place in (["-n"], ["-o", f"{folder}/other.safetensors"], ["-i"]):
        assert ckpt("cast", folder / "model.safetensors", "bf16", *place).err == note
    assert ckpt("cast", folder / "model.safetensors", "fp16", "-o", f"{tmp_path}/elsewhere.safetensors").err == ""
    assert (folder / "config.json").read_bytes() == before


def test_a_dry_run_tells_what_the_config_would_be_and_writes_nothing(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    said = ckpt("cast", model(), "bf16", "-o", f"{tmp_path}/out/", "-n").err
    assert said == f"ckpt: {tmp_path}/out/config.json: dtype float32 becomes bfloat16\n" and not (tmp_path / "out").exists()


def test_what_the_config_alone_ties_gets_an_output_of_its_own(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    shapes = {name: shape for name, shape in OF_LLAMA.items() if name != "lm_head.weight"}
    folder = model(LLAMA | {"tie_word_embeddings": True}, shapes)
    said = ckpt("untie", folder, "*", "-o", f"{tmp_path}/out/", status=2).err
    command = said[said.index("ckpt add … ") + len("ckpt add … ") : said.index(", or what the output is called")]
    ckpt("add", folder, *shlex.split(command), "-o", f"{tmp_path}/out/")
    assert json.loads((tmp_path / "out/config.json").read_text()) == LLAMA


def test_a_recipe_is_told_of_once_and_compared_with_the_end(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    recipe = tmp_path / "r.toml"
    steps = ['drop = ["*.layers.{1,3}.*"]', 'rename = ["model.layers.2.*=model.layers.1.*"]', 'cast = "float16"']
    recipe.write_text("".join(f"[[step]]\n{step}\n" for step in steps))
    said = ckpt("apply", model(LLAMA | {"layer_types": ["a", "b", "c", "d"]}), recipe, "-o", f"{tmp_path}/out/").err
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config == LLAMA | {"dtype": "float16", "num_hidden_layers": 2, "layer_types": ["a", "c"]} and said.count("config.json") == 3


def test_what_contradicted_before_is_left_and_called_old(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model(LLAMA | {"num_hidden_layers": 9})
    said = ckpt("cast", folder, "bf16", "-o", f"{tmp_path}/out/").err
    assert "dtype float32 becomes bfloat16" in said
    assert "num_hidden_layers stays 9, which contradicted the weights before the edit, too: they have 4 (model.layers)" in said
    assert json.loads((tmp_path / "out/config.json").read_text())["num_hidden_layers"] == 9


def test_a_cast_of_all_weights_tells_the_dtype_whatever_the_config_told_before(
    model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt
) -> None:
    folder = model(LLAMA | {"dtype": "float16"})
    ckpt("cast", folder, "bf16", "*.layers.*", "-o", f"{tmp_path}/part/")
    assert json.loads((tmp_path / "part/config.json").read_text())["dtype"] == "float16"
    assert "dtype float16 becomes bfloat16" in ckpt("cast", folder, "bf16", "-o", f"{tmp_path}/out/").err
    ckpt("cast", folder, "bf16", "-i")
    assert "dtype float16 becomes float32" in ckpt("cast", folder, "fp32", "-o", f"{tmp_path}/back/").err


def test_every_other_byte_stays(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    text = '{\r\n\t"z" : [1,2 , 3],"model_type":"llama",\r\n "rope": 1e-05, "dtype"\t:  "float32" ,"é": "é", "n": NaN}\r\n\r\n'
    ckpt("cast", model(text.encode()), "bf16", "-o", f"{tmp_path}/out/")
    assert (tmp_path / "out/config.json").read_bytes() == text.replace('"float32"', '"bfloat16"').encode()


DOCUMENT = {"a": 1, "b": {"x": [1, 2], "y": {}}, "c": '\u00e9\n"}{', "n": None}
CHANGES = [
    (("a",), 2), (("c",), {"k": [1]}), (("b", "y", "k"), {"q": 1}), (("b", "z"), [1]), (("b", "x", 1), 5), (("new",), {"z": [1]}),
    (("b", "x"), []), (("n",), "x"), (("a",), REMOVED), (("b",), REMOVED), (("n",), REMOVED), (("b", "y"), REMOVED), (("none",), REMOVED),
]  # fmt: skip


@pytest.mark.parametrize("indent", [None, 1, 2, "\t"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_change_of_the_text_is_that_change_of_the_document_alone(indent: Any, separators: tuple[str, str]) -> None:
    text = json.dumps(DOCUMENT, indent=indent, separators=separators, ensure_ascii=False)
    for number, (path, value) in enumerate(CHANGES):
        for more in CHANGES[:number] if value is not REMOVED else []:
            if more[0][: len(path)] != path[: len(more[0])] and more[1] is not REMOVED:
                both = changed(text, [more, (path, value)])
                assert json.loads(both) == edited(edited(DOCUMENT, *more), path, value)
        after = changed(text, [(path, value)])
        assert json.loads(after) == edited(DOCUMENT, path, value), (path, after)
        if indent and isinstance(value, int):  # as the library would have written it
            assert after == json.dumps(edited(DOCUMENT, path, value), indent=indent, separators=separators, ensure_ascii=False)


def edited(document: Any, path: tuple[Any, ...], value: object) -> Any:
    """A copy of a document with one entry changed, as Python does it."""
    copied = inner = json.loads(json.dumps(document))
    for key in path[:-1]:
        inner = inner[key]
    if value is REMOVED:
        inner.pop(path[-1], None)
    else:
        inner[path[-1]] = value
    return copied


HOSTILE = {
    "a key twice": '{"model_type": "llama", "dtype": "float32", "dtype": "float16"}',
    "a huge nest": '{"model_type": "llama", "a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "a list": "[1, 2]",
    "nothing": "",
    "no JSON": "{",
    "UTF-16": '{"model_type": "llama"}'.encode("utf-16"),
    "a mark of order": '\ufeff{"model_type": "llama", "dtype": "float32"}',
    "entries of wrong types": json.dumps(
        {key: [value] for key, value in LLAMA.items()} | {"id2label": [1], "text_config": 3, "target_modules": {"a": 1}}
    ),
    "huge numbers": json.dumps({key: 10**400 if isinstance(value, int) else value for key, value in LLAMA.items()} | {"dtype": "x"}),
    "numbers below 1": json.dumps(
        LLAMA | {"num_hidden_layers": -4, "vocab_size": 0, "hidden_size": 0, "num_attention_heads": 0, "dtype": 1}
    ),
    "odd labels": json.dumps(LLAMA | {"id2label": {"x": 1, "-1": None, "٣": "a"}, "label2id": 3, "dtype": None, "num_labels": True}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_config_that_is_not_understood_is_copied_as_it_is(case: str, model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model(HOSTILE[case])
    ckpt("cast", folder, "bf16", "-o", f"{tmp_path}/out/")
    ckpt(
        "resize",
        folder,
        "model.embed_tokens.weight=22x*",
        "lm_head.weight=22x*",
        "*.layers.{0-3}.mlp.up_proj.weight=13x*",
        "-n",
        status=None,
    )
    assert (tmp_path / "out/config.json").read_bytes() == (folder / "config.json").read_bytes()


def test_a_pipe_for_a_config_blocks_nobody_and_a_link_out_stays_behind(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model()
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    (tmp_path / "secret.json").write_text("{}")
    (folder / "tokenizer.json").symlink_to(tmp_path / "secret.json")
    said = ckpt("cast", folder, "bf16", "-o", f"{tmp_path}/out/").err
    assert "out/: left behind: config.json, tokenizer.json (a link to elsewhere)" in said
    assert os.listdir(tmp_path / "out") == ["model.safetensors"]


def test_an_adapter_has_its_rank_and_its_modules(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    shapes = {
        f"base_model.model.{name}.lora_{side}.weight": (4, 6) if side == "A" else (6, 4)
        for name in config["target_modules"]
        for side in "AB"
    }
    folder = model(config, shapes, "adapter_model.safetensors")
    said = ckpt("resize", folder, "*lora_A.weight=2x*", "*lora_B.weight=*x2", "-o", f"{tmp_path}/out/").err
    assert json.loads((tmp_path / "out/adapter_config.json").read_text()) == config | {"r": 2}
    assert "lora_alpha stays 8: the scale of the adapter is alpha/r" in said
    ckpt("drop", folder, "*v_proj*", "-o", f"{tmp_path}/dropped/")
    assert json.loads((tmp_path / "dropped/adapter_config.json").read_text()) == config | {"target_modules": ["q_proj"]}


def test_tokens_without_rows_are_told(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model(LLAMA | {"eos_token_id": [2, 19]})
    (folder / "generation_config.json").write_text('{"pad_token_id": 18}')
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {f"t{n}": n for n in range(20)}}, "added_tokens": [{"id": 20}]}))
    edit = ["resize", folder, "model.embed_tokens.weight=16x*", "lm_head.weight=16x*", "-o", f"{tmp_path}/out/"]
    said = ckpt(*edit).err
    for line in ("eos_token_id of config.json stays 19", "pad_token_id of generation_config.json stays 18", "21 tokens for 16 rows"):
        assert line in said


def test_what_a_sentence_transformer_consists_of_is_copied(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model()
    modules = ["", "1_Pooling", "2_Dense", "../elsewhere", "3_Missing"]
    (folder / "modules.json").write_text(json.dumps([{"path": path, "type": "sentence_transformers.models.X"} for path in modules]))
    for name in ("1_Pooling/config.json", "2_Dense/model.safetensors", "onnx/model.onnx", "../elsewhere/config.json"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("{}")
    said = ckpt("cast", folder, "bf16", "-o", f"{tmp_path}/out/").err
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == {"config.json", "model.safetensors", "modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors"}
    assert "left behind: onnx/\n" in said


def test_a_module_in_a_folder_below_is_written_there(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "modules.json").write_text('[{"path": "0_Transformer", "type": "x.Transformer"}]')
    model().rename(whole / "0_Transformer")
    ckpt("cast", whole, "bf16", "-o", f"{tmp_path}/out/")
    assert json.loads((tmp_path / "out/0_Transformer/config.json").read_text())["dtype"] == "bfloat16"
    assert {line.split("\t")[1] for line in ckpt("ls", tmp_path / "out").out.splitlines()} == {"bfloat16"}
    said = ckpt("cast", whole / "0_Transformer", "bf16", "-o", f"{tmp_path}/part/").err
    assert f"part/: left behind: the rest of {whole}/" in said and sorted(os.listdir(tmp_path / "part")) == [
        "config.json",
        "model.safetensors",
    ]


def test_nothing_is_left_of_a_folder_that_cannot_be_written(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model()
    (folder / "modules.json").write_text('[{"path": "", "type": "x"}, {"path": "1_Pooling", "type": "x"}]')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text("{}")
    ckpt("set", folder, "model.norm.weight = 1e99", "-o", f"{tmp_path}/out/", status=2)
    assert not (tmp_path / "out").exists()


def test_convert_writes_a_folder_in_shards(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    edit = ["convert", model(), f"{tmp_path}/out/", "--dtype", "bf16", "--shard-size", "1kB"]
    ckpt(*edit)
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert json.loads(first["config.json"])["dtype"] == "bfloat16" and "model.safetensors.index.json" in first and len(first) > 3
    ckpt(*edit, "--force")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_the_metadata_of_gguf_are_told_of_with_the_command_that_sets_them(tmp_path: Path, ckpt: Ckpt) -> None:
    gguf = pytest.importorskip("gguf")
    source, out = tmp_path / "m.gguf", tmp_path / "out.gguf"
    writer = gguf.GGUFWriter(str(source), "llama")
    writer.add_block_count(2)
    writer.add_vocab_size(9)
    writer.add_embedding_length(4)
    writer.add_token_list([f"t{n}" for n in range(9)])
    for name, shape in (("token_embd", (9, 4)), ("blk.0.attn_q", (4, 4)), ("blk.1.attn_q", (4, 4))):
        writer.add_tensor(f"{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\ndrop = ["blk.1.*"]\n[[step]]\nresize = ["token_embd.weight=11x*"]\nfill = "zeros"\nseed = 0\n')
    said = ckpt("apply", source, recipe, "-o", out).err.splitlines()
    assert f"ckpt: {out}: tokenizer.ggml.tokens stays: 9 tokens for 11 rows of the embedding" in said
    commands = [line[line.index("(ckpt ") + 6 : -1] for line in said if "stays" in line and "(ckpt " in line]
    assert len(commands) == 2
    for command in commands:
        ckpt(*shlex.split(command))
    assert not any("contradicts" in line and "tokens" not in line for line in ckpt("summary", out).out.splitlines())


def test_what_is_decoded_has_no_config_of_packing(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    packed = awq(False)
    folder = model(LLAMA | packed.config)
    save_torch(packed.packed, folder / "model.safetensors")
    (folder / "quantize_config.json").write_text("{}")
    said = ckpt("cast", folder, "fp16", "--dequantise", "-o", f"{tmp_path}/out/").err
    assert json.loads((tmp_path / "out/config.json").read_text()) == LLAMA | {"dtype": "float16"}
    assert "quantization_config is taken out" in said and "left behind: quantize_config.json" in said


def test_a_config_above_the_weights_comes_along(model: Callable[..., Path], tmp_path: Path, ckpt: Ckpt) -> None:
    folder = model()
    (folder / "checkpoint-5").mkdir()
    (folder / "model.safetensors").rename(folder / "checkpoint-5/model.safetensors")
    said = ckpt("drop", folder / "checkpoint-5", "*.layers.3.*", "-o", f"{tmp_path}/out/").err
    assert f"out/config.json: taken from {folder}/config.json" in said
    assert json.loads((tmp_path / "out/config.json").read_text()) == LLAMA | {"num_hidden_layers": 3}
