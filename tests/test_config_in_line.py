"""`-o DIR/` brings the config into line: the library of the model loads the folder, and each key and shape fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Ckpt
from model_loader import Loader


class Edit(NamedTuple):
    """A model that its library built, an edit of it, and the entries of its config that change."""

    family: str
    edit: list[str]
    changed: dict[str, Any]
    build: dict[str, Any] = {}  # noqa: RUF012
    tied: bool | None = None


GPT2_LABELS = {"0": "LABEL_0", "1": "LABEL_1"}
EDITS = {
    "dtype": Edit("gpt2", ["cast", "SRC", "bf16"], {"dtype": "bfloat16"}, tied=True),
    "dtype of shards": Edit("llama", ["cast", "SRC", "fp16"], {"dtype": "float16"}, {"shards": "20KB"}, tied=False),
    "convert": Edit("llama", ["convert", "SRC", "OUT", "--dtype", "bf16"], {"dtype": "bfloat16"}),
    "vocabulary": Edit("gpt2", ["resize", "SRC", "transformer.wte.weight=+13x*", "--fill", "mean_rows"], {"vocab_size": 112}, tied=True),
    "vocabulary, not tied": Edit(
        "llama", ["resize", "SRC", "model.embed_tokens.weight=+5x*", "lm_head.weight=+5x*"], {"vocab_size": 104}, {"shards": "20KB"}
    ),
    "vocabulary of a part": Edit("llava", ["resize", "SRC", "*embed_tokens.weight=+5x*", "*lm_head.weight=+5x*"], {"text_config.vocab_size": 104}),
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
    "stage": Edit("swin", ["drop", "SRC", "*layers.1.blocks.1.*"], {"depths": [1, 1]}),
    "output of its own": Edit("llama_tied", ["add", "SRC", "lm_head.weight=@SRC#model.embed_tokens.weight"], {"tie_word_embeddings": False}, tied=False),
    "one embedding": Edit("llama", ["tie", "SRC", "model.embed_tokens.weight", "lm_head.weight"], {"tie_word_embeddings": True}, tied=True),
    "3 labels, of a config without labels": Edit(
        "bert_classifier", ["resize", "SRC", "classifier.weight=3x*", "classifier.bias=3"],
        {"id2label": {**GPT2_LABELS, "2": "LABEL_2"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}}, {"without": ["id2label", "label2id", "num_labels"]},
    ),
    "named labels": Edit(
        "vit", ["resize", "SRC", "classifier.weight=3x*", "classifier.bias=3"],
        {"id2label": {"0": "cat", "1": "dog", "2": "LABEL_2"}, "label2id": {"cat": 0, "dog": 1, "LABEL_2": 2}},
        {"id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0, "dog": 1}, "without": ["num_labels"]},
    ),
    "9 channels": Edit("unet", ["resize", "SRC", "conv_in.weight=*x9x*x*", "--fill", "zeros"], {"in_channels": 9}),
    "1 channel": Edit("resnet", ["resize", "SRC", "*embedder.convolution.weight=*x1x*x*"], {"num_channels": 1}),
    "positions": Edit("bart", ["resize", "SRC", "*embed_positions.weight=+10x*"], {"max_position_embeddings": 74}),
    "MLP": Edit("bert", ["resize", "SRC", "*intermediate.dense.weight=40x*", "*intermediate.dense.bias=40", "encoder.layer.{0,1}.output.dense.weight=*x40"], {"intermediate_size": 40}),
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
